//! `to_char(value, pattern)` and `date_format(value, pattern)`: dates, times and timestamps as texts, by patterns.
//!
//! In: for `to_char` a pattern of PostgreSQL (`YYYY-MM-DD HH24:MI`), for `date_format` one of Spark (`yyyy-MM-dd HH:mm`), for both one of
//! strftime where there is a `%` in it. Out: the text. What a pattern asks for and cannot be had is an error that names it: DataFusion knows
//! only strftime, and gives every other pattern back as it is.

mod fields;
mod postgres;
mod spark;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use datafusion::common::{Result, ScalarValue, exec_err, not_impl_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use self::fields::{Moment, Piece};
use super::zones::{Zone, zone_type};

/// Whose patterns a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Patterns {
    Postgres,
    Spark,
}

/// One of the functions. Its third argument, the time zone of timestamps that have one, is written by `planner::session_zone`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Format {
    patterns: Patterns,
    signature: Signature,
}

impl Format {
    pub(super) fn all() -> [Self; 2] {
        [Patterns::Postgres, Patterns::Spark]
            .map(|patterns| Self { patterns, signature: Signature::user_defined(Volatility::Immutable) })
    }

    fn parse(&self, pattern: &str) -> Result<Vec<Piece>> {
        match self.patterns {
            _ if pattern.contains('%') => fields::strftime(pattern),
            Patterns::Postgres => postgres::pieces(pattern),
            Patterns::Spark => spark::pieces(pattern),
        }
    }
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &str {
        match self.patterns {
            Patterns::Postgres => "to_char",
            Patterns::Spark => "date_format",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let (value, zone) = match arg_types {
            [value, _] => (value, None),
            [value, _, zone] => (value, Some(zone)),
            other => {
                return plan_err!("{name} takes a date, time or timestamp and a pattern, not {} values", other.len());
            }
        };
        let value = match value {
            DataType::Timestamp(TimeUnit::Nanosecond, _)
            | DataType::Timestamp(TimeUnit::Microsecond, _)
            | DataType::Time64(TimeUnit::Nanosecond) => value.clone(),
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
            DataType::Date32
            | DataType::Date64
            | DataType::Null
            | DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return not_impl_err!("{name} of {other}: it takes dates, times and timestamps"),
        };
        let zone = zone.map(zone_type).transpose()?;
        Ok([value, DataType::Utf8].into_iter().chain(zone).collect())
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (value, pattern, zone) = match args.args.as_slice() {
            [value, pattern] => (value, pattern, Some(Zone::UTC)),
            [value, pattern, ColumnarValue::Scalar(zone)] => (value, pattern, Zone::of_value(zone)?),
            other => return exec_err!("{} of {} values, or of a zone that is no constant", self.name(), other.len()),
        };
        let is_scalar = matches!((value, pattern), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let (values, patterns) = (value.to_array(rows)?, cast(&pattern.to_array(rows)?, &DataType::Utf8)?);
        let patterns = patterns.as_string::<i32>();
        let mut texts = StringViewBuilder::with_capacity(rows);
        let mut last: Option<(&str, Vec<Piece>)> = None;
        for row in 0..rows {
            let Some(zone) = zone.filter(|_| patterns.is_valid(row) && values.is_valid(row)) else {
                texts.append_null();
                continue;
            };
            let pattern = patterns.value(row);
            if last.as_ref().is_none_or(|(known, _)| *known != pattern) {
                last = Some((pattern, self.parse(pattern)?));
            }
            let pieces = last.as_ref().map_or(&[][..], |(_, pieces)| pieces);
            texts.append_value(fields::written(pieces, &moment(&values, row, zone)?)?);
        }
        let texts: ArrayRef = Arc::new(texts.finish());
        match is_scalar {
            true => ScalarValue::try_from_array(&texts, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(texts)),
        }
    }
}

/// What clocks and calendars show for a value that is not NULL.
fn moment(values: &ArrayRef, row: usize, zone: Zone) -> Result<Moment> {
    let (value, per_second, has_zone) = match values.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, own) => {
            (values.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000, own.is_some())
        }
        DataType::Timestamp(_, own) => {
            (values.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000, own.is_some())
        }
        DataType::Time64(_) => {
            let nanoseconds = values.as_primitive::<Time64NanosecondType>().value(row);
            return Moment::new(nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000), 0, false);
        }
        other => return exec_err!("a value of {other} where a timestamp was expected"),
    };
    let seconds = value.div_euclid(per_second);
    let nanoseconds = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let offset = if has_zone { zone.offset_at(seconds) } else { Some(0) };
    match offset {
        Some(offset) => Moment::new(seconds.saturating_add(offset), nanoseconds, offset, true),
        None => exec_err!("a timestamp is out of range: {value}"),
    }
}
