//! Makes the values of a query, or of a client's rows, into values of a table's column.
//!
//! A value that does not fit is an error that names the column: nothing wraps around, nothing becomes NULL silently,
//! no fraction is dropped from a number that goes into an integer. Text converts to every type as a literal would.
//! Numbers do not become dates or booleans: that takes a CAST.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryBuilder, ListArray, MapArray, StructArray, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::kernels::cmp::neq;
use arrow::compute::{CastOptions, can_cast_types, cast};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float32Type, Float64Type};
use arrow::util::display::{FormatOptions, array_value_to_string};
use iceberg::spec::{NestedField, PrimitiveType, StructType, Type};

use crate::functions::{Zone, convert as convert_in_zone};
use crate::types::{Kind, cast_by_digits, check_digits, plain_message};
use crate::{Error, Result};

/// A column that values are made for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    /// The table, for messages.
    pub(super) table: &'a str,
    /// The column, with the path of nested fields, for messages.
    pub(super) path: &'a str,
    pub(super) field: &'a NestedField,
    pub(super) data_type: &'a DataType,
    /// What local times and texts without a zone are of.
    pub(super) zone: Zone,
}

impl Target<'_> {
    fn mismatch(&self, from: &DataType) -> Error {
        Error::Invalid(format!(
            "column {} of table {} has type {}, and the value has type {from}: use CAST",
            self.path,
            self.table,
            crate::types::sql_type_name(&self.field.field_type)
        ))
    }

    fn bad_value(&self, reason: impl std::fmt::Display) -> Error {
        Error::Data(format!("column {} of table {}: {reason}", self.path, self.table))
    }
}

/// The values in the column's type, checked against its NOT NULL.
pub(super) fn coerce(values: &ArrayRef, target: Target<'_>) -> Result<ArrayRef> {
    check_digits(values).map_err(|error| target.bad_value(plain_message(error)))?;
    let converted = convert(values, target)?;
    refuse_nulls(&converted, target.field.required, target.path, target.table, None)?;
    Ok(converted)
}

fn convert(values: &ArrayRef, target: Target<'_>) -> Result<ArrayRef> {
    let from = values.data_type();
    if from == target.data_type {
        return Ok(Arc::clone(values));
    }
    match (from, target.field.field_type.as_ref(), target.data_type) {
        (DataType::Null, _, to) => Ok(new_null_array(to, values.len())),
        (DataType::Dictionary(_, plain), ..) => convert(&cast(values, plain)?, target),
        (DataType::RunEndEncoded(_, plain), ..) => convert(&cast(values, plain.data_type())?, target),
        (DataType::Struct(_), Type::Struct(fields), DataType::Struct(to)) => structs(values, fields, to, target),
        (_, Type::List(list), DataType::List(to)) => lists(values, &list.element_field, to, target),
        (DataType::Map(..), Type::Map(_), DataType::Map(to, _)) => maps(values, to, target),
        (_, Type::Primitive(ty), _) => primitive(values, ty, target),
        _ => Err(target.mismatch(from)),
    }
}

fn primitive(values: &ArrayRef, ty: &PrimitiveType, target: Target<'_>) -> Result<ArrayRef> {
    let (from, to) = (values.data_type(), target.data_type);
    let (Some(from_kind), Some(to_kind)) = (Kind::of(from), Kind::of(to)) else { return Err(target.mismatch(from)) };
    if !from_kind.converts_to(to_kind) {
        return Err(target.mismatch(from));
    }
    match (ty, to) {
        (PrimitiveType::Uuid, _) if from_kind == Kind::Text => return uuids(values, target),
        (_, DataType::FixedSizeBinary(length)) => return fixed(values, *length, target),
        _ => {}
    }
    if !can_cast_types(from, to) {
        return Err(target.mismatch(from));
    }
    if let Some(converted) =
        convert_in_zone(values, to, target.zone).map_err(|error| target.bad_value(error.find_root().message()))?
    {
        return Ok(converted);
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    let converted = cast_by_digits(values, to, &options).map_err(|error| target.bad_value(plain_message(error)))?;
    check_exact(values, &converted, target)?;
    Ok(converted)
}

/// Integers hold no fraction, and a float no number beyond its range: arrow's cast would drop the one and make the
/// other infinite.
fn check_exact(values: &ArrayRef, converted: &ArrayRef, target: Target<'_>) -> Result<()> {
    let (from, to) = (values.data_type(), converted.data_type());
    let lost: Option<BooleanArray> = if to.is_integer() && (from.is_floating() || from.is_decimal()) {
        Some(neq(&cast(converted, from)?, values)?)
    } else if (from, to) == (&DataType::Float64, &DataType::Float32) {
        let narrow = converted.as_primitive::<Float32Type>().iter();
        let wide = values.as_primitive::<Float64Type>().iter();
        let pairs = narrow.zip(wide);
        Some(pairs.map(|(narrow, wide)| Some(narrow?.is_infinite() && wide?.is_finite())).collect())
    } else {
        None
    };
    let Some(row) = lost.and_then(|lost| lost.iter().position(|lost| lost == Some(true))) else { return Ok(()) };
    let value = array_value_to_string(values, row)?;
    let name = crate::types::sql_type_name(&target.field.field_type);
    Err(target.bad_value(format!("{value} does not fit type {name}: round or cast it first")))
}

fn uuids(values: &ArrayRef, target: Target<'_>) -> Result<ArrayRef> {
    let texts = cast(values, &DataType::Utf8)?;
    let mut uuids = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
    for text in texts.as_string::<i32>() {
        match text.map(uuid::Uuid::from_str) {
            None => uuids.append_null(),
            Some(Ok(uuid)) => uuids.append_value(uuid.as_bytes())?,
            Some(Err(_)) => return Err(target.bad_value(format!("'{}' is not a UUID", text.unwrap_or_default()))),
        }
    }
    Ok(Arc::new(uuids.finish()))
}

fn fixed(values: &ArrayRef, length: i32, target: Target<'_>) -> Result<ArrayRef> {
    let bytes = cast(values, &DataType::Binary)?;
    let mut fixed = FixedSizeBinaryBuilder::with_capacity(bytes.len(), length);
    for value in bytes.as_binary::<i32>() {
        match value {
            None => fixed.append_null(),
            Some(value) if value.len() == length as usize => fixed.append_value(value)?,
            Some(value) => {
                return Err(target.bad_value(format!("a value has {} bytes; it must have {length}", value.len())));
            }
        }
    }
    Ok(Arc::new(fixed.finish()))
}

/// By name if the source has the names, else by position.
fn structs(values: &ArrayRef, fields: &StructType, to: &Fields, target: Target<'_>) -> Result<ArrayRef> {
    let source = values.as_struct();
    let known = |field: &FieldRef| fields.fields().iter().any(|known| known.name == *field.name());
    let by_name = source.fields().iter().all(known);
    if !by_name && source.num_columns() != to.len() {
        return Err(target.mismatch(values.data_type()));
    }
    let mut columns = Vec::with_capacity(to.len());
    for (position, (field, to)) in fields.fields().iter().zip(to).enumerate() {
        let path = format!("{}.{}", target.path, field.name);
        let child = Target { path: &path, field, data_type: to.data_type(), ..target };
        let column = if by_name { source.column_by_name(&field.name) } else { Some(source.column(position)) };
        columns.push(match column {
            Some(column) => convert(column, child)?,
            None => new_null_array(to.data_type(), values.len()),
        });
    }
    // Built as if all fields could be NULL: NOT NULL is checked afterwards, with a message that names the field.
    build_struct(to, columns, source.nulls().cloned(), values.len(), target)
}

fn build_struct(
    fields: &Fields,
    columns: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
    length: usize,
    target: Target<'_>,
) -> Result<ArrayRef> {
    for (field, column) in fields.iter().zip(&columns) {
        let path = format!("{}.{}", target.path, field.name());
        refuse_nulls(column, !field.is_nullable(), &path, target.table, nulls.as_ref())?;
    }
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, length)?))
}

fn lists(values: &ArrayRef, element: &NestedField, to: &FieldRef, target: Target<'_>) -> Result<ArrayRef> {
    let source = match values.data_type() {
        DataType::List(_) => Arc::clone(values),
        DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => cast(values, &DataType::List(Arc::clone(field)))?,
        other => return Err(target.mismatch(other)),
    };
    let source = source.as_list::<i32>();
    let path = format!("{}.element", target.path);
    let elements =
        convert(source.values(), Target { path: &path, field: element, data_type: to.data_type(), ..target })?;
    refuse_nulls(&elements, !to.is_nullable(), &path, target.table, None)?;
    let list = ListArray::try_new(Arc::clone(to), source.offsets().clone(), elements, source.nulls().cloned())?;
    Ok(Arc::new(list))
}

fn maps(values: &ArrayRef, to: &FieldRef, target: Target<'_>) -> Result<ArrayRef> {
    let (Type::Map(map), DataType::Struct(to_fields)) = (target.field.field_type.as_ref(), to.data_type()) else {
        return Err(target.mismatch(values.data_type()));
    };
    let [to_key, to_value] = to_fields.as_ref() else { return Err(target.mismatch(values.data_type())) };
    let source = values.as_map();
    let part = |values: &ArrayRef, field: &NestedField, to: &Field| {
        let path = format!("{}.{}", target.path, field.name);
        convert(values, Target { path: &path, field, data_type: to.data_type(), ..target })
    };
    let keys = part(source.keys(), &map.key_field, to_key)?;
    let entries = part(source.values(), &map.value_field, to_value)?;
    let length = keys.len();
    let entries = build_struct(to_fields, vec![keys, entries], None, length, target)?;
    let entries = entries.as_struct().clone();
    let map = MapArray::try_new(Arc::clone(to), source.offsets().clone(), entries, source.nulls().cloned(), false)?;
    Ok(Arc::new(map))
}

/// A NULL where none may be, unless the struct around it is NULL itself.
fn refuse_nulls(values: &ArrayRef, required: bool, path: &str, table: &str, parent: Option<&NullBuffer>) -> Result<()> {
    if !required {
        return Ok(());
    }
    let Some(nulls) = values.logical_nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(()) };
    let excused = |row| parent.is_some_and(|parent| parent.is_null(row));
    match (0..values.len()).any(|row| nulls.is_null(row) && !excused(row)) {
        true => Err(Error::Data(format!("column {path} of table {table} is NOT NULL, and a row has NULL for it"))),
        false => Ok(()),
    }
}
