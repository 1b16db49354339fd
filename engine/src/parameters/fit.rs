//! A client's values for one parameter, in the type that the parameter has.
//!
//! A value that does not fit is an error that names the parameter and both types: nothing wraps around, no digit is
//! dropped. Text converts to every type as a literal would, local times by the session's time zone.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, StringArray, new_null_array};
use arrow::compute::{CastOptions, can_cast_types, cast};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;

use crate::functions::{Zone, convert};
use crate::types::{Kind, cast_by_digits, check_digits, plain_message};
use crate::{Error, Result};

/// Values as a parameter takes them; as they are if its type is not known (Null).
///
/// # Errors
/// [`Error::Parameter`].
pub(super) fn fit(values: &ArrayRef, declared: &DataType, ordinal: usize, zone: Zone) -> Result<ArrayRef> {
    let values = plain(values)?;
    let from = values.data_type();
    check_digits(&values).map_err(|error| Error::Parameter {
        ordinal,
        message: format!("a value is not of its own type {from}: {}", plain_message(error)),
    })?;
    if from == declared || declared.is_null() {
        return Ok(values);
    }
    // Drivers send NULL in whatever type they please.
    if values.logical_null_count() == values.len() {
        return Ok(new_null_array(declared, values.len()));
    }
    let refused = |reason: String| Error::Parameter {
        ordinal,
        message: format!("its type is {declared}, and the value of type {from} {reason}"),
    };
    let (Some(from_kind), Some(kind)) = (Kind::of(from), Kind::of(declared)) else {
        return nested(&values, declared, zone).map_err(refused);
    };
    if !from_kind.converts_to(kind) {
        return Err(refused("does not convert to it: use CAST".to_owned()));
    }
    let converted = match declared {
        DataType::FixedSizeBinary(length) => fixed(&values, from_kind, *length, zone),
        DataType::Timestamp(unit, _) if from_kind == Kind::Timestamp => timestamps(&values, *unit, declared, zone),
        decimal if decimal.is_decimal() && from.is_floating() => floats_as_decimals(&values, declared, zone),
        _ => exactly(&values, from_kind, declared, zone),
    };
    match converted {
        Ok(converted) => Ok(converted),
        // Comparisons with the number itself are right, and INSERT knows how to store it.
        Err(_) if from_kind == Kind::Number && is_approximate(declared) => Ok(values),
        Err(reason) => Err(refused(reason)),
    }
}

/// Types to which INSERT rounds numbers.
fn is_approximate(declared: &DataType) -> bool {
    declared.is_decimal() || declared.is_floating()
}

/// Without dictionaries and run ends.
fn plain(values: &ArrayRef) -> Result<ArrayRef> {
    match values.data_type() {
        DataType::Dictionary(_, plain) => Ok(cast(values, plain)?),
        DataType::RunEndEncoded(_, plain) => Ok(cast(values, plain.data_type())?),
        _ => Ok(Arc::clone(values)),
    }
}

fn nested(values: &ArrayRef, declared: &DataType, zone: Zone) -> Result<ArrayRef, String> {
    if !can_cast_types(values.data_type(), declared) {
        return Err("does not convert to it".to_owned());
    }
    strictly(values, declared, zone)
}

/// Converts, and checks that converting back gives the same values.
fn exactly(values: &ArrayRef, kind: Kind, declared: &DataType, zone: Zone) -> Result<ArrayRef, String> {
    let converted = strictly(values, declared, zone)?;
    let same = match (kind, declared) {
        (Kind::Text, decimal) if decimal.is_decimal() => has_room_for_fractions(values, decimal, zone)?,
        (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => true,
        (Kind::Text, _) => match widest(declared) {
            // Text that is too long or too far away for the widest type is in none.
            Some(wide) => match (strictly(values, &wide, zone), strictly(&converted, &wide, zone)) {
                (Ok(meant), Ok(kept)) => meant == kept,
                _ => true,
            },
            None => true,
        },
        _ => strictly(&converted, values.data_type(), zone).is_ok_and(|back| &back == values),
    };
    if same { Ok(converted) } else { Err("has digits that it has no room for".to_owned()) }
}

/// The type that keeps every digit which text has for a type.
fn widest(declared: &DataType) -> Option<DataType> {
    match declared {
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Nanosecond, zone.clone())),
        DataType::Time32(_) | DataType::Time64(_) => Some(DataType::Time64(TimeUnit::Nanosecond)),
        _ => None,
    }
}

/// Whether a decimal has all digits that texts of numbers have behind the point: arrow's parser would round them.
fn has_room_for_fractions(texts: &ArrayRef, decimal: &DataType, zone: Zone) -> Result<bool, String> {
    let (DataType::Decimal32(_, scale)
    | DataType::Decimal64(_, scale)
    | DataType::Decimal128(_, scale)
    | DataType::Decimal256(_, scale)) = decimal
    else {
        return Ok(false);
    };
    let scale = usize::try_from(*scale).unwrap_or(0);
    let texts = strictly(texts, &DataType::Utf8, zone)?;
    let digits =
        |text: &str| text.split_once('.').map_or(0, |(_, digits)| digits.trim_end().trim_end_matches('0').len());
    Ok(texts.as_string::<i32>().iter().flatten().all(|text| digits(text) <= scale))
}

/// The decimals that floating-point numbers are written as, in the fewest digits that are read as the same number. Arrow
/// multiplies instead, which gives other digits from the seventeenth on: 9999999999999999832227.84 for 1e22.
fn floats_as_decimals(values: &ArrayRef, declared: &DataType, zone: Zone) -> Result<ArrayRef, String> {
    let texts: StringArray = match values.data_type() {
        DataType::Float64 => {
            values.as_primitive::<Float64Type>().iter().map(|value| value.map(|value| value.to_string())).collect()
        }
        _ => {
            let values = strictly(values, &DataType::Float32, zone)?;
            values.as_primitive::<Float32Type>().iter().map(|value| value.map(|value| value.to_string())).collect()
        }
    };
    exactly(&(Arc::new(texts) as ArrayRef), Kind::Text, declared, zone)
}

/// First the unit, which may lose digits, then the time zone, which does not.
fn timestamps(values: &ArrayRef, unit: TimeUnit, declared: &DataType, zone: Zone) -> Result<ArrayRef, String> {
    let DataType::Timestamp(_, own) = values.data_type() else {
        return exactly(values, Kind::Timestamp, declared, zone);
    };
    let in_unit = exactly(values, Kind::Timestamp, &DataType::Timestamp(unit, own.clone()), zone)?;
    strictly(&in_unit, declared, zone)
}

/// Bytes of just this length; text is a UUID.
fn fixed(values: &ArrayRef, kind: Kind, length: i32, zone: Zone) -> Result<ArrayRef, String> {
    let bytes: Vec<Option<Vec<u8>>> = if kind == Kind::Text {
        let texts = strictly(values, &DataType::Utf8, zone)?;
        let parse = |text: &str| match uuid::Uuid::from_str(text) {
            Ok(uuid) => Ok(uuid.as_bytes().to_vec()),
            Err(_) => Err(format!("'{text}' is not a UUID")),
        };
        texts.as_string::<i32>().iter().map(|text| text.map(parse).transpose()).collect::<Result<_, _>>()?
    } else {
        let bytes = strictly(values, &DataType::Binary, zone)?;
        bytes.as_binary::<i32>().iter().map(|value| value.map(<[u8]>::to_vec)).collect()
    };
    if let Some(other) = bytes.iter().flatten().find(|value| value.len() != length.unsigned_abs() as usize) {
        return Err(format!("has {} bytes", other.len()));
    }
    let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes.into_iter(), length).map_err(reason)?;
    Ok(Arc::new(array))
}

/// Converts; a value that cannot be converted is an error, and never NULL.
fn strictly(values: &ArrayRef, to: &DataType, zone: Zone) -> Result<ArrayRef, String> {
    if values.data_type() == to {
        return Ok(Arc::clone(values));
    }
    if let Some(converted) = convert(values, to, zone).map_err(|error| error.find_root().message().into_owned())? {
        return Ok(converted);
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_by_digits(values, to, &options).map_err(reason)
}

fn reason(error: ArrowError) -> String {
    format!("does not fit: {}", plain_message(error))
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray, TimestampMillisecondArray,
        TimestampNanosecondArray,
    };

    use super::*;

    fn fitted(values: impl Array + 'static, declared: &DataType) -> Result<ArrayRef> {
        fit(&(Arc::new(values) as ArrayRef), declared, 2, Zone::UTC)
    }

    #[test]
    fn what_fits_is_converted_and_null_stays_null() {
        let ints = fitted(Int64Array::from(vec![Some(5), None]), &DataType::Int32).unwrap();
        assert_eq!(&ints, &(Arc::new(Int32Array::from(vec![Some(5), None])) as ArrayRef));
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let at = fitted(TimestampMillisecondArray::from(vec![1_500]), &micros).unwrap();
        assert_eq!(at.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0), 1_500_000);
        let text = fitted(StringArray::from(vec!["2024-02-29"]), &DataType::Date32).unwrap();
        assert_eq!(text.data_type(), &DataType::Date32);
        let uuid = StringArray::from(vec!["67e55044-10b1-426f-9247-bb680e5fe0c8"]);
        assert!(fitted(uuid, &DataType::FixedSizeBinary(16)).is_ok());
        let nulls = fitted(Int32Array::from(vec![None, None]), &DataType::Boolean).unwrap();
        assert_eq!((nulls.data_type(), nulls.null_count()), (&DataType::Boolean, 2));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_number_and_types() {
        let refused =
            |values: ArrayRef, declared: &DataType| fit(&values, declared, 2, Zone::UTC).unwrap_err().to_string();
        let large = refused(Arc::new(Int64Array::from(vec![3_000_000_000])), &DataType::Int32);
        for part in ["parameter 2", "Int32", "Int64", "3000000000"] {
            assert!(large.contains(part), "{large}");
        }
        let fraction = refused(Arc::new(Float64Array::from(vec![2.5])), &DataType::Int64);
        assert!(fraction.contains("no room"), "{fraction}");
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let nanos = refused(Arc::new(TimestampNanosecondArray::from(vec![1])), &micros);
        assert!(nanos.contains("no room"), "{nanos}");
        let kind = refused(Arc::new(Int64Array::from(vec![1])), &DataType::Date32);
        assert!(kind.contains("use CAST"), "{kind}");
        refused(Arc::new(StringArray::from(vec!["x"])), &DataType::Int64);
        refused(Arc::new(StringArray::from(vec!["1.005"])), &DataType::Decimal128(10, 2));
        refused(Arc::new(StringArray::from(vec!["1"])), &DataType::FixedSizeBinary(16));
    }

    #[test]
    fn numbers_beyond_a_decimals_digits_stay_what_they_are() {
        let cents = DataType::Decimal128(10, 2);
        let exact = Decimal128Array::from(vec![1_500]).with_precision_and_scale(10, 3).unwrap();
        assert_eq!(fitted(exact, &cents).unwrap().data_type(), &cents);
        let finer = Decimal128Array::from(vec![1_005]).with_precision_and_scale(10, 3).unwrap();
        assert_eq!(fitted(finer, &cents).unwrap().data_type(), &DataType::Decimal128(10, 3));
        assert_eq!(fitted(Float64Array::from(vec![0.1]), &DataType::Float32).unwrap().data_type(), &DataType::Float64);
        let digits38 = Decimal128Array::from(vec![NINES]).with_precision_and_scale(38, 0).unwrap();
        assert_eq!(fitted(digits38, &cents).unwrap().data_type(), &DataType::Decimal128(38, 0));
    }

    /// 38 digits.
    const NINES: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

    #[test]
    fn decimals_beyond_their_own_type_are_refused_and_never_taken_for_others() {
        for declared in [
            DataType::Decimal128(38, 10),
            DataType::Decimal128(10, 2),
            DataType::Decimal128(5, 2),
            DataType::Float64,
            DataType::Utf8,
            DataType::Null,
        ] {
            let labelled = Decimal128Array::from(vec![NINES]).with_precision_and_scale(5, 2).unwrap();
            let refused = fitted(labelled, &declared).unwrap_err();
            assert!(matches!(refused, Error::Parameter { ordinal: 2, .. }), "{declared}: {refused}");
            assert!(refused.to_string().contains("Decimal128(5, 2)"), "{refused}");
        }
    }

    #[test]
    fn text_has_as_many_digits_as_a_decimal_has_room_for() {
        let nines = NINES.to_string();
        let fraction = format!("0.{nines}");
        for (text, declared) in [
            (nines.clone(), DataType::Decimal128(38, 0)),
            (format!("-{nines}.000"), DataType::Decimal128(38, 0)),
            (fraction.clone(), DataType::Decimal128(38, 38)),
            (format!("{fraction}00"), DataType::Decimal128(38, 38)),
        ] {
            let fitted = fitted(StringArray::from(vec![text.clone()]), &declared).unwrap();
            let value = fitted.as_primitive::<arrow::datatypes::Decimal128Type>().value(0);
            assert_eq!(value.abs(), NINES, "{text}");
        }
        for (text, declared) in [
            (format!("{nines}0"), DataType::Decimal128(38, 0)),
            (format!("{nines}.5"), DataType::Decimal128(38, 0)),
            (nines, DataType::Decimal128(38, 1)),
            (format!("{fraction}1"), DataType::Decimal128(38, 38)),
            ("1e5".to_owned(), DataType::Decimal128(38, 0)),
        ] {
            assert!(fitted(StringArray::from(vec![text.clone()]), &declared).is_err(), "{text}");
        }
    }

    #[test]
    fn floats_become_the_decimals_that_they_are_written_as() {
        let decimal = DataType::Decimal128(38, 2);
        for (value, expected) in
            [(1e22, 10_i128.pow(24)), (0.1, 10), (-12.5, -1250), (1e35, 10_i128.pow(37)), (-0.0, 0)]
        {
            let fitted = fitted(Float64Array::from(vec![value]), &decimal).unwrap();
            assert_eq!(fitted.data_type(), &decimal);
            assert_eq!(fitted.as_primitive::<arrow::datatypes::Decimal128Type>().value(0), expected, "{value}");
        }
        for value in [0.125, 1e36, 1e300, 1e-40, f64::NAN, f64::INFINITY] {
            assert_eq!(fitted(Float64Array::from(vec![value]), &decimal).unwrap().data_type(), &DataType::Float64);
        }
        let single = arrow::array::Float32Array::from(vec![0.1_f32]);
        assert_eq!(fitted(single, &decimal).unwrap().data_type(), &decimal);
    }
}
