//! Writes a value as the files write it.
//!
//! In: one cell of an Arrow array. Out: text without line breaks, the same for every client library and platform. `expect.py` writes
//! values by the same rules, so that another engine's answers can be compared; change both together. README.md lists the rules.

use std::fmt::Write;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float16Type, Float32Type, Float64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// The digits that floats are rounded to, so that the order of a sum does not show.
const DOUBLE_DIGITS: usize = 12;
const FLOAT_DIGITS: usize = 6;

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// A cell as a whole column value: `NULL` for null, `(empty)` for the empty string.
///
/// # Errors
/// When Arrow has no text for the type.
pub fn render_cell(array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        return Ok("NULL".to_string());
    }
    if let Some(text) = string(array, row) {
        return Ok(if text.is_empty() { "(empty)".to_string() } else { escaped(text) });
    }
    value(array, row)
}

/// A cell that is not null and not a string.
fn value(array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    Ok(match array.data_type() {
        DataType::Float16 => significant(array.as_primitive::<Float16Type>().value(row).into(), FLOAT_DIGITS),
        DataType::Float32 => significant(array.as_primitive::<Float32Type>().value(row).into(), FLOAT_DIGITS),
        DataType::Float64 => significant(array.as_primitive::<Float64Type>().value(row), DOUBLE_DIGITS),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Date64 => date(array.as_primitive::<Date64Type>().value(row).div_euclid(86_400_000)),
        DataType::Time32(_) | DataType::Time64(_) => clock(time_nanos(array, row)),
        DataType::Timestamp(_, zone) => timestamp(timestamp_nanos(array, row), zone.is_some()),
        DataType::Interval(_) => interval(array, row),
        DataType::Duration(_) => format!("0m 0d {}s", seconds(duration_nanos(array, row))),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => hex(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => hex(array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => hex(array.as_fixed_size_binary().value(row)),
        DataType::List(_) => list(&array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let names = fields.iter().map(|field| quoted(field.name()));
            object(names.zip(columns).map(|(name, column)| Ok((name, nested(column, row)?))))?
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            object((0..entries.len()).map(|entry| {
                let key = render_cell(keys, entry)?;
                Ok((quoted(&key), nested(values, entry)?))
            }))?
        }
        // Integers and booleans, and whatever Arrow adds.
        _ => ArrayFormatter::try_new(array, &FormatOptions::default())?.value(row).to_string(),
    })
}

/// A value inside a list, struct or map: JSON, where what JSON lacks is a string.
fn nested(array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    if array.is_null(row) {
        return Ok("null".to_string());
    }
    if let Some(text) = string(array, row) {
        return Ok(quoted(text));
    }
    let text = value(array, row)?;
    let bare =
        array.data_type().is_numeric() || array.data_type().is_nested() || *array.data_type() == DataType::Boolean;
    Ok(if bare { text } else { quoted(&text) })
}

fn list(items: &dyn Array) -> Result<String, ArrowError> {
    let items = (0..items.len()).map(|item| nested(items, item)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[{}]", items.join(",")))
}

fn object(entries: impl Iterator<Item = Result<(String, String), ArrowError>>) -> Result<String, ArrowError> {
    let entries = entries.map(|entry| entry.map(|(key, value)| format!("{key}:{value}")));
    Ok(format!("{{{}}}", entries.collect::<Result<Vec<_>, _>>()?.join(",")))
}

fn string(array: &dyn Array, row: usize) -> Option<&str> {
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}

/// Line breaks and tabs would be taken for the file's own.
fn escaped(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// C's `%.<digits>g`: rounded, without trailing zeros, scientific below 1e-4 and from 10^digits on.
fn significant(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "NaN".to_string();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let scientific = format!("{number:.*e}", digits - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{number:.decimals$}"))
}

/// A day count from 1970-01-01 as `YYYY-MM-DD` (proleptic Gregorian; years before 1 as negative numbers).
fn date(days: i64) -> String {
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Nanoseconds of a day as `HH:MM:SS`, with a fraction only where there is one.
fn clock(nanos: i128) -> String {
    let whole = nanos / 1_000_000_000;
    let mut text = format!("{:02}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
    let fraction = nanos % 1_000_000_000;
    if fraction != 0 {
        let digits = format!("{fraction:09}");
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
    text
}

fn timestamp(nanos: i128, zoned: bool) -> String {
    let days = nanos.div_euclid(NANOS_PER_DAY);
    let zone = if zoned { "Z" } else { "" };
    format!("{} {}{zone}", date(days as i64), clock(nanos.rem_euclid(NANOS_PER_DAY)))
}

fn seconds(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.abs();
    let fraction = format!("{:09}", nanos % 1_000_000_000);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", nanos / 1_000_000_000)
}

/// Months, days and seconds, which do not convert into each other.
fn interval(array: &dyn Array, row: usize) -> String {
    let (months, days, nanos) = match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => (array.as_primitive::<IntervalYearMonthType>().value(row), 0, 0),
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            (0, value.days, i128::from(value.milliseconds) * 1_000_000)
        }
        _ => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            (value.months, value.days, value.nanoseconds.into())
        }
    };
    format!("{months}m {days}d {}s", seconds(nanos))
}

fn time_nanos(array: &dyn Array, row: usize) -> i128 {
    match array.data_type() {
        DataType::Time32(TimeUnit::Second) => {
            i128::from(array.as_primitive::<Time32SecondType>().value(row)) * 1_000_000_000
        }
        DataType::Time32(_) => i128::from(array.as_primitive::<Time32MillisecondType>().value(row)) * 1_000_000,
        DataType::Time64(TimeUnit::Microsecond) => {
            i128::from(array.as_primitive::<Time64MicrosecondType>().value(row)) * 1_000
        }
        _ => array.as_primitive::<Time64NanosecondType>().value(row).into(),
    }
}

fn timestamp_nanos(array: &dyn Array, row: usize) -> i128 {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            i128::from(array.as_primitive::<TimestampSecondType>().value(row)) * 1_000_000_000
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            i128::from(array.as_primitive::<TimestampMillisecondType>().value(row)) * 1_000_000
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            i128::from(array.as_primitive::<TimestampMicrosecondType>().value(row)) * 1_000
        }
        _ => array.as_primitive::<TimestampNanosecondType>().value(row).into(),
    }
}

fn duration_nanos(array: &dyn Array, row: usize) -> i128 {
    match array.data_type() {
        DataType::Duration(TimeUnit::Second) => {
            i128::from(array.as_primitive::<DurationSecondType>().value(row)) * 1_000_000_000
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            i128::from(array.as_primitive::<DurationMillisecondType>().value(row)) * 1_000_000
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            i128::from(array.as_primitive::<DurationMicrosecondType>().value(row)) * 1_000
        }
        _ => array.as_primitive::<DurationNanosecondType>().value(row).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_string(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
