//! A duration as an interval: whole days, and what is left of the last one, as PostgreSQL's differences of timestamps are.
//!
//! DataFusion's cast makes nanoseconds of all of it, which end after 292 years. DataFusion 55.2.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `days_and_time(duration)`. What has more days than an interval can have is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DaysAndTime {
    signature: Signature,
}

impl Default for DaysAndTime {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl DaysAndTime {
    /// The call for a duration.
    pub(crate) fn call(duration: Expr) -> Expr {
        let function = Arc::new(ScalarUDF::new_from_impl(Self::default()));
        Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![duration]))
    }
}

/// Durations as intervals.
///
/// # Errors
/// If one has more than 2,147,483,647 days.
pub(super) fn days_and_time(durations: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Duration(unit) = durations.data_type() else {
        return exec_err!("{} is no duration", durations.data_type());
    };
    let (day, nanoseconds) = match unit {
        TimeUnit::Second => (86_400, 1_000_000_000),
        TimeUnit::Millisecond => (86_400_000, 1_000_000),
        TimeUnit::Microsecond => (86_400_000_000, 1_000),
        TimeUnit::Nanosecond => (86_400_000_000_000, 1),
    };
    let of = |length: i64| {
        let days = i32::try_from(length / day).map_err(|_| exec_datafusion_err!("interval out of range"))?;
        Ok(IntervalMonthDayNano { months: 0, days, nanoseconds: length % day * nanoseconds })
    };
    let lengths = cast(durations, &DataType::Int64)?;
    let intervals: Result<IntervalMonthDayNanoArray> =
        lengths.as_primitive::<Int64Type>().iter().map(|length| length.map(of).transpose()).collect();
    Ok(Arc::new(intervals?))
}

impl ScalarUDFImpl for DaysAndTime {
    fn name(&self) -> &str {
        "days_and_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [duration] = take_function_args(self.name(), args.args)?;
        Ok(match duration {
            ColumnarValue::Array(durations) => ColumnarValue::Array(days_and_time(&durations)?),
            ColumnarValue::Scalar(duration) => {
                let interval = days_and_time(&duration.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&interval, 0)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{DurationMicrosecondArray, DurationSecondArray};
    use arrow::datatypes::IntervalMonthDayNanoType;

    use super::*;

    #[test]
    fn durations_are_days_and_a_rest_of_the_same_sign() {
        let durations: ArrayRef = Arc::new(DurationMicrosecondArray::from(vec![
            Some(86_400_000_000 * 2 + 5),
            Some(-86_400_000_000 - 1),
            None,
            Some(i64::MAX),
        ]));
        let intervals = days_and_time(&durations).unwrap();
        let intervals: Vec<_> = intervals.as_primitive::<IntervalMonthDayNanoType>().iter().collect();
        let interval = |days, nanoseconds| Some(IntervalMonthDayNano { months: 0, days, nanoseconds });
        assert_eq!(
            intervals,
            [interval(2, 5_000), interval(-1, -1_000), None, interval(106_751_991, 14_454_775_807_000)]
        );
        let far: ArrayRef = Arc::new(DurationSecondArray::from(vec![i64::MAX]));
        assert!(days_and_time(&far).unwrap_err().to_string().contains("interval out of range"));
    }
}
