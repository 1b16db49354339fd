//! `sum()` of integers and decimals that fails where DataFusion's wraps around.
//!
//! Sums are kept in 128 bits, also between partial and final aggregation, and are checked when they are asked for: so a
//! sum that fits is answered whatever the order of its rows, and one that does not fit always fails. Types and names are
//! DataFusion's; so are the sums of all other types, and with them `avg()`, which sums doubles; but doubles in a window's frame that moves are
//! [`super::sliding`].

mod accumulators;
mod groups;

use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
};

use accumulators::{DistinctSum, RunningSum, SlidingDistinctSum};
use groups::GroupSums;

use super::sliding::{FloatSum, Sliding};

/// The aggregate.
#[derive(Debug, Default)]
pub(super) struct ExactSum {
    inner: Sum,
}

/// There is one. To compare and hash its signature takes longer than all else that is done with an expression, and thousands may be in a
/// select list.
impl PartialEq for ExactSum {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for ExactSum {}

impl std::hash::Hash for ExactSum {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}

/// Boxes an accumulator over the Arrow type of an exact sum, or takes DataFusion's for other types.
macro_rules! for_type {
    ($args:expr, $accumulator:ident, $other:expr) => {{
        let outcome = Outcome::new(&$args);
        match $args.return_field.data_type() {
            DataType::Int64 => Ok(Box::new($accumulator::<Int64Type>::new(outcome))),
            DataType::UInt64 => Ok(Box::new($accumulator::<UInt64Type>::new(outcome))),
            DataType::Decimal128(..) => Ok(Box::new($accumulator::<Decimal128Type>::new(outcome))),
            _ => $other,
        }
    }};
}

impl AggregateUDFImpl for ExactSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.is_distinct {
            true => for_type!(args, DistinctSum, self.inner.accumulator(args)),
            false => for_type!(args, RunningSum, self.inner.accumulator(args)),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match args.is_distinct {
            true => for_type!(args, SlidingDistinctSum, self.inner.create_sliding_accumulator(args)),
            false if args.return_field.data_type() == &DataType::Float64 => Ok(Box::new(Sliding::new(FloatSum::Sum))),
            false => for_type!(args, RunningSum, self.inner.create_sliding_accumulator(args)),
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        for_type!(args, GroupSums, self.inner.create_groups_accumulator(args))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        match args.return_field.data_type() {
            ty @ (DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..)) if !args.is_distinct => {
                Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sum"), state_type(ty), true))])
            }
            _ => self.inner.state_fields(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The type of a sum that is not complete yet.
fn state_type(outcome: &DataType) -> DataType {
    let scale = if let DataType::Decimal128(_, scale) = outcome { *scale } else { 0 };
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale)
}

/// A type whose values are summed in 128 bits.
trait Exact: ArrowPrimitiveType<Native: Into<i128> + TryFrom<i128>> + Send {}

impl<T: ArrowPrimitiveType<Native: Into<i128> + TryFrom<i128>> + Send> Exact for T {}

/// What becomes of a sum in 128 bits.
#[derive(Debug, Clone)]
struct Outcome {
    /// As the user would recognise it.
    name: String,
    data_type: DataType,
}

impl Outcome {
    fn new(args: &AccumulatorArgs) -> Self {
        Self { name: args.name.to_owned(), data_type: args.return_field.data_type().clone() }
    }

    fn state_type(&self) -> DataType {
        state_type(&self.data_type)
    }

    /// The sum in its own type.
    fn narrow<T: Exact>(&self, sum: i128) -> Result<T::Native> {
        let fits = match self.data_type {
            DataType::Decimal128(precision, _) => sum.unsigned_abs() < 10_u128.pow(u32::from(precision)),
            _ => true,
        };
        match T::Native::try_from(sum) {
            Ok(value) if fits => Ok(value),
            _ => Err(self.overflow(&format!("is {sum}, which"))),
        }
    }

    fn overflow(&self, detail: &str) -> datafusion::common::DataFusionError {
        let message = match self.data_type {
            DataType::Decimal128(precision, scale) => {
                format!("decimal overflow: {} does not fit decimal({precision}, {scale})", self.name)
            }
            DataType::UInt64 => format!("integer overflow: {} {detail} does not fit an unsigned bigint", self.name),
            _ => format!("integer overflow: {} {detail} does not fit a bigint; cast to decimal(38, 0)", self.name),
        };
        ArrowError::ArithmeticOverflow(message).into()
    }

    /// A checked step of many values: `step` is `i128::overflowing_add` or `i128::overflowing_sub`.
    fn step_all<T: Exact>(
        &self,
        mut sum: i128,
        values: &PrimitiveArray<T>,
        step: impl Fn(i128, i128) -> (i128, bool),
    ) -> Result<i128> {
        let mut overflow = false;
        let mut step_one = |value: T::Native| {
            let (next, over) = step(sum, value.into());
            sum = next;
            overflow |= over;
        };
        match values.nulls() {
            None => values.values().iter().copied().for_each(&mut step_one),
            Some(_) => values.iter().flatten().for_each(&mut step_one),
        }
        if overflow { Err(self.overflow("is beyond 128 bits and")) } else { Ok(sum) }
    }
}
