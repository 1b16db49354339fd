//! What is decided once for all files of one write: schemas, properties, partitioning, where files go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::datatypes::SchemaRef;
use iceberg::spec::{SchemaRef as IcebergSchemaRef, Struct};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::TypePtr;
use polynya_catalog::{Storage, Table};

use super::encoder::Encoder;
use super::partition::Partitioner;
use super::properties::WriteProperties;
use super::schema::{parquet_schema, write_schema};
use crate::io::{Hydration, Hydrator};
use crate::{Error, Result};

/// How the files of one write are made.
#[derive(Debug)]
pub(super) struct WritePlan {
    /// The table, as messages name it.
    pub(super) table: String,
    pub(super) schema: IcebergSchemaRef,
    /// The schema as it is written into each file's footer.
    pub(super) schema_json: String,
    pub(super) arrow_schema: SchemaRef,
    pub(super) properties: WriteProperties,
    pub(super) partitioner: Partitioner,
    pub(super) storage: Arc<Storage>,
    parquet_schema: TypePtr,
    parquet_properties: Arc<WriterProperties>,
    lanes: usize,
    hydration: Option<Hydration>,
    write_id: uuid::Uuid,
    files: AtomicU32,
}

impl WritePlan {
    /// # Errors
    /// If the table has a feature that cannot be written; the feature is named.
    pub(super) fn new(table: &Table, lanes: usize) -> Result<Self> {
        let name = table.ident.to_string();
        let metadata = &table.metadata;
        if metadata.encryption_keys_iter().len() > 0 {
            return Err(Error::unsupported(format!("writing to table {name}"), "encryption"));
        }
        let properties = WriteProperties::of(&name, metadata)?;
        let schema = Arc::clone(metadata.current_schema());
        let arrow_schema = write_schema(&schema)?;
        let parquet_schema = parquet_schema(&arrow_schema, &schema)
            .map_err(|error| Error::Internal(format!("table {name}: {error}")))?;
        let schema_json = serde_json::to_string(schema.as_ref())
            .map_err(|error| Error::Internal(format!("the schema of table {name} as JSON: {error}")))?;
        Ok(Self {
            partitioner: Partitioner::new(&name, metadata.default_partition_spec(), &schema)?,
            parquet_properties: Arc::new(properties.parquet()),
            table: name,
            schema,
            schema_json,
            arrow_schema,
            properties,
            storage: Arc::clone(&table.storage),
            parquet_schema,
            lanes,
            hydration: None,
            write_id: uuid::Uuid::now_v7(),
            files: AtomicU32::new(0),
        })
    }

    /// Names the files by the change that they are of.
    pub(super) fn with_id(self, write_id: uuid::Uuid) -> Self {
        Self { write_id, ..self }
    }

    /// Leaves the files in the cache as they are written.
    pub(super) fn with_hydration(self, hydration: Hydration) -> Self {
        Self { hydration: Some(hydration), ..self }
    }

    /// What keeps a file that begins now.
    pub(super) fn hydrator(&self) -> Option<Hydrator> {
        self.hydration.as_ref().map(Hydration::begin)
    }

    pub(super) fn encoder(&self) -> parquet::errors::Result<Encoder> {
        Encoder::new(
            Arc::clone(&self.arrow_schema),
            Arc::clone(&self.parquet_schema),
            Arc::clone(&self.parquet_properties),
            self.lanes,
        )
    }

    /// A location that no other file has.
    pub(super) fn new_location(&self, partition: &Struct) -> String {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let folder = self.partitioner.path(partition);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{}/{folder}{slash}{number:05}-0-{}.parquet", self.properties.data_location, self.write_id)
    }
}
