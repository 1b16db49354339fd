//! `date_trunc()` of dates and timestamps of all years.
//!
//! DataFusion's computes in nanoseconds, which end in the years 1677 and 2262, and makes timestamps of nanoseconds of dates. Here
//! a date is a timestamp of microseconds, and a moment that is far away is truncated as one that is not: the calendar repeats
//! itself every 400 years, weekdays included. Zones whose offset changes have no such cycle; of them, far moments are refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::{binary, try_binary};
use arrow::datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::common::types::{NativeType, logical_date, logical_string};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime::date_trunc::DateTruncFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    TypeSignature, TypeSignatureClass, Volatility,
};

/// 400 years of the Gregorian calendar.
const CYCLE_MICROS: i64 = 146_097 * 86_400_000_000;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    inner: DateTruncFunc,
    signature: Signature,
}

impl Default for DateTrunc {
    fn default() -> Self {
        let part = || Coercion::new_exact(TypeSignatureClass::Native(logical_string()));
        let moment = Coercion::new_implicit(
            TypeSignatureClass::Timestamp,
            vec![TypeSignatureClass::Native(logical_string()), TypeSignatureClass::Native(logical_date())],
            NativeType::Timestamp(TimeUnit::Microsecond, None),
        );
        let time = Coercion::new_exact(TypeSignatureClass::Time);
        let forms = vec![TypeSignature::Coercible(vec![part(), moment]), TypeSignature::Coercible(vec![part(), time])];
        Self { inner: DateTruncFunc::new(), signature: Signature::one_of(forms, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(far) = args.args.get(1).map(far).transpose()?.flatten() else {
            return self.inner.invoke_with_args(args);
        };
        let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
        let zone = far.timezone().map(Arc::from);
        let near: TimestampMicrosecondArray = far.unary(near);
        let near = near.with_timezone_opt(zone.clone());
        args.number_rows = near.len();
        args.args[1] = ColumnarValue::Array(Arc::new(near.clone()));
        let truncated = self.inner.invoke_with_args(args)?.into_array(near.len())?;
        let truncated = truncated.as_primitive::<TimestampMicrosecondType>();
        let cut: TimestampMicrosecondArray = binary(&near, truncated, i64::wrapping_sub)?;
        let truncated: TimestampMicrosecondArray = try_binary(&far, &cut, |moment: i64, cut| {
            let message = || ArrowError::ArithmeticOverflow(format!("date_trunc of the timestamp {moment}"));
            moment.checked_sub(cut).ok_or_else(message)
        })?;
        let truncated: ArrayRef = Arc::new(truncated.with_timezone_opt(zone));
        match is_scalar {
            true => ScalarValue::try_from_array(&truncated, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(truncated)),
        }
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(input)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The moments, if one of them is far away and they can be moved.
fn far(moments: &ColumnarValue) -> Result<Option<TimestampMicrosecondArray>> {
    let is_utc = |zone: &Option<Arc<str>>| zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00"));
    match moments.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, zone) if is_utc(&zone) => {
            let array = moments.to_array(1)?;
            let array = array.as_primitive::<TimestampMicrosecondType>();
            Ok(array.values().iter().any(|moment| near(*moment) != *moment).then(|| array.clone()))
        }
        _ => Ok(None),
    }
}

/// The same day and time of a year from 1770 to 2169.
fn near(moment: i64) -> i64 {
    let since = moment.rem_euclid(CYCLE_MICROS);
    if since < CYCLE_MICROS / 2 { since } else { since - CYCLE_MICROS }
}
