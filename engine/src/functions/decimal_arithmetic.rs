//! `+`, `-`, `*`, `/` and `%` of decimals near their limits: right, or an overflow.
//!
//! In: two decimals whose result may not fit in 38 digits. Out: a decimal of the type that arrow gives such a result. Arrow's kernels let
//! through a sum of 39 digits, which no type holds, and fail for quotients whose numerator, with more digits behind the point, has no room
//! in 128 bits: here it has 256.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, new_empty_array};
use arrow::compute::kernels::numeric;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef};
use arrow::error::ArrowError;
use datafusion::common::{Result, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// The digits of the widest type.
const DIGITS_MAX: u8 = 38;
/// The bits above the lower 64 of the smallest number of 39 digits.
const HIGH_BITS: i64 = 5_421_010_862_427_522_170;

/// One operation on decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DecimalArithmetic {
    operation: Operator,
    name: &'static str,
    signature: Signature,
}

impl DecimalArithmetic {
    const NAMES: [(Operator, &'static str); 5] = [
        (Operator::Plus, "decimal_add"),
        (Operator::Minus, "decimal_subtract"),
        (Operator::Multiply, "decimal_multiply"),
        (Operator::Divide, "decimal_divide"),
        (Operator::Modulo, "decimal_modulo"),
    ];

    pub(super) fn all() -> [Self; 5] {
        Self::NAMES.map(|(operation, name)| Self {
            operation,
            name,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    }

    /// The function of an operation on decimals of these types; none if arrow's own is right for all of them.
    pub(crate) fn function(operation: Operator, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
        let (&DataType::Decimal128(left_digits, left_scale), &DataType::Decimal128(right_digits, right_scale)) =
            (left, right)
        else {
            return None;
        };
        let (left_digits, left_scale) = (i32::from(left_digits), i32::from(left_scale));
        let (right_digits, right_scale) = (i32::from(right_digits), i32::from(right_scale));
        let scale = left_scale.max(right_scale);
        let digits = match operation {
            Operator::Plus | Operator::Minus => scale + (left_digits - left_scale).max(right_digits - right_scale) + 1,
            Operator::Multiply => left_digits + right_digits + 1,
            // Arrow gives quotients four digits more behind the point.
            Operator::Divide => left_digits + (left_scale + 4).min(DIGITS_MAX.into()) - left_scale + right_scale,
            Operator::Modulo => (left_digits + scale - left_scale).max(right_digits + scale - right_scale),
            _ => return None,
        };
        let (operation, name) = Self::NAMES.into_iter().find(|(known, _)| *known == operation)?;
        let signature = Signature::user_defined(Volatility::Immutable);
        (digits > DIGITS_MAX.into()).then(|| Arc::new(ScalarUDF::new_from_impl(Self { operation, name, signature })))
    }

    fn kernel(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.operation {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            Operator::Multiply => numeric::mul(left, right),
            Operator::Divide => numeric::div(left, right),
            _ => numeric::rem(left, right),
        }
    }
}

impl ScalarUDFImpl for DecimalArithmetic {
    fn name(&self) -> &str {
        self.name
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [left, right] => Ok(format!("{} {} {}", left.schema_name(), self.operation, right.schema_name())),
            _ => internal_err!("{} of {} values", self.name, args.len()),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [DataType::Decimal128(..), DataType::Decimal128(..)] => Ok(arg_types.to_vec()),
            _ => plan_err!("{} takes two decimals", self.name),
        }
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [left, right] => {
                let answer = self.kernel(&new_empty_array(left), &new_empty_array(right))?;
                Ok(answer.data_type().clone())
            }
            _ => internal_err!("{} of {} values", self.name, arg_types.len()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name, self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let answer_type = args.return_field.data_type().clone();
        let [left, right] = args.args.as_slice() else {
            return internal_err!("{} of {} values", self.name, args.args.len());
        };
        if matches!(self.operation, Operator::Divide | Operator::Modulo) {
            let (left, right) = (widened(left)?, widened(right)?);
            return apply(&left, &right, |left: &dyn Datum, right: &dyn Datum| {
                strictly(&self.kernel(left, right)?, &answer_type)
            });
        }
        apply(left, right, |left: &dyn Datum, right: &dyn Datum| {
            let answer = self.kernel(left, right)?;
            check(&answer, &answer_type)?;
            Ok(answer)
        })
    }
}

fn widened(value: &ColumnarValue) -> Result<ColumnarValue> {
    let DataType::Decimal128(_, scale) = value.data_type() else {
        return internal_err!("a decimal of type {}", value.data_type());
    };
    value.cast_to(&DataType::Decimal256(DECIMAL256_MAX_PRECISION, scale), None)
}

fn strictly(values: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(values, to, &CastOptions { safe: false, ..CastOptions::default() })
}

/// Fails if a number has 39 digits.
fn check(values: &ArrayRef, data_type: &DataType) -> Result<(), ArrowError> {
    let numbers = values.as_primitive::<Decimal128Type>();
    // Almost never true, and found without a branch for each number.
    let beyond = numbers.values().iter().fold(false, |beyond, number| {
        let high = (number >> 64) as i64;
        beyond | !(-HIGH_BITS..HIGH_BITS).contains(&high)
    });
    match beyond {
        true => numbers.validate_decimal_precision(DIGITS_MAX).map_err(|_| {
            ArrowError::ArithmeticOverflow(format!(
                "decimal overflow: a result of {data_type} has more than {DIGITS_MAX} digits"
            ))
        }),
        false => Ok(()),
    }
}
