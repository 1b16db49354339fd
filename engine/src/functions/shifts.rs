//! `lead`, `lag` and `nth_value` as PostgreSQL defines them.
//!
//! DataFusion's `lead` and `lag` with IGNORE NULLS lose count across gaps of NULLs where they work row by row: here they take whole
//! partitions, which it does right. An offset that is NULL gives NULL and not the row's own value; a default with a fraction is not cut
//! off for a column of integers; and there is no `nth_value` before the first. DataFusion 55.2.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::functions_window::nth_value::nth_value_udwf;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{Documentation, PartitionEvaluator, ReversedUDWF, Signature, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

/// One of DataFusion's functions, with its arguments checked.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct LeadLag {
    inner: Arc<WindowUDF>,
    /// `nth_value`; not `lead` and `lag`.
    nth: bool,
}

impl LeadLag {
    /// All of them.
    pub(super) fn all() -> [Self; 3] {
        [(lead_udwf(), false), (lag_udwf(), false), (nth_value_udwf(), true)].map(|(inner, nth)| Self { inner, nth })
    }
}

/// The value of an argument that is the same for all rows.
fn constant<'a>(args: &PartitionEvaluatorArgs<'a>, at: usize) -> Option<&'a ScalarValue> {
    args.input_exprs().get(at)?.downcast_ref::<Literal>().map(Literal::value)
}

/// # Errors
/// If a number has a fraction, or is too large, for the column whose gaps it fills.
fn check_default(value: Option<&ScalarValue>, column: &DataType) -> Result<()> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(()) };
    let given = value.data_type();
    if given.is_numeric() && column.is_numeric() && value.cast_to(column)?.cast_to(&given)? != *value {
        return exec_err!("the default {value} of lead or lag is no {column}: cast the column, or the default");
    }
    Ok(())
}

impl WindowUDFImpl for LeadLag {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let offset = constant(&args, 1);
        if offset.is_some_and(ScalarValue::is_null) {
            return Ok(Box::new(Nulls));
        }
        let ignores_nulls = args.ignore_nulls();
        if self.nth {
            let first = offset.and_then(|offset| i64::try_from(offset.cast_to(&DataType::Int64).ok()?).ok());
            if first.is_some_and(|first| first <= 0) {
                return exec_err!("argument of nth_value must be greater than zero");
            }
            return self.inner.partition_evaluator_factory(args);
        }
        if let Some(field) = args.input_fields().first() {
            check_default(constant(&args, 2), field.data_type())?;
        }
        let inner = self.inner.partition_evaluator_factory(args)?;
        Ok(if ignores_nulls { Box::new(WholePartition(inner)) } else { inner })
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.inner.field(args)
    }

    /// None: that a function is reversed gets lost on the way to workers.
    fn reverse_expr(&self) -> ReversedUDWF {
        ReversedUDWF::NotSupported
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Gives NULL for every row.
#[derive(Debug)]
struct Nulls;

impl PartitionEvaluator for Nulls {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        Ok(new_null_array(values[0].data_type(), num_rows))
    }

    fn evaluate(&mut self, values: &[ArrayRef], _range: &Range<usize>) -> Result<ScalarValue> {
        ScalarValue::try_from(values[0].data_type())
    }
}

/// An evaluator that is asked for all rows of a partition at once.
#[derive(Debug)]
struct WholePartition(Box<dyn PartitionEvaluator>);

impl PartitionEvaluator for WholePartition {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        self.0.evaluate_all(values, num_rows)
    }
}
