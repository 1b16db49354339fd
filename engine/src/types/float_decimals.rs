//! Floating-point numbers as decimals, by the fewest digits that are read as the same number, rounded half away from zero.
//!
//! `1.005` as a double is a little less than it is written. Arrow multiplies and rounds, and gives 1.00 for two digits behind the point;
//! here it is 1.01, as it is written. `NaN`, infinities and what has too many digits are errors, or NULL. Arrow 59.

use std::fmt::{Debug, LowerExp};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Float32Type, Float64Type, i256};
use arrow::error::ArrowError;

/// As many powers of ten are exact as doubles.
const EXACT_POWERS: i8 = 22;

/// The values in another type, as [`cast_with_options`] does it, but for floating-point numbers that become decimals.
///
/// # Errors
/// Arrow's, if a value does not fit and the options are not safe.
pub(crate) fn cast_by_digits(values: &ArrayRef, to: &DataType, options: &CastOptions) -> Result<ArrayRef, ArrowError> {
    match (values.data_type(), to) {
        (DataType::Float32 | DataType::Float64, to) if to.is_decimal() => decimals(values, to, options),
        (DataType::Float16, to) if to.is_decimal() => {
            decimals(&cast_with_options(values, &DataType::Float32, options)?, to, options)
        }
        (DataType::List(_), DataType::List(element)) if becomes_decimal(values.data_type(), to) => {
            let lists = values.as_list::<i32>();
            let elements = cast_by_digits(lists.values(), element.data_type(), options)?;
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            Ok(Arc::new(arrow::array::ListArray::try_new(Arc::clone(element), offsets, elements, nulls)?))
        }
        _ => cast_with_options(values, to, options),
    }
}

/// Whether a cast is one that is done here.
pub(crate) fn becomes_decimal(from: &DataType, to: &DataType) -> bool {
    match (from, to) {
        (DataType::List(from), DataType::List(to)) => becomes_decimal(from.data_type(), to.data_type()),
        (from, to) => from.is_floating() && to.is_decimal(),
    }
}

fn decimals(values: &ArrayRef, to: &DataType, options: &CastOptions) -> Result<ArrayRef, ArrowError> {
    let (precision, scale) = match to {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (*precision, *scale),
        other => return Err(ArrowError::CastError(format!("{other} is no decimal"))),
    };
    if precision > DECIMAL128_MAX_PRECISION || matches!(to, DataType::Decimal256(..)) {
        let decimals = numbers(values, to, options, |number| wide(number, precision, scale))?;
        let decimals = decimals.into_iter().collect::<Decimal256Array>();
        return Ok(Arc::new(decimals.with_precision_and_scale(precision, scale)?));
    }
    let decimals = numbers(values, to, options, |number| narrow(number, precision, scale))?;
    let decimals = decimals.into_iter().collect::<Decimal128Array>().with_precision_and_scale(precision, scale)?;
    match to {
        DataType::Decimal128(..) => Ok(Arc::new(decimals)),
        _ => cast_with_options(&decimals, to, options),
    }
}

/// A number, and how far at most the number that it is written as is from it, as a part of it.
struct Number<'a> {
    value: f64,
    error: f64,
    text: &'a dyn Fn() -> String,
}

fn numbers<D>(
    values: &ArrayRef,
    to: &DataType,
    options: &CastOptions,
    decimal: impl Fn(Number<'_>) -> Option<D>,
) -> Result<Vec<Option<D>>, ArrowError> {
    match values.data_type() {
        DataType::Float32 => {
            let numbers = values.as_primitive::<Float32Type>().iter();
            let of = |value: f32| number(value, f32::EPSILON.into(), to, options, &decimal);
            numbers.map(|value| value.map_or(Ok(None), of)).collect()
        }
        _ => {
            let numbers = values.as_primitive::<Float64Type>().iter();
            let of = |value: f64| number(value, f64::EPSILON, to, options, &decimal);
            numbers.map(|value| value.map_or(Ok(None), of)).collect()
        }
    }
}

fn number<D, F: Copy + Into<f64> + LowerExp + Debug>(
    value: F,
    error: f64,
    to: &DataType,
    options: &CastOptions,
    decimal: impl Fn(Number<'_>) -> Option<D>,
) -> Result<Option<D>, ArrowError> {
    let text = || format!("{value:e}");
    match decimal(Number { value: value.into(), error, text: &text }) {
        None if !options.safe => Err(ArrowError::CastError(format!("Cannot cast to {to}. Overflowing on {value:?}"))),
        decimal => Ok(decimal),
    }
}

fn narrow(number: Number<'_>, precision: u8, scale: i8) -> Option<i128> {
    let decimal = match rounded(&number, scale) {
        Some(rounded) => rounded,
        None => {
            let digits = Digits::of(&(number.text)())?;
            match digits.shift(scale) {
                shift if shift >= 0 => digits.number.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)?,
                shift => digits.rounded_off(shift.unsigned_abs()),
            }
        }
    };
    (decimal.unsigned_abs() < 10_u128.checked_pow(precision.into())?).then_some(decimal)
}

fn wide(number: Number<'_>, precision: u8, scale: i8) -> Option<i256> {
    let digits = Digits::of(&(number.text)())?;
    let ten = i256::from_i128(10);
    let decimal = match digits.shift(scale) {
        0 => i256::from_i128(digits.number),
        _ if digits.number == 0 => i256::ZERO,
        shift if shift > 0 => {
            i256::from_i128(digits.number).checked_mul(ten.checked_pow(u32::try_from(shift).ok()?)?)?
        }
        shift => i256::from_i128(digits.rounded_off(shift.unsigned_abs())),
    };
    let bound = ten.checked_pow(precision.into())?;
    (decimal < bound && decimal > bound.wrapping_neg()).then_some(decimal)
}

/// The number of units of the last digit, if it is far enough from the middle between two of them that the error does not matter.
fn rounded(number: &Number<'_>, scale: i8) -> Option<i128> {
    if !(0..=EXACT_POWERS).contains(&scale) {
        return None;
    }
    let product = (number.value * 10_f64.powi(scale.into())).abs();
    // The error of the product itself is as large as that of a double.
    let error = product * 2.0 * number.error;
    let is_certain = (product.fract() - 0.5).abs() > error && error < 0.25;
    is_certain.then(|| (product.round() as i128) * if number.value < 0.0 { -1 } else { 1 })
}

/// A number as it is written: digits, and the power of ten of the last one.
struct Digits {
    number: i128,
    power: i32,
}

impl Digits {
    /// Of a text such as `-1.005e-7`. None for what is no number.
    fn of(text: &str) -> Option<Self> {
        let (digits, power) = text.split_once('e')?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let number = format!("{whole}{fraction}").parse().ok()?;
        let power = power.parse::<i32>().ok()? - i32::try_from(fraction.len()).ok()?;
        Some(Self { number, power })
    }

    fn shift(&self, scale: i8) -> i32 {
        self.power + i32::from(scale)
    }

    /// Without so many digits.
    fn rounded_off(&self, digits: u32) -> i128 {
        let Some(unit) = 10_i128.checked_pow(digits) else { return 0 };
        let (whole, rest) = (self.number / unit, self.number % unit);
        // A unit of 10³⁸ has no double.
        if rest.abs() >= unit - rest.abs() { whole + self.number.signum() } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array};
    use arrow::datatypes::Decimal128Type;

    use super::*;

    fn cast_one(value: ArrayRef, to: &DataType) -> Result<i128, String> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let safe = cast_by_digits(&value, to, &CastOptions::default()).unwrap();
        let cast = cast_by_digits(&value, to, &strict).map_err(|error| error.to_string());
        assert_eq!(safe.is_null(0), cast.is_err());
        cast.map(|decimals| {
            assert_eq!(decimals.data_type(), to);
            decimals.as_primitive::<Decimal128Type>().value(0)
        })
    }

    #[test]
    fn numbers_are_rounded_as_they_are_written() {
        let cents = DataType::Decimal128(10, 2);
        for (value, expected) in [
            (1.005, 101),
            (-1.005, -101),
            (0.285, 29),
            (1.255, 126),
            (8.575, 858),
            (0.125, 13),
            (-0.0, 0),
            (1e-300, 0),
            (0.005, 1),
            (0.004999999999999999, 0),
            (99_999_999.99, 9_999_999_999),
            (0.615, 62),
        ] {
            assert_eq!(cast_one(Arc::new(Float64Array::from(vec![value])), &cents), Ok(expected), "{value}");
        }
        for value in [99_999_999.995, 1e300, -1e8, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = cast_one(Arc::new(Float64Array::from(vec![value])), &cents).unwrap_err();
            assert!(error.contains("Overflowing on"), "{error}");
        }
        for (value, expected) in [(1.005_f32, 101), (0.285, 29), (16_777_216.0, 1_677_721_600), (8.575, 858)] {
            assert_eq!(cast_one(Arc::new(Float32Array::from(vec![value])), &cents), Ok(expected), "{value}");
        }
        let whole = DataType::Decimal128(38, 0);
        assert_eq!(cast_one(Arc::new(Float64Array::from(vec![1e22])), &whole), Ok(10_i128.pow(22)));
        assert_eq!(cast_one(Arc::new(Float64Array::from(vec![1e37])), &whole), Ok(10_i128.pow(37)));
        assert_eq!(cast_one(Arc::new(Float64Array::from(vec![-2.5])), &whole), Ok(-3));
        assert!(cast_one(Arc::new(Float64Array::from(vec![1e38])), &whole).is_err());
    }

    #[test]
    fn certain_numbers_are_as_the_written_ones() {
        let mut state = 88_172_645_463_325_252_u64;
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let value = (state % 2_000_001) as f64 / 1000.0 - 1000.0;
            let text = || format!("{value:e}");
            let number = || Number { value, error: f64::EPSILON, text: &text };
            for scale in [0, 1, 2, 5] {
                let digits = Digits::of(&text()).unwrap();
                let written = match digits.shift(scale) {
                    shift if shift >= 0 => digits.number * 10_i128.pow(shift as u32),
                    shift => digits.rounded_off(shift.unsigned_abs()),
                };
                assert_eq!(narrow(number(), 38, scale), Some(written), "{value} {scale}");
                assert_eq!(wide(number(), 76, scale), Some(i256::from_i128(written)), "{value} {scale}");
            }
        }
    }
}
