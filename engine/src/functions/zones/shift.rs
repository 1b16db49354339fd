//! `timestamptz_add(moment, interval, zone)`: the moment when an interval is over on the clocks of a zone.
//!
//! As in PostgreSQL: first the months, then the days, each on the local calendar at the same local time, then the hours, as they pass. So
//! a day may have 23 or 25 hours.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime, Days, Months, NaiveDateTime};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::Zone;
use super::local_time::zone_type;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shift {
    signature: Signature,
}

impl Default for Shift {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn moment_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl ScalarUDFImpl for Shift {
    fn name(&self) -> &str {
        "timestamptz_add"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match arg_types {
            [_, _, zone] => Ok(vec![moment_type(), DataType::Interval(IntervalUnit::MonthDayNano), zone_type(zone)?]),
            _ => plan_err!("timestamptz_add takes a moment, an interval and a time zone"),
        }
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(moment_type())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), moment_type(), nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [moment, interval, ColumnarValue::Scalar(zone)] = args.args.as_slice() else {
            return exec_err!("timestamptz_add takes a moment, an interval and a constant time zone");
        };
        let is_scalar = matches!((moment, interval), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let (moments, intervals) = (moment.to_array(rows)?, interval.to_array(rows)?);
        let shifted: ArrayRef = match Zone::of_value(zone)? {
            None => Arc::new(TimestampMicrosecondArray::new_null(rows).with_timezone("UTC")),
            Some(zone) => {
                let moments = moments.as_primitive::<TimestampMicrosecondType>();
                let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
                let sum = |moment: i64, interval: IntervalMonthDayNano| {
                    after(moment, interval, zone)
                        .ok_or_else(|| exec_datafusion_err!("a timestamp plus an interval is out of range"))
                };
                let pairs = moments.iter().zip(intervals.iter());
                let sums = pairs.map(|(moment, interval)| moment.zip(interval).map(|(m, i)| sum(m, i)).transpose());
                Arc::new(sums.collect::<Result<TimestampMicrosecondArray>>()?.with_timezone("UTC"))
            }
        };
        match is_scalar {
            true => ScalarValue::try_from_array(&shifted, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(shifted)),
        }
    }
}

/// All in microseconds of UTC. None if it is beyond the calendar.
fn after(moment: i64, interval: IntervalMonthDayNano, zone: Zone) -> Option<i64> {
    let on_the_calendar = |moment: i64, add: &dyn Fn(NaiveDateTime) -> Option<NaiveDateTime>| {
        let offset = zone.offset_at(moment.div_euclid(1_000_000))?;
        let local = DateTime::from_timestamp_micros(moment.checked_add(offset * 1_000_000)?)?.naive_utc();
        let local = add(local)?.and_utc();
        let offset = zone.offset_of_local(local.timestamp())?;
        local.timestamp_micros().checked_sub(offset * 1_000_000)
    };
    let mut moment = moment;
    if interval.months != 0 {
        let months = Months::new(interval.months.unsigned_abs());
        moment = on_the_calendar(moment, &|local| match interval.months > 0 {
            true => local.checked_add_months(months),
            false => local.checked_sub_months(months),
        })?;
    }
    if interval.days != 0 {
        let days = Days::new(interval.days.unsigned_abs().into());
        moment = on_the_calendar(moment, &|local| match interval.days > 0 {
            true => local.checked_add_days(days),
            false => local.checked_sub_days(days),
        })?;
    }
    moment.checked_add(interval.nanoseconds / 1_000)
}
