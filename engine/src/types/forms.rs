//! Values in the one form that compares as SQL's values do.
//!
//! In: values of any type. Out: the same values, in which
//! * every `NaN` has the same bits ([`Form::OneNan`]): a processor gives it a sign, and Arrow's order goes by that;
//! * `-0.0` is `0.0` ([`Form::OneZero`]), for where rows are told apart by their bits;
//! * nothing lies below a NULL ([`Form::NullsBelow`]): the fields of a NULL struct are NULL, and a NULL list has no elements.
//!
//! Values that have nothing to mend are looked through and handed on as they are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, UInt64Array, make_array};
use arrow::compute::take;
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use datafusion::common::utils::normalize_float_zero;
use datafusion::common::{Result, ScalarValue};

/// What is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    OneNan,
    OneZero,
    NullsBelow,
}

impl Form {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::OneNan, Self::OneZero, Self::NullsBelow];

    /// Values in this form.
    ///
    /// # Errors
    /// None that a well-formed array could cause.
    pub(crate) fn of(self, array: &ArrayRef) -> Result<ArrayRef> {
        let changed = match self {
            Self::OneNan => of_floats(array, one_nan)?,
            Self::OneZero => of_floats(array, one_zero)?,
            Self::NullsBelow => nulls_below(array)?,
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
        };
        if !is_concerned {
            return Ok(value);
        }
        ScalarValue::try_from_array(&self.of(&value.to_array()?)?, 0)
    }
}

/// Whether there may be floating-point numbers in values of a type.
pub(crate) fn holds_floats(data_type: &DataType) -> bool {
    let in_field = |field: &FieldRef| holds_floats(field.data_type());
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
        DataType::Dictionary(_, values) => holds_floats(values),
        other => other.is_floating(),
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

/// The same values with others in the place of floating-point numbers; none if they stay.
fn of_floats(array: &ArrayRef, change: fn(&ArrayRef) -> Option<ArrayRef>) -> Result<Option<ArrayRef>> {
    match array.data_type() {
        data_type if data_type.is_floating() => Ok(change(array)),
        data_type if holds_floats(data_type) => of_children(array, |child| of_floats(child, change)),
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
