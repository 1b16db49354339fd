//! Whether decimals have no more digits than their type says.
//!
//! Arrow's arrays do not promise it: the type is a label on numbers of fixed width, and nobody compares them where data comes
//! in. Casts rely on it, and give wrong numbers, or panic, where it is not so.

use arrow::array::{Array, AsArray, make_array};
use arrow::datatypes::{DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type};
use arrow::error::ArrowError;

/// Refuses decimals, also within nested values, that have more digits than their type.
///
/// # Errors
/// Arrow's, with the value and the type.
pub(crate) fn check_digits(values: &dyn Array) -> Result<(), ArrowError> {
    match values.data_type() {
        DataType::Decimal32(digits, _) => values.as_primitive::<Decimal32Type>().validate_decimal_precision(*digits),
        DataType::Decimal64(digits, _) => values.as_primitive::<Decimal64Type>().validate_decimal_precision(*digits),
        DataType::Decimal128(digits, _) => values.as_primitive::<Decimal128Type>().validate_decimal_precision(*digits),
        DataType::Decimal256(digits, _) => values.as_primitive::<Decimal256Type>().validate_decimal_precision(*digits),
        ty if ty.is_nested() => {
            let inner = values.to_data();
            inner.child_data().iter().try_for_each(|child| check_digits(&make_array(child.clone())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    fn decimals(values: Vec<Option<i128>>) -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(5, 2).unwrap())
    }

    #[test]
    fn more_digits_than_the_type_has_are_found_also_inside() {
        assert!(check_digits(&decimals(vec![Some(99_999), None, Some(-99_999)])).is_ok());
        assert!(check_digits(&decimals(vec![Some(1), Some(100_000)])).is_err());
        for (value, fits) in [(99_999, true), (100_000, false)] {
            let column = decimals(vec![Some(value)]);
            let field = Arc::new(Field::new("d", column.data_type().clone(), true));
            assert_eq!(check_digits(&StructArray::from(vec![(field, column)])).is_ok(), fits);
        }
    }
}
