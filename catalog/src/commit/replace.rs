//! A table's content and columns replaced by one commit.
//!
//! In: a table and new columns. Out: the table as it will be just before the new snapshot (those columns, no partitions, no
//! rows), and the updates that lead there. It stays the same table: its UUID, its folder, its properties, and its older
//! snapshots with the columns that they have. This is what the Java library's replace transaction does, so that other engines know it.
//!
//! The new snapshot has no parent: nothing in it comes from what was there before.

use std::sync::Arc;

use iceberg::spec::{
    ListType, MAIN_BRANCH, MapType, NestedField, NestedFieldRef, Schema, SortOrder, StructType, TableMetadata,
    TableMetadataBuilder, Type, UnboundPartitionSpec,
};
use iceberg::{TableRequirement, TableUpdate};

use crate::{Error, Result, Table};

/// A table that is to be replaced.
#[derive(Debug)]
pub(super) struct Replaced {
    /// The table without rows, with its new columns.
    pub(super) table: Table,
    /// What changes the columns, in front of the new snapshot.
    pub(super) updates: Vec<TableUpdate>,
    /// What must not have changed meanwhile, besides the main branch.
    pub(super) requirements: Vec<TableRequirement>,
}

/// The table with these columns instead of its own, without partitions and rows: what new files are written for.
///
/// Columns get field ids that no file of the table has, unless they are those that the table has already.
///
/// # Errors
/// `Invalid` if the table cannot have such columns, since one is called like a partition that it had.
pub fn with_columns(table: &Table, columns: &Schema) -> Result<Table> {
    Ok(replaced(table, columns)?.table)
}

/// As [`with_columns`], with all that a commit needs.
pub(super) fn replaced(table: &Table, columns: &Schema) -> Result<Replaced> {
    let metadata = &table.metadata;
    let invalid = |error: iceberg::Error| Error::Invalid {
        message: format!("the columns of table {} cannot be replaced: {}", table.ident, error.message()),
        source: Some(error.into()),
    };
    let mut builder = TableMetadata::clone(metadata).into_builder(None);
    if !same_fields(metadata.current_schema().as_struct(), columns.as_struct()) {
        builder = builder.add_current_schema(renumbered(metadata, columns).map_err(invalid)?).map_err(invalid)?;
    }
    if !metadata.default_partition_spec().is_unpartitioned() {
        builder = builder.add_default_partition_spec(UnboundPartitionSpec::builder().build()).map_err(invalid)?;
    }
    if !metadata.default_sort_order().is_unsorted() {
        let unsorted = SortOrder::unsorted_order();
        let added = builder.add_sort_order(unsorted).map_err(invalid)?;
        builder = added.set_default_sort_order(i64::from(TableMetadataBuilder::LAST_ADDED)).map_err(invalid)?;
    }
    let built = builder.remove_ref(MAIN_BRANCH).build().map_err(invalid)?;
    // The branch is not removed, but set to another snapshot.
    let updates = built.changes.into_iter().filter(|update| !matches!(update, TableUpdate::RemoveSnapshotRef { .. }));
    let updates: Vec<TableUpdate> = updates.collect();
    let mut requirements = Vec::new();
    for update in &updates {
        match update {
            TableUpdate::AddSchema { .. } => requirements
                .push(TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id: metadata.last_column_id() }),
            TableUpdate::AddSpec { .. } => requirements.push(TableRequirement::LastAssignedPartitionIdMatch {
                last_assigned_partition_id: metadata.last_partition_id(),
            }),
            _ => {}
        }
    }
    let table = Table { metadata: Arc::new(built.metadata), ..table.clone() };
    Ok(Replaced { table, updates, requirements })
}

/// The columns with ids behind all that the table ever had.
fn renumbered(metadata: &TableMetadata, columns: &Schema) -> iceberg::Result<Schema> {
    let offset = metadata.last_column_id().max(0);
    let fields = columns.as_struct().fields().iter().map(|field| shifted_field(field, offset));
    Schema::builder().with_fields(fields.collect::<Vec<_>>()).build()
}

fn shifted_field(field: &NestedFieldRef, offset: i32) -> NestedFieldRef {
    let shifted = NestedField {
        id: field.id + offset,
        field_type: Box::new(shifted(&field.field_type, offset)),
        ..NestedField::clone(field)
    };
    Arc::new(shifted)
}

fn shifted(ty: &Type, offset: i32) -> Type {
    match ty {
        Type::Primitive(ty) => Type::Primitive(ty.clone()),
        Type::Struct(ty) => {
            Type::Struct(StructType::new(ty.fields().iter().map(|field| shifted_field(field, offset)).collect()))
        }
        Type::List(ty) => Type::List(ListType { element_field: shifted_field(&ty.element_field, offset) }),
        Type::Map(ty) => Type::Map(MapType {
            key_field: shifted_field(&ty.key_field, offset),
            value_field: shifted_field(&ty.value_field, offset),
        }),
    }
}

/// Whether two structs have the same fields in the same order, whatever their ids.
fn same_fields(one: &StructType, other: &StructType) -> bool {
    let (one, other) = (one.fields(), other.fields());
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.name == other.name && same(one, other))
}

fn same(one: &NestedField, other: &NestedField) -> bool {
    let same_type = match (&*one.field_type, &*other.field_type) {
        (Type::Primitive(one), Type::Primitive(other)) => one == other,
        (Type::Struct(one), Type::Struct(other)) => same_fields(one, other),
        (Type::List(one), Type::List(other)) => same(&one.element_field, &other.element_field),
        (Type::Map(one), Type::Map(other)) => {
            same(&one.key_field, &other.key_field) && same(&one.value_field, &other.value_field)
        }
        _ => false,
    };
    let same_defaults = one.initial_default == other.initial_default && one.write_default == other.write_default;
    same_type && same_defaults && one.required == other.required
}
