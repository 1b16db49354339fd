//! `year`, `month`, `day` and `hour`: whole units since 1970-01-01 00:00 UTC, rounded down.
//!
//! Dates before 1970 give negative numbers: 1969-12-31 is year -1, month -1, day -1. Timestamps with a time zone
//! are in UTC already.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int32Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use datafusion::common::exec_err;
use datafusion::error::Result;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Year,
    Month,
    Day,
    Hour,
}

const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// The count of each value: as a date for days, as an int otherwise.
pub(super) fn apply(unit: Unit, input: &ArrayRef) -> Result<ArrayRef> {
    match (input.data_type(), unit) {
        (DataType::Date32, Unit::Year | Unit::Month | Unit::Day) => {
            count(unit, input.as_primitive::<Date32Type>(), |days| i64::from(days) * 24 * MICROS_PER_HOUR)
        }
        (DataType::Timestamp(TimeUnit::Microsecond, _), _) => {
            count(unit, input.as_primitive::<TimestampMicrosecondType>(), |micros| micros)
        }
        (DataType::Timestamp(TimeUnit::Nanosecond, _), _) => {
            count(unit, input.as_primitive::<TimestampNanosecondType>(), |nanos| nanos.div_euclid(1000))
        }
        (other, _) => exec_err!("{unit:?} of {other} is not a partition transform"),
    }
}

fn count<T: ArrowPrimitiveType>(
    unit: Unit,
    values: &PrimitiveArray<T>,
    micros: impl Fn(T::Native) -> i64,
) -> Result<ArrayRef> {
    Ok(match unit {
        Unit::Day => Arc::new(values.try_unary::<_, Date32Type, _>(|value| in_unit(unit, micros(value)))?),
        _ => Arc::new(values.try_unary::<_, Int32Type, _>(|value| in_unit(unit, micros(value)))?),
    })
}

fn in_unit(unit: Unit, micros: i64) -> Result<i32, ArrowError> {
    let days = micros.div_euclid(24 * MICROS_PER_HOUR);
    let count = match unit {
        Unit::Hour => micros.div_euclid(MICROS_PER_HOUR),
        Unit::Day => days,
        Unit::Month => month_of(days),
        Unit::Year => month_of(days).div_euclid(12),
    };
    i32::try_from(count).map_err(|_| ArrowError::ComputeError(format!("{unit:?} {count} is out of range")))
}

/// Months from 1970-01 to the month of a day, in the proleptic Gregorian calendar.
///
/// Years start in March here, so that the leap day is a year's last; the calendar repeats every 146,097 days.
fn month_of(days: i64) -> i64 {
    let day = days + 719_468;
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    (era * 400 + year_of_era - 1970) * 12 + month_from_march + 2
}
