//! `timezone(zone, moment)`, which `AT TIME ZONE` is: the local time of a moment, or the moment of a local time.
//!
//! In: a zone's name or offset, and a timestamp. Out: of one with a time zone, what clocks show there; of one without, the moment at which
//! they show it. A zone that there is not is an error, also where there are no rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, FieldRef, IntervalUnit, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::Zone;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LocalTime {
    signature: Signature,
}

impl Default for LocalTime {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for LocalTime {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [zone, moment] = arg_types else {
            return plan_err!("timezone takes a time zone and a timestamp, not {} values", arg_types.len());
        };
        Ok(vec![zone_type(zone)?, moment_type(moment)?])
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [_, DataType::Timestamp(unit, Some(_))] => Ok(DataType::Timestamp(*unit, None)),
            [_, DataType::Timestamp(unit, None)] => Ok(DataType::Timestamp(*unit, Some("UTC".into()))),
            other => plan_err!("timezone of {other:?}"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if let Some(Some(zone)) = args.scalar_arguments.first() {
            Zone::of_value(zone)?;
        }
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [zone, moment] = args.args.as_slice() else {
            return exec_err!("timezone of {} values", args.args.len());
        };
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let moments = moment.to_array(rows)?;
        let converted = match zone {
            ColumnarValue::Scalar(zone) => at_zone(&moments, Zone::of_value(zone)?)?,
            ColumnarValue::Array(zones) => {
                // One row after the other: each has a zone of its own.
                let rows = (0..rows).map(|row| {
                    let zone = Zone::of_value(&ScalarValue::try_from_array(zones, row)?)?;
                    ScalarValue::try_from_array(&at_zone(&moments.slice(row, 1), zone)?, 0)
                });
                let rows = rows.collect::<Result<Vec<_>>>()?;
                match rows.is_empty() {
                    true => at_zone(&moments, None)?,
                    false => ScalarValue::iter_to_array(rows)?,
                }
            }
        };
        match is_scalar {
            true => ScalarValue::try_from_array(&converted, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(converted)),
        }
    }
}

/// A zone as functions take it.
pub(in crate::functions) fn zone_type(given: &DataType) -> Result<DataType> {
    match given {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => Ok(DataType::Utf8),
        DataType::Interval(_) => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
        other => plan_err!("a time zone is a name or an interval, not {other}"),
    }
}

/// Dates and texts are moments first, as in PostgreSQL.
fn moment_type(given: &DataType) -> Result<DataType> {
    match given {
        DataType::Timestamp(unit, None) => Ok(DataType::Timestamp(*unit, None)),
        DataType::Timestamp(unit, Some(_)) => Ok(DataType::Timestamp(*unit, Some("UTC".into()))),
        DataType::Date32
        | DataType::Date64
        | DataType::Utf8
        | DataType::Utf8View
        | DataType::LargeUtf8
        | DataType::Null => Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        other => plan_err!("AT TIME ZONE takes timestamps and dates, not {other}"),
    }
}

/// Timestamps with a time zone as local times, those without as moments; all NULL if there is no zone.
pub(crate) fn at_zone(timestamps: &ArrayRef, zone: Option<Zone>) -> Result<ArrayRef> {
    match timestamps.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => shifted::<TimestampSecondType>(timestamps, zone, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => shifted::<TimestampMillisecondType>(timestamps, zone, 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            shifted::<TimestampMicrosecondType>(timestamps, zone, 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            shifted::<TimestampNanosecondType>(timestamps, zone, 1_000_000_000)
        }
        other => exec_err!("timezone of {other}"),
    }
}

fn shifted<T: ArrowTimestampType>(timestamps: &ArrayRef, zone: Option<Zone>, per_second: i64) -> Result<ArrayRef> {
    let timestamps = timestamps.as_primitive::<T>();
    let is_moment = timestamps.timezone().is_some();
    let shifted: PrimitiveArray<T> = match zone {
        None => PrimitiveArray::new_null(timestamps.len()),
        Some(zone) => timestamps.try_unary(|value| {
            let seconds = value.div_euclid(per_second);
            let offset = match is_moment {
                true => zone.offset_at(seconds),
                false => zone.offset_of_local(seconds).map(|offset| -offset),
            };
            let shifted = offset.and_then(|offset| value.checked_add(offset * per_second));
            shifted.ok_or_else(|| exec_datafusion_err!("a timestamp is out of range in its time zone: {value}"))
        })?,
    };
    Ok(Arc::new(shifted.with_timezone_opt((!is_moment).then_some("UTC"))))
}
