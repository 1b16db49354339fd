//! Functions of windows over RANGE frames whose offsets have months, ordered by a timestamp.
//!
//! In: a partition in its order. Out: the function of the rows that are within the offsets of each row. A month after 23 o'clock on the
//! 29th of January is the 28th of February, at 23 o'clock; a month after 1 o'clock on the 30th is earlier than that: the frame of a later
//! row may end earlier. DataFusion (and PostgreSQL) look for the end of a frame from the end of the one before. DataFusion 55.2.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, make_comparator};
use arrow::compute::kernels::numeric::{add, sub};
use arrow::compute::{SortOptions, filter};
use arrow::datatypes::{DataType, FieldRef, IntervalUnit, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, PartitionEvaluator, ReversedUDWF, Signature, Volatility, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::Column;

/// Whether a frame reaches over months: a RANGE of intervals that have some, which are texts as long as a plan is not analyzed.
pub(crate) fn reaches_over_months(frame: &WindowFrame) -> bool {
    let has_months = |bound: &WindowFrameBound| {
        let (WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset)) = bound else { return false };
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let parsed = match offset {
            ScalarValue::Utf8(Some(text)) => ScalarValue::try_from_string(text.clone(), &interval).ok(),
            _ => Some(offset.clone()),
        };
        matches!(parsed, Some(ScalarValue::IntervalMonthDayNano(Some(offset))) if offset.months != 0)
    };
    frame.units == WindowFrameUnits::Range && (has_months(&frame.start_bound) || has_months(&frame.end_bound))
}

/// A function over such frames. Its arguments are those of the function, the condition that its rows must pass, if there is one, and last
/// what the window is ordered by.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MonthFrames {
    pub(crate) function: WindowFunctionDefinition,
    pub(crate) frame: WindowFrame,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
    pub(crate) distinct: bool,
    pub(crate) has_filter: bool,
    signature: Signature,
}

impl MonthFrames {
    pub(crate) fn new(function: WindowFunctionDefinition, frame: WindowFrame, order: (bool, bool)) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let (descending, nulls_first) = order;
        Self { function, frame, descending, nulls_first, distinct: false, has_filter: false, signature }
    }

    /// How many arguments are the function's own.
    fn own(&self, arguments: usize) -> usize {
        arguments.saturating_sub(1 + usize::from(self.has_filter))
    }
}

impl WindowUDFImpl for MonthFrames {
    fn name(&self) -> &str {
        "over_months"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let own = &args.input_fields()[..self.own(args.input_fields().len())];
        let field = match &self.function {
            WindowFunctionDefinition::AggregateUDF(function) => function.return_field(own)?,
            WindowFunctionDefinition::WindowUDF(function) => {
                function.field(WindowUDFFieldArgs::new(own, args.name()))?
            }
        };
        Ok(Arc::new(field.as_ref().clone().with_name(args.name()).with_nullable(true)))
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let own = self.own(args.input_exprs().len());
        let (exprs, fields) = (&args.input_exprs()[..own], &args.input_fields()[..own]);
        let function = match &self.function {
            WindowFunctionDefinition::AggregateUDF(function) => {
                Function::Aggregate(Box::new(self.aggregate(function, fields, args.ignore_nulls())?))
            }
            WindowFunctionDefinition::WindowUDF(function) => {
                let args = PartitionEvaluatorArgs::new(exprs, fields, false, args.ignore_nulls());
                Function::Other(function.partition_evaluator_factory(args)?)
            }
        };
        let options = SortOptions { descending: self.descending, nulls_first: self.nulls_first };
        Ok(Box::new(Evaluator { function, own, has_filter: self.has_filter, frame: self.frame.clone(), options }))
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }
}

impl MonthFrames {
    /// The aggregate of columns, which are its arguments.
    fn aggregate(
        &self,
        function: &Arc<AggregateUDF>,
        fields: &[FieldRef],
        ignore_nulls: bool,
    ) -> Result<AggregateFunctionExpr> {
        let column = |at: usize| Arc::new(Column::new(fields[at].name(), at)) as Arc<dyn PhysicalExpr>;
        let columns = (0..fields.len()).map(column).collect();
        AggregateExprBuilder::new(Arc::clone(function), columns)
            .schema(Arc::new(Schema::new(fields.to_vec())))
            .alias(function.name())
            .with_ignore_nulls(ignore_nulls)
            .with_distinct(self.distinct)
            .build()
    }
}

#[derive(Debug)]
enum Function {
    Aggregate(Box<AggregateFunctionExpr>),
    Other(Box<dyn PartitionEvaluator>),
}

#[derive(Debug)]
struct Evaluator {
    function: Function,
    own: usize,
    has_filter: bool,
    frame: WindowFrame,
    options: SortOptions,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        let Some(key) = values.last() else { return internal_err!("a window of months without an order") };
        let ranges = ranges(&self.frame, key, self.options)?;
        let condition = self.has_filter.then(|| &values[self.own]);
        let values = &values[..self.own];
        let answers = match &mut self.function {
            Function::Aggregate(function) => aggregated(function, values, condition, &ranges)?,
            Function::Other(function) => {
                ranges.iter().map(|range| function.evaluate(values, range)).collect::<Result<_>>()?
            }
        };
        ScalarValue::iter_to_array(answers)
    }
}

/// The rows of each row's frame.
fn ranges(frame: &WindowFrame, key: &ArrayRef, options: SortOptions) -> Result<Vec<Range<usize>>> {
    let starts = bounds(&frame.start_bound, true, key, options)?;
    let ends = bounds(&frame.end_bound, false, key, options)?;
    Ok(starts.into_iter().zip(ends).map(|(start, end)| start..end.max(start)).collect())
}

/// Where each row's frame starts, or ends.
fn bounds(bound: &WindowFrameBound, starts: bool, key: &ArrayRef, options: SortOptions) -> Result<Vec<usize>> {
    let rows = key.len();
    let targets = match bound {
        WindowFrameBound::Preceding(offset) if offset.is_null() => return Ok(vec![0; rows]),
        WindowFrameBound::Following(offset) if offset.is_null() => return Ok(vec![rows; rows]),
        WindowFrameBound::CurrentRow => Arc::clone(key),
        WindowFrameBound::Preceding(offset) if options.descending => add(key, &offset.to_scalar()?)?,
        WindowFrameBound::Preceding(offset) => sub(key, &offset.to_scalar()?)?,
        WindowFrameBound::Following(offset) if options.descending => sub(key, &offset.to_scalar()?)?,
        WindowFrameBound::Following(offset) => add(key, &offset.to_scalar()?)?,
    };
    let compare = make_comparator(key, &targets, options)?;
    let find = |row| {
        let (mut low, mut high) = (0, rows);
        while low < high {
            let middle = usize::midpoint(low, high);
            let ordering = compare(middle, row);
            if ordering.is_lt() || (!starts && ordering.is_eq()) { low = middle + 1 } else { high = middle }
        }
        low
    };
    Ok((0..rows).map(find).collect())
}

/// The aggregate of each range: as long as ranges move forward, of what came in and what left.
fn aggregated(
    function: &AggregateFunctionExpr,
    values: &[ArrayRef],
    condition: Option<&ArrayRef>,
    ranges: &[Range<usize>],
) -> Result<Vec<ScalarValue>> {
    let part = |rows: Range<usize>| -> Result<Vec<ArrayRef>> {
        let part = |values: &ArrayRef| values.slice(rows.start, rows.len());
        match condition {
            None => Ok(values.iter().map(part).collect()),
            Some(condition) => {
                let condition = part(condition);
                values.iter().map(|values| Ok(filter(&part(values), condition.as_boolean())?)).collect()
            }
        }
    };
    let moves = ranges.iter().any(|range| range.start > 0);
    let new = || if moves { function.create_sliding_accumulator() } else { function.create_accumulator() };
    let (mut accumulator, mut held): (Box<dyn Accumulator>, Range<usize>) = (new()?, 0..0);
    let mut answers = Vec::with_capacity(ranges.len());
    for range in ranges {
        if range.is_empty() {
            answers.push(function.default_value(function.field().data_type())?);
            continue;
        }
        if range.start < held.start || range.start >= held.end || range.end < held.end {
            (accumulator, held) = (new()?, range.start..range.start);
        }
        if range.end > held.end {
            accumulator.update_batch(&part(held.end..range.end)?)?;
        }
        if range.start > held.start {
            accumulator.retract_batch(&part(held.start..range.start)?)?;
        }
        held = range.clone();
        answers.push(accumulator.evaluate()?);
    }
    Ok(answers)
}
