//! DataFusion's aggregates with another accumulator for frames that move.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::bit_and_or_xor::bit_xor_udaf;
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity,
    Signature, StatisticsArgs,
};

use super::moments::{Spread, WholeSpread};
use super::xor::SlidingXor;
use super::{FloatSum, Sliding};

/// Which accumulator.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Average,
    Spread(Spread),
    Xor,
}

/// An aggregate of DataFusion's.
#[derive(Debug)]
pub(in crate::functions) struct Windowed {
    inner: Arc<AggregateUDF>,
    kind: Kind,
}

impl Windowed {
    /// Those that DataFusion has wrong.
    pub(in crate::functions) fn all() -> [Self; 6] {
        let spread = |sample, root| Kind::Spread(Spread { sample, root });
        [
            (avg_udaf(), Kind::Average),
            (var_samp_udaf(), spread(true, false)),
            (var_pop_udaf(), spread(false, false)),
            (stddev_udaf(), spread(true, true)),
            (stddev_pop_udaf(), spread(false, true)),
            (bit_xor_udaf(), Kind::Xor),
        ]
        .map(|(inner, kind)| Self { inner, kind })
    }
}

/// Of each name there is one. To compare signatures takes longer than all else that is done with an expression, and thousands may be in a
/// select list.
impl PartialEq for Windowed {
    fn eq(&self, other: &Self) -> bool {
        self.inner.name() == other.inner.name()
    }
}

impl Eq for Windowed {}

impl std::hash::Hash for Windowed {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}

impl AggregateUDFImpl for Windowed {
    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let doubles = args.expr_fields.iter().all(|field| field.data_type() == &DataType::Float64);
        match self.kind {
            Kind::Average if doubles && !args.is_distinct => Ok(Box::new(Sliding::new(FloatSum::Average))),
            Kind::Spread(spread) if doubles && !args.is_distinct => Ok(Box::new(Sliding::new(spread))),
            Kind::Xor => Ok(Box::new(SlidingXor::new(self.inner.create_sliding_accumulator(args)?))),
            _ => self.inner.create_sliding_accumulator(args),
        }
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
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

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.kind {
            Kind::Spread(spread) if !args.is_distinct => {
                Ok(Box::new(WholeSpread::new(self.inner.accumulator(args)?, spread)))
            }
            _ => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.inner.create_groups_accumulator(args)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(args)
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
