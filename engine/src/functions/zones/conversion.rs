//! Arrays of dates, timestamps and texts as each other, by a session's zone: for values that no plan converts (INSERT, parameters).

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use datafusion::common::Result;

use super::text::{moments_of_texts, texts_of_moments};
use super::{Zone, at_zone};

/// The values in a type, if the zone or the form of texts matters for that; none where arrow's own cast is right.
///
/// # Errors
/// If a value has no place in the type.
pub(crate) fn convert(values: &ArrayRef, to: &DataType, zone: Zone) -> Result<Option<ArrayRef>> {
    use DataType::{Date32, LargeUtf8, Time32, Time64, Timestamp, Utf8, Utf8View};
    let strictly = |values: &ArrayRef, to: &DataType| {
        cast_with_options(values, to, &CastOptions { safe: false, ..CastOptions::default() })
    };
    let converted = match (values.data_type(), to) {
        (Timestamp(..) | Time32(_) | Time64(_), Utf8 | LargeUtf8 | Utf8View) => texts_of_moments(values, zone)?,
        (Utf8 | LargeUtf8 | Utf8View, Timestamp(TimeUnit::Nanosecond, Some(_))) => {
            moments_of_texts::<TimestampNanosecondType>(values, zone, true)?
        }
        (Utf8 | LargeUtf8 | Utf8View, Timestamp(_, Some(_))) => {
            moments_of_texts::<TimestampMicrosecondType>(values, zone, true)?
        }
        (Date32 | Timestamp(_, None), Timestamp(unit, Some(_))) if !zone.is_utc() => {
            at_zone(&strictly(values, &Timestamp(*unit, None))?, Some(zone))?
        }
        (Timestamp(_, Some(_)), Date32 | Timestamp(_, None)) if !zone.is_utc() => at_zone(values, Some(zone))?,
        _ => return Ok(None),
    };
    Ok(Some(if converted.data_type() == to { converted } else { strictly(&converted, to)? }))
}
