//! Keys that tell the two zeros of floating-point numbers apart, and the values that they are of.
//!
//! `exact_key(x)` is the bits of a number, as an integer; of a struct, list or map that holds numbers it is Arrow's row format.
//! `of_exact_key(key, null)` is the value of such a key, in the type of the NULL. What a subquery has for each value of a query around it is
//! computed by such keys (`planner/correlated`): `=` and GROUP BY take the zeros for one, while `1 / x` is another for each.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, new_null_array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use arrow::row::{RowConverter, SortField};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::types::holds_floats;

/// `exact_key`, or `of_exact_key`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExactKey {
    is_inverse: bool,
    signature: Signature,
}

impl ExactKey {
    /// Both functions.
    pub(super) fn both() -> [Self; 2] {
        [Self::new(false), Self::new(true)]
    }

    fn new(is_inverse: bool) -> Self {
        let arguments = if is_inverse { 2 } else { 1 };
        Self { is_inverse, signature: Signature::any(arguments, Volatility::Immutable) }
    }

    /// The type of the keys of values of a type; none if the values are keys themselves.
    pub(crate) fn key_type(value: &DataType) -> Option<DataType> {
        match value {
            DataType::Float16 => Some(DataType::Int16),
            DataType::Float32 => Some(DataType::Int32),
            DataType::Float64 => Some(DataType::Int64),
            other => holds_floats(other).then_some(DataType::Binary),
        }
    }

    /// The key of a value.
    pub(crate) fn call(value: Expr) -> Expr {
        let function = Arc::new(ScalarUDF::new_from_impl(Self::new(false)));
        Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![value]))
    }

    /// The value, of this type, of a key.
    ///
    /// # Errors
    /// If there is no NULL of the type.
    pub(crate) fn value_of(key: Expr, value: &DataType) -> Result<Expr> {
        let function = Arc::new(ScalarUDF::new_from_impl(Self::new(true)));
        let null = lit(ScalarValue::try_from(value)?);
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![key, null])))
    }
}

fn keys(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float16 => {
            Arc::new(values.as_primitive::<Float16Type>().unary::<_, Int16Type>(|value| value.to_bits().cast_signed()))
        }
        DataType::Float32 => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Int32Type>(|value| value.to_bits().cast_signed()))
        }
        DataType::Float64 => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Int64Type>(|value| value.to_bits().cast_signed()))
        }
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
            Arc::new(converter.convert_columns(&[Arc::clone(values)])?.try_into_binary()?)
        }
    })
}

fn values(keys: &ArrayRef, value: &DataType) -> Result<ArrayRef> {
    Ok(match value {
        DataType::Float16 => Arc::new(keys.as_primitive::<Int16Type>().unary::<_, Float16Type>(|bits| {
            <Float16Type as ArrowPrimitiveType>::Native::from_bits(bits.cast_unsigned())
        })),
        DataType::Float32 => Arc::new(
            keys.as_primitive::<Int32Type>().unary::<_, Float32Type>(|bits| f32::from_bits(bits.cast_unsigned())),
        ),
        DataType::Float64 => Arc::new(
            keys.as_primitive::<Int64Type>().unary::<_, Float64Type>(|bits| f64::from_bits(bits.cast_unsigned())),
        ),
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
            let null = converter.convert_columns(&[new_null_array(other, 1)])?;
            let parser = converter.parser();
            let keys: &BinaryArray = keys.as_binary();
            let rows = keys.iter().map(|key| key.map_or_else(|| null.row(0), |key| parser.parse(key)));
            let mut values = converter.convert_rows(rows)?;
            values.swap_remove(0)
        }
    })
}

impl ScalarUDFImpl for ExactKey {
    fn name(&self) -> &str {
        if self.is_inverse { "of_exact_key" } else { "exact_key" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        if self.is_inverse {
            let [_, null] = take_function_args(self.name(), arg_types)?;
            return Ok(null.clone());
        }
        let [value] = take_function_args(self.name(), arg_types)?;
        Ok(Self::key_type(value).unwrap_or_else(|| value.clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ScalarFunctionArgs { args, return_field, .. } = args;
        let change = |array: &ArrayRef| match self.is_inverse {
            true => values(array, return_field.data_type()),
            false if Self::key_type(array.data_type()).is_some() => keys(array),
            false => Ok(Arc::clone(array)),
        };
        match args.as_slice() {
            [ColumnarValue::Array(array), ..] => Ok(ColumnarValue::Array(change(array)?)),
            [ColumnarValue::Scalar(value), ..] => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&change(&value.to_array()?)?, 0)?))
            }
            [] => internal_err!("{} of nothing", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, ListArray};

    use super::*;

    #[test]
    fn zeros_have_keys_of_their_own_and_keys_have_their_values() {
        let doubles = [Some(0.0), Some(-0.0), None, Some(f64::NAN), Some(1.5)];
        let lists = doubles.map(|double| double.map(|double| vec![Some(double), None]));
        let arrays: [ArrayRef; 3] = [
            Arc::new(Float64Array::from(doubles.to_vec())),
            Arc::new(Float32Array::from(vec![Some(0.0), Some(-0.0), None])),
            Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists)),
        ];
        for array in arrays {
            let keys = keys(&array).unwrap();
            assert_eq!(Some(keys.data_type()), ExactKey::key_type(array.data_type()).as_ref());
            assert_ne!(keys.slice(0, 1).to_data(), keys.slice(1, 1).to_data());
            assert_eq!(format!("{:?}", values(&keys, array.data_type()).unwrap()), format!("{array:?}"));
        }
        assert_eq!(ExactKey::key_type(&DataType::Utf8), None);
    }
}
