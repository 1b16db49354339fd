//! Finds a file's columns by Iceberg field id: renames the columns of a Parquet footer to the table's current names.
//!
//! In: a file's Parquet schema. Out: the same tree under the table's names, so that everything behind it (decoder,
//! statistics, page index, filters) may work by name and still follow renames, re-ordering, and columns that were dropped
//! and added again. A column that the table no longer has gets a name that no table column can have.
//! Source: Iceberg specification, "Column Projection" and "Name Mapping Serialization".

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, MappedField, NameMapping, NestedField, Schema, StructType, TableMetadata, Type,
};
use parquet::basic::Repetition;
use parquet::schema::types::{SchemaDescriptor, Type as ParquetType, TypePtr};

use crate::{Error, Result};

/// How the columns of a table's files become the table's columns. Shared by all scans of one schema.
#[derive(Debug)]
pub(crate) struct ColumnMapping {
    table: String,
    schema: Arc<Schema>,
    names: Option<NameMapping>,
    fingerprint: u64,
}

impl ColumnMapping {
    /// The mapping onto `schema` of the table called `table` in errors; `name_mapping` is the JSON of the property
    /// `schema.name-mapping.default`, for files that were written without field ids.
    pub(crate) fn new(table: String, schema: Arc<Schema>, name_mapping: Option<&str>) -> Result<Self> {
        let names = name_mapping.map(serde_json::from_str::<NameMapping>).transpose().map_err(|error| {
            Error::Invalid(format!(
                "table {table}: its property {DEFAULT_SCHEMA_NAME_MAPPING} is not a name mapping: {error}"
            ))
        })?;
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(schema.as_ref()).unwrap_or_default().hash(&mut hasher);
        name_mapping.hash(&mut hasher);
        Ok(Self { table, schema, names, fingerprint: hasher.finish() })
    }

    /// The mapping that a table's own properties ask for.
    pub(crate) fn of_table(table: &str, metadata: &TableMetadata, schema: &Arc<Schema>) -> Result<Self> {
        let names = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING).map(String::as_str);
        Self::new(table.to_owned(), Arc::clone(schema), names)
    }

    /// The table's schema.
    pub(crate) fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The table, as errors name it.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The same for equal mappings: footers may be shared between them.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The name mapping, for a worker to rebuild this.
    pub(crate) fn name_mapping_json(&self) -> Option<String> {
        self.names.as_ref().and_then(|names| serde_json::to_string(names).ok())
    }

    /// Renames a file's columns. `location` is what errors name.
    pub(crate) fn apply(&self, file: &SchemaDescriptor, location: &str) -> Result<Arc<SchemaDescriptor>> {
        let root = file.root_schema();
        let ids = if any_field_id(root.get_fields()) {
            Ids::Written
        } else {
            let names = self.names.as_ref().ok_or_else(|| {
                let feature =
                    format!("files without field ids, in a table without the property {DEFAULT_SCHEMA_NAME_MAPPING}");
                Error::unsupported(format!("reading table {} (file {location})", self.table), feature)
            })?;
            Ids::Mapped(names.fields().iter().collect())
        };
        let renamed =
            Renamer { table: &self.table, location }.fields(root.get_fields(), self.schema.as_struct(), &ids, false)?;
        let renamed = renamed.iter().map(without_ids_below).collect::<Result<_>>()?;
        let root = ParquetType::group_type_builder(root.name()).with_fields(renamed).build().map_err(parquet_error)?;
        Ok(Arc::new(SchemaDescriptor::new(Arc::new(root))))
    }
}

/// Where field ids come from: the file, or its names.
enum Ids<'a> {
    Written,
    Mapped(Vec<&'a MappedField>),
}

impl<'a> Ids<'a> {
    fn of(&self, field: &ParquetType) -> (Option<i32>, Ids<'a>) {
        match self {
            Ids::Written => (field.get_basic_info().has_id().then(|| field.get_basic_info().id()), Ids::Written),
            Ids::Mapped(fields) => {
                let mapped = fields.iter().find(|mapped| mapped.names().iter().any(|name| name == field.name()));
                let children = mapped.map_or(Vec::new(), |mapped| mapped.fields().iter().map(Arc::as_ref).collect());
                (mapped.and_then(|mapped| mapped.field_id()), Ids::Mapped(children))
            }
        }
    }
}

fn any_field_id(fields: &[TypePtr]) -> bool {
    fields.iter().any(|field| field.get_basic_info().has_id() || (field.is_group() && any_field_id(field.get_fields())))
}

struct Renamer<'a> {
    table: &'a str,
    location: &'a str,
}

impl Renamer<'_> {
    /// Renames the fields of a struct. `rigid`: inside a map, where values are not re-shaped after reading.
    fn fields(&self, fields: &[TypePtr], table: &StructType, ids: &Ids, rigid: bool) -> Result<Vec<TypePtr>> {
        let mut found = HashSet::new();
        let renamed: Vec<TypePtr> = fields
            .iter()
            .enumerate()
            .map(|(position, field)| {
                let (id, children) = ids.of(field);
                match id.and_then(|id| table.field_by_id(id)) {
                    Some(target) if found.insert(target.id) => {
                        self.field(field, target, &target.name, &children, rigid)
                    }
                    _ => rebuild(field, &format!("\u{1}{position}:{}", field.name()), None, None),
                }
            })
            .collect::<Result<_>>()?;
        let same =
            || renamed.iter().map(|field| field.name()).eq(table.fields().iter().map(|field| field.name.as_str()));
        if rigid && !same() {
            return Err(
                self.refused("a struct inside a map whose fields changed since the file was written".to_owned())
            );
        }
        Ok(renamed)
    }

    fn refused(&self, feature: String) -> Error {
        Error::unsupported(format!("reading table {} (file {})", self.table, self.location), feature)
    }

    fn field(&self, field: &TypePtr, target: &NestedField, name: &str, ids: &Ids, rigid: bool) -> Result<TypePtr> {
        let children = match target.field_type.as_ref() {
            Type::Struct(table) if field.is_group() => {
                let fields = self.fields(field.get_fields(), table, ids, rigid)?;
                if let Some(missing) = table.fields().iter().find(|nested| {
                    nested.initial_default.is_some() && !fields.iter().any(|found| found.name() == nested.name)
                }) {
                    return Err(
                        self.refused(format!("initial default of the nested field {}.{}", target.name, missing.name))
                    );
                }
                Some(fields)
            }
            Type::List(list) if field.is_group() => Some(self.list(field, &list.element_field, ids, rigid)?),
            Type::Map(map) if field.is_group() => Some(self.map(field, &map.key_field, &map.value_field, ids)?),
            _ => None,
        };
        rebuild(field, name, Some(target.id), children)
    }

    /// `group (LIST) { repeated group { element } }`, or the older `{ repeated element }`.
    fn list(&self, field: &TypePtr, element: &NestedField, ids: &Ids, rigid: bool) -> Result<Vec<TypePtr>> {
        let [repeated] = field.get_fields() else { return Ok(field.get_fields().to_vec()) };
        let wrapped = repeated.is_group() && repeated.get_fields().len() == 1;
        if !wrapped {
            let (_, children) = ids.of(repeated);
            return Ok(vec![self.field(repeated, element, repeated.name(), &children, rigid)?]);
        }
        let inner = &repeated.get_fields()[0];
        let (_, children) = ids.of(inner);
        let inner = self.field(inner, element, "element", &children, rigid)?;
        Ok(vec![rebuild(repeated, repeated.name(), None, Some(vec![inner]))?])
    }

    /// `group (MAP) { repeated group { key; value } }`.
    fn map(&self, field: &TypePtr, key: &NestedField, value: &NestedField, ids: &Ids) -> Result<Vec<TypePtr>> {
        let [entries] = field.get_fields() else { return Ok(field.get_fields().to_vec()) };
        if !entries.is_group() {
            return Ok(field.get_fields().to_vec());
        }
        let targets = [(key, "key"), (value, "value")];
        let fields = entries.get_fields().iter().zip(targets).map(|(field, (target, name))| {
            let (_, children) = ids.of(field);
            self.field(field, target, name, &children, true)
        });
        Ok(vec![rebuild(entries, "key_value", None, Some(fields.collect::<Result<_>>()?))?])
    }
}

/// A column whose nested fields have no ids any more: they were found by these, and the table's own have none
/// ([`crate::types::without_ids_below`]).
fn without_ids_below(column: &TypePtr) -> Result<TypePtr> {
    fn plain(field: &TypePtr) -> Result<TypePtr> {
        let children = field.is_group().then(|| field.get_fields().iter().map(plain).collect::<Result<_>>());
        build(field, field.name(), None, children.transpose()?)
    }
    if !column.is_group() {
        return Ok(Arc::clone(column));
    }
    let children = column.get_fields().iter().map(plain).collect::<Result<_>>()?;
    rebuild(column, column.name(), None, Some(children))
}

/// The same Parquet type under another name, with its own id if no other is given, and with other children if given.
fn rebuild(field: &TypePtr, name: &str, id: Option<i32>, children: Option<Vec<TypePtr>>) -> Result<TypePtr> {
    let info = field.get_basic_info();
    build(field, name, id.or_else(|| info.has_id().then(|| info.id())), children)
}

/// The same Parquet type under another name and with this id, with other children if given.
fn build(field: &TypePtr, name: &str, id: Option<i32>, children: Option<Vec<TypePtr>>) -> Result<TypePtr> {
    let info = field.get_basic_info();
    let repetition = if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED };
    let built = match field.as_ref() {
        ParquetType::PrimitiveType { physical_type, type_length, scale, precision, .. } => {
            ParquetType::primitive_type_builder(name, *physical_type)
                .with_repetition(repetition)
                .with_converted_type(info.converted_type())
                .with_logical_type(info.logical_type_ref().cloned())
                .with_length(*type_length)
                .with_precision(*precision)
                .with_scale(*scale)
                .with_id(id)
                .build()
        }
        ParquetType::GroupType { fields, .. } => ParquetType::group_type_builder(name)
            .with_repetition(repetition)
            .with_converted_type(info.converted_type())
            .with_logical_type(info.logical_type_ref().cloned())
            .with_fields(children.unwrap_or_else(|| fields.clone()))
            .with_id(id)
            .build(),
    };
    built.map(Arc::new).map_err(parquet_error)
}

fn parquet_error(error: parquet::errors::ParquetError) -> Error {
    datafusion::error::DataFusionError::from(error).into()
}
