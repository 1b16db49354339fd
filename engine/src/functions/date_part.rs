//! `date_part()` and `extract()` with the fractions of seconds, and with the fields of intervals that PostgreSQL has.
//!
//! In: a part's name and dates, times, timestamps, intervals or durations. Out: integers; seconds and milliseconds are decimals with all
//! digits that the type has room for, and `epoch` is a double. Of an interval, months are parts of years, and hours are not parts
//! of days; a duration is an interval of days and time ([`days_and_time`]). A year of an interval has 365.25 days for `epoch`, and a
//! month 30. All other parts are DataFusion's, which cuts fractions. DataFusion 55.2.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array};
use arrow::compute::kernels::cast_utils::IntervalUnit as Unit;
use arrow::compute::{DatePart as ArrowPart, cast, date_part};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit,
};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime::date_part::DatePartFunc;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};

use super::days_and_time::days_and_time;

const SECOND_NANOSECONDS: i64 = 1_000_000_000;
const MINUTE_NANOSECONDS: i64 = 60 * SECOND_NANOSECONDS;
const HOUR_NANOSECONDS: i64 = 60 * MINUTE_NANOSECONDS;
const DAY_SECONDS: i64 = 86_400;
/// 365.25 days.
const YEAR_SECONDS: i64 = 31_557_600;

/// The function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct DatePart {
    inner: DatePartFunc,
}

impl Default for DatePart {
    fn default() -> Self {
        Self { inner: DatePartFunc::new() }
    }
}

/// The parts that are computed here.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Seconds with a fraction, in units of which a second has a power of ten: 10⁰ or 10³.
    Seconds {
        unit_digits: u8,
    },
    /// A field of an interval.
    Field(Unit),
    Quarter,
    Epoch,
}

impl Part {
    /// None if it is DataFusion's to compute.
    fn of(name: &str, data_type: &DataType) -> Option<Self> {
        let name = name.trim_matches(|quote| quote == '\'' || quote == '"').to_ascii_lowercase();
        let is_interval = is_interval(data_type);
        match (Unit::from_str(&name), name.as_str()) {
            (Ok(Unit::Second), _) => Some(Self::Seconds { unit_digits: 0 }),
            (Ok(Unit::Millisecond), _) => Some(Self::Seconds { unit_digits: 3 }),
            (Ok(unit), _) if is_interval => Some(Self::Field(unit)),
            (_, "quarter" | "qtr") if is_interval => Some(Self::Quarter),
            (_, "epoch") if is_interval => Some(Self::Epoch),
            _ => None,
        }
    }

    fn of_value(part: Option<&ScalarValue>, data_type: &DataType) -> Option<Self> {
        part.and_then(|part| part.try_as_str().flatten()).and_then(|name| Self::of(name, data_type))
    }

    fn data_type(self, of: &DataType) -> DataType {
        match self {
            Self::Seconds { unit_digits } => {
                let digits = fraction_digits(of);
                DataType::Decimal128(digits + 2, (digits - unit_digits) as i8)
            }
            Self::Field(Unit::Nanosecond) => DataType::Int64,
            Self::Field(_) | Self::Quarter => DataType::Int32,
            Self::Epoch => DataType::Float64,
        }
    }
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_) | DataType::Duration(_))
}

/// How many digits seconds of a type have after the point: as many as PostgreSQL's have, or more where there are nanoseconds.
fn fraction_digits(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, _)
        | DataType::Time64(TimeUnit::Nanosecond)
        | DataType::Duration(TimeUnit::Nanosecond)
        | DataType::Interval(IntervalUnit::MonthDayNano) => 9,
        _ => 6,
    }
}

/// The seconds of a minute, with digits, as one number.
fn seconds(values: &ArrayRef, digits: u8) -> Result<ArrayRef> {
    let unit = match values.data_type() {
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => *unit,
        // A date.
        _ => TimeUnit::Second,
    };
    let per_second: i64 = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => SECOND_NANOSECONDS,
    };
    let whole = date_part(values, ArrowPart::Second)?;
    let moments = match unit {
        TimeUnit::Second => None,
        _ => Some(cast(values, &DataType::Int64)?),
    };
    let scale = 10_i128.pow(u32::from(digits));
    let parts = moments.as_ref().map(|moments| moments.as_primitive::<Int64Type>().values());
    let seconds = whole.as_primitive::<Int32Type>().iter().enumerate().map(|(row, whole)| {
        let part = parts.map_or(0, |parts| parts[row].rem_euclid(per_second));
        whole.map(|whole| i128::from(whole) * scale + i128::from(part) * (scale / i128::from(per_second)))
    });
    Ok(Arc::new(seconds.collect::<Decimal128Array>()))
}

fn of_interval(part: Part, values: &ArrayRef, digits: u8) -> Result<ArrayRef> {
    let intervals = match values.data_type() {
        DataType::Duration(_) => days_and_time(values)?,
        _ => cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?,
    };
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let field: fn(IntervalMonthDayNano) -> i64 = match part {
        Part::Seconds { .. } => {
            let unit = 10_i64.pow(9 - u32::from(digits));
            let seconds = |interval: IntervalMonthDayNano| i128::from(interval.nanoseconds % MINUTE_NANOSECONDS / unit);
            return Ok(Arc::new(intervals.iter().map(|interval| interval.map(seconds)).collect::<Decimal128Array>()));
        }
        Part::Epoch => {
            let epochs: Float64Array = intervals.unary(epoch);
            return Ok(Arc::new(epochs));
        }
        Part::Quarter => |interval| i64::from(interval.months % 12 / 3 + 1),
        Part::Field(Unit::Century) => |interval| i64::from(interval.months / 1_200),
        Part::Field(Unit::Decade) => |interval| i64::from(interval.months / 120),
        Part::Field(Unit::Year) => |interval| i64::from(interval.months / 12),
        Part::Field(Unit::Month) => |interval| i64::from(interval.months % 12),
        Part::Field(Unit::Week) => |interval| i64::from(interval.days / 7),
        Part::Field(Unit::Day) => |interval| i64::from(interval.days),
        Part::Field(Unit::Hour) => |interval| interval.nanoseconds / HOUR_NANOSECONDS,
        Part::Field(Unit::Minute) => |interval| interval.nanoseconds % HOUR_NANOSECONDS / MINUTE_NANOSECONDS,
        Part::Field(Unit::Microsecond) => |interval| interval.nanoseconds % MINUTE_NANOSECONDS / 1_000,
        Part::Field(_) => |interval| interval.nanoseconds % MINUTE_NANOSECONDS,
    };
    let fields: Int64Array = intervals.unary(field);
    Ok(match part {
        Part::Field(Unit::Nanosecond) => Arc::new(fields),
        // They all have room.
        _ => Arc::new(fields.unary::<_, Int32Type>(|field| field as i32)) as Arc<Int32Array>,
    })
}

fn epoch(interval: IntervalMonthDayNano) -> f64 {
    let (years, months) = (i64::from(interval.months / 12), i64::from(interval.months % 12));
    let days = months * 30 + i64::from(interval.days);
    let whole = years * YEAR_SECONDS + days * DAY_SECONDS + interval.nanoseconds / SECOND_NANOSECONDS;
    whole as f64 + (interval.nanoseconds % SECOND_NANOSECONDS) as f64 / 1e9
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if let (Some(part), Some(value)) = (args.scalar_arguments.first(), args.arg_fields.get(1)) {
            let data_type = value.data_type();
            if let Some(part) = Part::of_value(*part, data_type) {
                return Ok(Arc::new(Field::new(self.name(), part.data_type(data_type), value.is_nullable())));
            }
        }
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(name), value] = args.args.as_slice() else {
            return self.inner.invoke_with_args(args);
        };
        let data_type = value.data_type();
        let Some(part) = Part::of_value(Some(name), &data_type) else {
            return self.inner.invoke_with_args(args);
        };
        let values = value.to_array(1)?;
        let digits = fraction_digits(&data_type);
        let parts = match is_interval(&data_type) {
            true => of_interval(part, &values, digits)?,
            false => seconds(&values, digits)?,
        };
        let parts = match part.data_type(&data_type) {
            DataType::Decimal128(precision, scale) => {
                let decimals = parts.as_primitive::<arrow::datatypes::Decimal128Type>().clone();
                Arc::new(decimals.with_precision_and_scale(precision, scale)?) as ArrayRef
            }
            _ => parts,
        };
        Ok(match value {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&parts, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(parts),
        })
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, literal, info)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
