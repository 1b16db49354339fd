//! `min()` and `max()` of floating-point numbers by group, in the order in which `NaN` is above all others, and of intervals, by their
//! lengths.
//!
//! DataFusion's fast accumulators of many groups compare with `<` and `>`, of which `NaN` is neither: what a group gives then
//! depends on the order of its rows. Its accumulators of one group use the total order, so each group has one of these.
//! DataFusion 55.2.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, IntervalUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};

use super::interval_extremes::{Growing, OfFrame};
use super::sliding::Sliding;

/// DataFusion's `min` or `max`, without fast accumulators for floating-point numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FloatExtreme {
    inner: Arc<AggregateUDF>,
}

impl FloatExtreme {
    /// `min` and `max`.
    pub(super) fn both() -> [Self; 2] {
        [min_udaf(), max_udaf()].map(|inner| Self { inner })
    }

    fn is_max(&self) -> bool {
        self.inner.name() == "max"
    }
}

fn is_of_intervals(args: &AccumulatorArgs) -> bool {
    args.return_field.data_type() == &DataType::Interval(IntervalUnit::MonthDayNano)
}

impl AggregateUDFImpl for FloatExtreme {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (is_of_intervals(&args), self.is_max()) {
            (true, true) => Ok(Box::new(Growing::<true>::default())),
            (true, false) => Ok(Box::new(Growing::<false>::default())),
            (false, _) => self.inner.accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match (is_of_intervals(&args), self.is_max()) {
            (true, true) => Ok(Box::new(Sliding::new(OfFrame::<true>))),
            (true, false) => Ok(Box::new(Sliding::new(OfFrame::<false>))),
            (false, _) => self.inner.create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.return_field.data_type().is_floating()
            && !is_of_intervals(&args)
            && self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    /// Not said: the heap that keeps the groups of the first rows of an order compares as the fast accumulators do.
    fn is_descending(&self) -> Option<bool> {
        None
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
