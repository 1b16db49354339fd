//! `date_trunc()` of dates and timestamps of all years.
//!
//! DataFusion's computes in nanoseconds, which end in the years 1677 and 2262, and makes timestamps of nanoseconds of dates. Here
//! a date is a timestamp of microseconds, and a moment that is far away is truncated as one that is not: the calendar repeats
//! itself every 400 years, weekdays included.
//!
//! `date_trunc(part, moment, zone)`, as in PostgreSQL, is the begin of the part by the clocks of a zone. For hours and less, the moment keeps
//! the offset that it has, so that it does not go back where clocks show an hour twice.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::kernels::numeric::{sub, sub_wrapping};
use arrow::compute::{binary, cast, try_binary};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::common::types::{NativeType, logical_date, logical_string};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions::datetime::date_trunc::DateTruncFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    TypeSignature, TypeSignatureClass, Volatility,
};

use super::zones::{Zone, at_zone};

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
        let of_zone = |zone| TypeSignature::Coercible(vec![part(), moment.clone(), Coercion::new_exact(zone)]);
        let forms = vec![
            TypeSignature::Coercible(vec![part(), moment.clone()]),
            TypeSignature::Coercible(vec![part(), time]),
            of_zone(TypeSignatureClass::Native(logical_string())),
            of_zone(TypeSignatureClass::Interval),
        ];
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
        self.inner.return_type(&arg_types[..arg_types.len().min(2)])
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if let Some(Some(zone)) = args.scalar_arguments.get(2) {
            Zone::of_value(zone)?;
        }
        let (arg_fields, scalar_arguments) = (&args.arg_fields[..2], &args.scalar_arguments[..2]);
        self.inner.return_field_from_args(ReturnFieldArgs { arg_fields, scalar_arguments })
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.args.len() == 3 {
            return self.in_zone(args);
        }
        let Some(far) = args.args.get(1).map(far).transpose()?.flatten() else {
            return self.of_near(args);
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
        match input {
            [part, moment] => self.inner.output_ordering(&[part.clone(), moment.clone()]),
            // Clocks go back.
            _ => Ok(SortProperties::Unordered),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

impl DateTrunc {
    /// Constants are computed as columns are: DataFusion's way for them rounds milliseconds before 1970 up.
    fn of_near(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
        if is_scalar {
            args.args[1] = ColumnarValue::Array(args.args[1].to_array(1)?);
            args.number_rows = 1;
        }
        match self.inner.invoke_with_args(args)? {
            ColumnarValue::Array(truncated) if is_scalar => {
                ScalarValue::try_from_array(&truncated, 0).map(ColumnarValue::Scalar)
            }
            truncated => Ok(truncated),
        }
    }

    fn in_zone(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(ColumnarValue::Scalar(zone)) = args.args.pop() else {
            return exec_err!("date_trunc takes a constant time zone");
        };
        let zone = Zone::of_value(&zone)?;
        let is_scalar = matches!(args.args[1], ColumnarValue::Scalar(_));
        let moments = args.args[1].to_array(1)?;
        let DataType::Timestamp(unit, Some(_)) = moments.data_type().clone() else {
            return exec_err!("date_trunc in a time zone takes a timestamp with a time zone");
        };
        let keeps_offset = match &args.args[0] {
            ColumnarValue::Scalar(part) => part.try_as_str().flatten().is_some_and(is_part_of_day),
            ColumnarValue::Array(_) => return exec_err!("date_trunc takes a constant part"),
        };
        let locals = at_zone(&moments, zone)?;
        args.args[1] = ColumnarValue::Array(Arc::clone(&locals));
        args.arg_fields.truncate(2);
        args.arg_fields[1] = Arc::new(Field::new("moment", locals.data_type().clone(), true));
        args.return_field = Arc::new(Field::new(self.name(), locals.data_type().clone(), true));
        args.number_rows = locals.len();
        let truncated = self.invoke_with_args(args)?.into_array(locals.len())?;
        let begins = match keeps_offset {
            false => at_zone(&truncated, zone)?,
            true => {
                let number = |array: &ArrayRef| cast(array, &DataType::Int64);
                let cut = sub_wrapping(&number(&locals)?, &number(&truncated)?)?;
                cast(&sub(&number(&moments)?, &cut)?, &DataType::Timestamp(unit, Some("UTC".into())))?
            }
        };
        match is_scalar {
            true => ScalarValue::try_from_array(&begins, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(begins)),
        }
    }
}

/// Whether a part is an hour or less.
fn is_part_of_day(part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    ["hour", "minute", "second", "millisecond", "microsecond"].contains(&part.trim_end_matches('s'))
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
