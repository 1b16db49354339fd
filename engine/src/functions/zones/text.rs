//! Moments from texts, and timestamps and times as texts.
//!
//! A text that names no zone is a local time of the zone that is given. A timestamp is written as PostgreSQL writes it:
//! `2026-03-29 01:30:00.25`; one with a time zone has the offset that clocks had there: `2026-03-29 03:30:00.25+02`.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::datatypes::{
    ArrowPrimitiveType, ArrowTimestampType, DataType, Field, FieldRef, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono::{DateTime, NaiveDateTime, NaiveTime, Timelike};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::Zone;
use super::local_time::zone_type;

/// `timestamptz_of_text(text, zone, strict)`: if it is not strict, what is no timestamp is NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct MomentOfText {
    signature: Signature,
}

impl Default for MomentOfText {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for MomentOfText {
    fn name(&self) -> &str {
        "timestamptz_of_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [_, zone, _] => Ok(vec![DataType::Utf8View, zone_type(zone)?, DataType::Boolean]),
            _ => plan_err!("timestamptz_of_text takes a text, a time zone, and whether it must be a timestamp"),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts, ColumnarValue::Scalar(zone), ColumnarValue::Scalar(ScalarValue::Boolean(strict))] =
            args.args.as_slice()
        else {
            return exec_err!("timestamptz_of_text takes a text and constants");
        };
        let zone = Zone::of_value(zone)?.unwrap_or(Zone::UTC);
        let array = texts.to_array(1)?;
        let moments = moments_of_texts::<TimestampMicrosecondType>(&array, zone, *strict != Some(false))?;
        answer(moments, texts)
    }
}

/// The moments that texts name.
pub(super) fn moments_of_texts<T: ArrowTimestampType>(texts: &ArrayRef, zone: Zone, strict: bool) -> Result<ArrayRef> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let moment = |text: &str| {
        let moment = moment_of_text(text, zone).and_then(|moment| {
            let far = || exec_datafusion_err!("the timestamp '{text}' is out of range");
            T::from_naive_datetime(moment, None).ok_or_else(far)
        });
        match moment {
            Ok(moment) => Ok(Some(moment)),
            Err(error) if strict => Err(error),
            Err(_) => Ok(None),
        }
    };
    let moments = texts.as_string_view().iter().map(|text| text.map_or(Ok(None), moment));
    let moments: PrimitiveArray<T> = moments.collect::<Result<_>>()?;
    Ok(Arc::new(moments.with_timezone("UTC")))
}

/// In UTC. The text may end in an offset or in a zone's name.
fn moment_of_text(text: &str, zone: Zone) -> Result<NaiveDateTime> {
    let text = text.trim();
    // Behind the date and what may divide it from the time.
    let named = text.char_indices().skip(11).find(|(_, letter)| letter.is_ascii_alphabetic());
    let (time, zone) = match named {
        Some((begin, _)) => (text[..begin].trim_end(), Zone::named(&text[begin..])?),
        None => (text, zone),
    };
    Ok(string_to_datetime(&zone, time)?.naive_utc())
}

/// `text_of_moment(value, zone)`: a timestamp or a time as text. The zone is for timestamps that have one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct TextOfMoment {
    signature: Signature,
}

impl Default for TextOfMoment {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TextOfMoment {
    fn name(&self) -> &str {
        "text_of_moment"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [moment @ (DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_)), zone] => {
                Ok(vec![moment.clone(), zone_type(zone)?])
            }
            _ => plan_err!("text_of_moment takes a timestamp or a time, and a time zone"),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let nullable = args.arg_fields.first().is_none_or(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), DataType::Utf8View, nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [moments, ColumnarValue::Scalar(zone)] = args.args.as_slice() else {
            return exec_err!("text_of_moment takes a timestamp and a constant time zone");
        };
        let zone = Zone::of_value(zone)?.unwrap_or(Zone::UTC);
        answer(texts_of_moments(&moments.to_array(1)?, zone)?, moments)
    }
}

/// Timestamps and times as texts.
pub(super) fn texts_of_moments(moments: &ArrayRef, zone: Zone) -> Result<ArrayRef> {
    match moments.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => texts::<TimestampSecondType>(moments, zone, 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => texts::<TimestampMillisecondType>(moments, zone, 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => texts::<TimestampMicrosecondType>(moments, zone, 1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => texts::<TimestampNanosecondType>(moments, zone, 1_000_000_000),
        DataType::Time32(_) | DataType::Time64(_) => {
            let times = cast(moments, &DataType::Time64(TimeUnit::Nanosecond))?;
            written(times.as_primitive::<Time64NanosecondType>(), |nanoseconds, text| {
                let (seconds, fraction) =
                    (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
                let time = NaiveTime::from_num_seconds_from_midnight_opt(
                    u32::try_from(seconds).unwrap_or(u32::MAX),
                    u32::try_from(fraction).unwrap_or(u32::MAX),
                );
                write_time(text, time?);
                Some(())
            })
        }
        other => exec_err!("text_of_moment of {other}"),
    }
}

fn texts<T: ArrowTimestampType>(moments: &ArrayRef, zone: Zone, per_second: i64) -> Result<ArrayRef> {
    let moments = moments.as_primitive::<T>();
    let has_zone = moments.timezone().is_some();
    written(moments, |value, text| {
        let seconds = value.div_euclid(per_second);
        let offset = if has_zone { zone.offset_at(seconds)? } else { 0 };
        let fraction = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        let local = DateTime::from_timestamp(seconds.checked_add(offset)?, u32::try_from(fraction).ok()?)?.naive_utc();
        // Writing to a text does not fail.
        let _ = write!(text, "{} ", local.date());
        write_time(text, local.time());
        if has_zone {
            write_offset(text, offset);
        }
        Some(())
    })
}

fn written<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    write: impl Fn(T::Native, &mut String) -> Option<()>,
) -> Result<ArrayRef> {
    let mut texts = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for value in values {
        match value {
            None => texts.append_null(),
            Some(value) => {
                text.clear();
                if write(value, &mut text).is_none() {
                    return exec_err!("a timestamp or time is out of range: {value:?}");
                }
                texts.append_value(&text);
            }
        }
    }
    Ok(Arc::new(texts.finish()))
}

fn write_time(text: &mut String, time: NaiveTime) {
    let _ = write!(text, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    if time.nanosecond() > 0 {
        let digits = format!("{:09}", time.nanosecond());
        let _ = write!(text, ".{}", digits.trim_end_matches('0'));
    }
}

/// `+02`, `-03:30`, and `+00:53:28` for times before there were zones.
fn write_offset(text: &mut String, offset: i64) {
    let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let (hours, minutes, seconds) = (offset / 3_600, offset / 60 % 60, offset % 60);
    let _ = write!(text, "{sign}{hours:02}");
    if minutes > 0 || seconds > 0 {
        let _ = write!(text, ":{minutes:02}");
    }
    if seconds > 0 {
        let _ = write!(text, ":{seconds:02}");
    }
}

/// A constant for a constant.
fn answer(array: ArrayRef, asked: &ColumnarValue) -> Result<ColumnarValue> {
    match asked {
        ColumnarValue::Scalar(_) => ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar),
        ColumnarValue::Array(_) => Ok(ColumnarValue::Array(array)),
    }
}
