//! Values in the one form that compares as SQL's values do.
//!
//! In: values of any type. Out: the same values, in which
//! * every `NaN` has the same bits ([`Form::OneNan`]): a processor gives it a sign, and Arrow's order goes by that;
//! * `-0.0` is `0.0` ([`Form::OneZero`]), for where rows are told apart by their bits;
//! * an interval is whole months of 30 days, whole days of 24 hours and the rest ([`Form::Justified`]), as PostgreSQL compares them:
//!   field by field, these compare as the lengths do, and equal ones have equal fields;
//! * nothing lies below a NULL ([`Form::NullsBelow`]): the fields of a NULL struct are NULL, and a NULL list has no elements.
//!
//! Values that have nothing to mend are looked through and handed on as they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt64Array, make_array};
use arrow::compute::take;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type, IntervalDayTime,
    IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::utils::normalize_float_zero;
use datafusion::common::{Result, ScalarValue};

/// What is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    OneNan,
    OneZero,
    NullsBelow,
    Justified,
}

impl Form {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::OneNan, Self::OneZero, Self::NullsBelow, Self::Justified];

    /// Values in this form.
    ///
    /// # Errors
    /// None that a well-formed array could cause.
    pub(crate) fn of(self, array: &ArrayRef) -> Result<ArrayRef> {
        let changed = match self {
            Self::OneNan => of_values(array, DataType::is_floating, one_nan)?,
            Self::OneZero => of_values(array, DataType::is_floating, one_zero)?,
            Self::NullsBelow => nulls_below(array)?,
            Self::Justified => of_values(array, has_two_fields, justified)?,
        };
        Ok(changed.unwrap_or_else(|| Arc::clone(array)))
    }

    /// One value in this form.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(crate) fn of_scalar(self, value: ScalarValue) -> Result<ScalarValue> {
        let is_concerned = match self {
            Self::OneNan | Self::OneZero => holds_floats(&value.data_type()),
            Self::NullsBelow => value.data_type().is_nested(),
            Self::Justified => holds_intervals(&value.data_type()),
        };
        if !is_concerned {
            return Ok(value);
        }
        ScalarValue::try_from_array(&self.of(&value.to_array()?)?, 0)
    }
}

/// Whether there may be floating-point numbers in values of a type.
pub(crate) fn holds_floats(data_type: &DataType) -> bool {
    holds(data_type, DataType::is_floating)
}

/// Whether there may be intervals of more than one field in values of a type.
pub(crate) fn holds_intervals(data_type: &DataType) -> bool {
    holds(data_type, has_two_fields)
}

fn has_two_fields(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano))
}

fn holds(data_type: &DataType, kind: fn(&DataType) -> bool) -> bool {
    let in_field = |field: &FieldRef| holds(field.data_type(), kind);
    match data_type {
        DataType::Struct(fields) => fields.iter().any(in_field),
        DataType::Union(fields, _) => fields.iter().any(|(_, field)| in_field(field)),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => in_field(field),
        DataType::Dictionary(_, values) => holds(values, kind),
        other => kind(other),
    }
}

/// Whether values may come from a file with something below their NULLs: of a field that is NOT NULL, a decoder gives some value also
/// where the struct around it is NULL.
pub(crate) fn may_hide(is_nullable: bool, data_type: &DataType) -> bool {
    let hides = |field: &FieldRef| may_hide(field.is_nullable(), field.data_type());
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| (is_nullable && !field.is_nullable()) || hides(field)),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => hides(field),
        DataType::Map(entries, _) => hides(entries),
        _ => false,
    }
}

/// The same values with others in the place of those of a kind, at every depth; none if they stay.
fn of_values(
    array: &ArrayRef,
    kind: fn(&DataType) -> bool,
    change: fn(&ArrayRef) -> Option<ArrayRef>,
) -> Result<Option<ArrayRef>> {
    match array.data_type() {
        data_type if kind(data_type) => Ok(change(array)),
        data_type if holds(data_type, kind) => of_children(array, |child| of_values(child, kind, change)),
        _ => Ok(None),
    }
}

/// The same values made of other children; none if all of these stay.
fn of_children(
    array: &ArrayRef,
    mut change: impl FnMut(&ArrayRef) -> Result<Option<ArrayRef>>,
) -> Result<Option<ArrayRef>> {
    let data = array.to_data();
    let mut children = data.child_data().to_vec();
    let mut is_changed = false;
    for child in &mut children {
        if let Some(changed) = change(&make_array(child.clone()))? {
            *child = changed.into_data();
            is_changed = true;
        }
    }
    if !is_changed {
        return Ok(None);
    }
    Ok(Some(make_array(data.into_builder().child_data(children).build()?)))
}

/// The `NaN` that there is, as `f64::NAN` and `f32::NAN` are on all platforms that we know.
const NAN_64: f64 = f64::from_bits(0x7ff8_0000_0000_0000);
const NAN_32: f32 = f32::from_bits(0x7fc0_0000);

fn one_nan(array: &ArrayRef) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::Float16 => {
            let nan = <Float16Type as ArrowPrimitiveType>::Native::NAN;
            with_nan::<Float16Type>(array, nan, |value| value.is_nan(), |value| value.to_bits() == nan.to_bits())
        }
        DataType::Float32 => {
            with_nan::<Float32Type>(array, NAN_32, |value| value.is_nan(), |value| value.to_bits() == NAN_32.to_bits())
        }
        _ => {
            with_nan::<Float64Type>(array, NAN_64, |value| value.is_nan(), |value| value.to_bits() == NAN_64.to_bits())
        }
    }
}

/// Looks for any `NaN` first, without a branch for each value.
fn with_nan<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    nan: T::Native,
    is_nan: impl Fn(T::Native) -> bool,
    is_the_one: impl Fn(T::Native) -> bool,
) -> Option<ArrayRef> {
    let array: &PrimitiveArray<T> = array.as_primitive();
    let any = array.values().iter().fold(false, |any, value| any | is_nan(*value));
    let is_other = |value: T::Native| is_nan(value) && !is_the_one(value);
    if !any || !array.values().iter().any(|value| is_other(*value)) {
        return None;
    }
    Some(Arc::new(array.unary::<_, T>(|value| if is_other(value) { nan } else { value })))
}

fn one_zero(array: &ArrayRef) -> Option<ArrayRef> {
    let normal = normalize_float_zero(array);
    (!Arc::ptr_eq(&normal, array)).then_some(normal)
}

fn justified(array: &ArrayRef) -> Option<ArrayRef> {
    Some(match array.data_type() {
        DataType::Interval(IntervalUnit::DayTime) => {
            Arc::new(array.as_primitive::<IntervalDayTimeType>().unary::<_, IntervalDayTimeType>(justified_days))
        }
        _ => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            Arc::new(intervals.unary::<_, IntervalMonthDayNanoType>(justified_months))
        }
    })
}

const DAY_NANOSECONDS: i64 = 86_400_000_000_000;
const DAY_MILLISECONDS: i64 = 86_400_000;
const MONTH_DAYS: i64 = 30;

/// The interval with 0 to 29 days and less than a day beside them. What a field has no room for stays in the next one, which nothing
/// else is then compared by.
fn justified_months(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let (whole_days, nanoseconds) = (nanoseconds.div_euclid(DAY_NANOSECONDS), nanoseconds.rem_euclid(DAY_NANOSECONDS));
    let total_days = i64::from(months) * MONTH_DAYS + i64::from(days) + whole_days;
    let (months, days) = carried(total_days, MONTH_DAYS);
    let (days, more_days) = carried(days, 1);
    let nanoseconds = i128::from(nanoseconds) + i128::from(more_days) * i128::from(DAY_NANOSECONDS);
    // No more than there were before.
    IntervalMonthDayNano { months, days, nanoseconds: nanoseconds as i64 }
}

fn justified_days(interval: IntervalDayTime) -> IntervalDayTime {
    let total = i64::from(interval.days) * DAY_MILLISECONDS + i64::from(interval.milliseconds);
    let (days, milliseconds) = carried(total, DAY_MILLISECONDS);
    // No more than there were before.
    IntervalDayTime { days, milliseconds: carried(milliseconds, 1).0 }
}

/// How many units a length has, rounded down, as far as they have room, and what is left of it.
fn carried(length: i64, unit: i64) -> (i32, i64) {
    let units = i32::try_from(length.div_euclid(unit)).unwrap_or(if length < 0 { i32::MIN } else { i32::MAX });
    (units, length - i64::from(units) * unit)
}

/// The same values with nothing below their NULLs, at every depth; none if there is no NULL.
fn nulls_below(array: &ArrayRef) -> Result<Option<ArrayRef>> {
    if !array.data_type().is_nested() {
        return Ok(None);
    }
    let changed = of_children(array, nulls_below)?;
    let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(changed) };
    // What is taken from nowhere is NULL through and through.
    let rows: UInt64Array = (0..array.len()).map(|row| nulls.is_valid(row).then_some(row as u64)).collect();
    Ok(Some(take(changed.as_ref().unwrap_or(array), &rows, None)?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int64Array, ListArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{Field, Fields};

    use super::*;

    fn doubles(bits: &[u64]) -> ArrayRef {
        Arc::new(bits.iter().map(|bits| Some(f64::from_bits(*bits))).collect::<Float64Array>())
    }

    fn list(values: ArrayRef, offsets: Vec<i32>, nulls: Option<Vec<bool>>) -> ListArray {
        let element = Arc::new(Field::new("element", values.data_type().clone(), true));
        ListArray::new(element, OffsetBuffer::new(offsets.into()), values, nulls.map(NullBuffer::from))
    }

    #[test]
    fn all_nans_become_one_at_every_depth_and_nothing_else_is_touched() {
        let nan = f64::NAN.to_bits();
        let (negative, with_payload) = (nan | 1 << 63, nan | 5);
        let mixed = doubles(&[negative, with_payload, nan, (-0.0f64).to_bits(), 1.5f64.to_bits()]);
        let expected = doubles(&[nan, nan, nan, (-0.0f64).to_bits(), 1.5f64.to_bits()]);
        assert_eq!(&Form::OneNan.of(&mixed).unwrap().to_data(), &expected.to_data());
        for clean in [doubles(&[nan, 0]), doubles(&[0, 1]), doubles(&[])] {
            assert!(Arc::ptr_eq(&Form::OneNan.of(&clean).unwrap(), &clean));
        }
        let lists: ArrayRef = Arc::new(list(Arc::clone(&mixed), vec![0, 2, 5], None));
        let row: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("l", lists.data_type().clone(), true)),
            lists.slice(1, 1),
        )]));
        let mended = Form::OneNan.of(&row).unwrap();
        let inner = mended.as_struct().column(0).as_list::<i32>().value(0);
        assert_eq!(inner.to_data(), expected.slice(2, 3).to_data());
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![-f32::NAN, 1.0]));
        let mended = Form::OneNan.of(&floats).unwrap();
        assert_eq!(mended.as_primitive::<Float32Type>().value(0).to_bits(), f32::NAN.to_bits());
    }

    #[test]
    fn zeros_become_one_at_every_depth() {
        let lists: ArrayRef = Arc::new(list(Arc::new(Float64Array::from(vec![-0.0, 1.0])), vec![0, 2], None));
        let mended = Form::OneZero.of(&lists).unwrap();
        assert_eq!(mended.as_list::<i32>().values().as_primitive::<Float64Type>().value(0).to_bits(), 0);
        let value = Form::OneZero.of_scalar(ScalarValue::Float64(Some(-0.0))).unwrap();
        assert_eq!(value, ScalarValue::Float64(Some(0.0)));
    }

    #[test]
    fn justified_intervals_compare_as_their_lengths() {
        let edges_32 = [i32::MIN, i32::MIN + 1, -31, -30, -1, 0, 1, 29, 30, 31, i32::MAX - 1, i32::MAX];
        let edges_64 = [i64::MIN, -DAY_NANOSECONDS, -1, 0, 1, DAY_NANOSECONDS - 1, DAY_NANOSECONDS, i64::MAX];
        let mut all = Vec::new();
        for months in edges_32 {
            for days in edges_32 {
                for nanoseconds in edges_64 {
                    let whole_days = i128::from(months) * i128::from(MONTH_DAYS) + i128::from(days);
                    let length = whole_days * i128::from(DAY_NANOSECONDS) + i128::from(nanoseconds);
                    let justified = justified_months(IntervalMonthDayNano { months, days, nanoseconds });
                    let whole_days = i128::from(justified.months) * i128::from(MONTH_DAYS) + i128::from(justified.days);
                    let same = whole_days * i128::from(DAY_NANOSECONDS) + i128::from(justified.nanoseconds);
                    assert_eq!(same, length);
                    all.push((length, justified));
                }
            }
        }
        all.sort();
        for pair in all.windows(2) {
            assert_eq!(pair[0].0.cmp(&pair[1].0), pair[0].1.cmp(&pair[1].1), "{pair:?}");
        }
        for (days, milliseconds, expected) in [(1, -1, (0, 86_399_999)), (i32::MAX, i32::MAX, (i32::MAX, i32::MAX))] {
            let justified = justified_days(IntervalDayTime { days, milliseconds });
            assert_eq!((justified.days, justified.milliseconds), expected);
        }
    }

    #[test]
    fn nothing_lies_below_nulls() {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let lists = list(Arc::new(Int64Array::from(vec![4, 5, 6])), vec![0, 1, 2, 3], Some(vec![true, false, true]));
        let fields = Fields::from(vec![
            Field::new("a", DataType::Int64, false),
            Field::new("l", lists.data_type().clone(), true),
        ]);
        let nulls = NullBuffer::from(vec![true, true, false]);
        let rows: ArrayRef = Arc::new(StructArray::new(fields, vec![inner, Arc::new(lists)], Some(nulls)));
        let mended = Form::NullsBelow.of(&rows).unwrap();
        let mended = mended.as_struct();
        assert_eq!(mended.column(0).as_ref(), &Int64Array::from(vec![Some(1), Some(2), None]) as &dyn Array);
        let lists = mended.column(1).as_list::<i32>();
        assert_eq!((0..3).map(|row| lists.value_length(row)).collect::<Vec<_>>(), [1, 0, 0]);
        assert!(lists.is_null(1) && lists.is_null(2));
    }
}
