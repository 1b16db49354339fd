//! A catalog of one table that fails on purpose, for the tests of the commit protocol.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, NestedField, PrimitiveType,
    Schema, SortOrder, Struct, TableMetadata, TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};
use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use parking_lot::Mutex;

use super::*;
use crate::{Catalog, Error, NewTable, Result, Storage, Table};

/// What the catalog does to the next commit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// Another writer's append comes first.
    OtherWriterFirst,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// It takes effect, and a repetition on the way is answered with a conflict.
    ConflictsWithItself,
    /// The same, and then the catalog is gone, for good.
    ConflictsAndGone,
    /// It takes no effect, and nobody says so.
    RequestLost,
    /// The catalog says no.
    Refused,
    /// The catalog is gone, for good.
    Gone,
}

/// One table in memory, and the faults to come.
#[derive(Debug)]
pub(super) struct FaultyCatalog {
    pub(super) table: Mutex<Table>,
    pub(super) faults: Mutex<VecDeque<Fault>>,
    pub(super) gone: Mutex<bool>,
    pub(super) commits: Mutex<u32>,
}

impl FaultyCatalog {
    pub(super) fn new(version: FormatVersion, properties: &[(&str, &str)], partitioned: bool) -> Self {
        let storage = Storage::new(&HashMap::new()).expect("a storage");
        let fields = [
            NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long)),
            NestedField::optional(2, "day", Type::Primitive(PrimitiveType::Int)),
        ];
        let schema = Schema::builder().with_fields(fields.map(Arc::new)).build().expect("a schema");
        let mut spec = UnboundPartitionSpec::builder();
        if partitioned {
            spec = spec.add_partition_field(2, "day", Transform::Identity).expect("a field");
        }
        let properties: HashMap<String, String> =
            [("commit.retry.min-wait-ms", "1"), ("commit.retry.max-wait-ms", "2")]
                .iter()
                .chain(properties)
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect();
        let location = "memory://w/t".to_string();
        let sort_order = SortOrder::unsorted_order();
        let builder = TableMetadataBuilder::new(schema, spec.build(), sort_order, location, version, properties);
        let metadata = builder.and_then(|builder| builder.build()).expect("metadata").metadata;
        let table = Table {
            catalog: "faulty".to_string(),
            ident: TableIdent::from_strs(["ns", "t"]).expect("a name"),
            metadata_location: "memory://w/t/metadata/0.json".to_string(),
            metadata: Arc::new(metadata),
            storage,
        };
        Self { table: Mutex::new(table), faults: Mutex::default(), gone: Mutex::new(false), commits: Mutex::new(0) }
    }

    pub(super) fn with(self, faults: &[Fault]) -> Self {
        self.faults.lock().extend(faults.iter().copied());
        self
    }

    pub(super) fn table(&self) -> Table {
        self.table.lock().clone()
    }

    pub(super) fn apply(&self, requirements: &[TableRequirement], updates: Vec<TableUpdate>) -> Result<Table> {
        let mut table = self.table.lock();
        for requirement in requirements {
            requirement.check(Some(&table.metadata)).map_err(|error| Error::CommitConflict {
                table: table.ident.to_string(),
                message: error.to_string(),
            })?;
        }
        let mut builder = TableMetadata::clone(&table.metadata).into_builder(Some(table.metadata_location.clone()));
        for update in updates {
            builder = update.apply(builder).expect("the update fits the metadata");
        }
        table.metadata = Arc::new(builder.build().expect("metadata").metadata);
        *self.commits.lock() += 1;
        Ok(table.clone())
    }
}

fn not_here<T>() -> Result<T> {
    Err(Error::Internal("not part of this test".to_string()))
}

#[async_trait]
impl Catalog for FaultyCatalog {
    fn name(&self) -> &str {
        "faulty"
    }
    async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        not_here()
    }
    async fn namespace_properties(&self, _: &NamespaceIdent) -> Result<HashMap<String, String>> {
        not_here()
    }
    async fn create_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        not_here()
    }
    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        not_here()
    }
    async fn list_tables(&self, _: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        not_here()
    }
    async fn create_table(&self, _: &TableIdent, _: NewTable) -> Result<Table> {
        not_here()
    }
    async fn drop_table(&self, _: &TableIdent, _: bool) -> Result<()> {
        not_here()
    }
    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        not_here()
    }
    async fn register_table(&self, _: &TableIdent, _: &str) -> Result<Table> {
        not_here()
    }

    async fn load_table(&self, _: &TableIdent) -> Result<Table> {
        match *self.gone.lock() {
            true => Err(Error::Internal("gone".to_string())),
            false => Ok(self.table()),
        }
    }

    async fn commit_table(
        &self,
        ident: &TableIdent,
        requirements: Vec<TableRequirement>,
        updates: Vec<TableUpdate>,
    ) -> Result<Table> {
        let lost = || Error::Unavailable {
            service: "catalog faulty".to_string(),
            action: "commit".to_string(),
            source: "connection reset".into(),
        };
        let conflict = || Error::CommitConflict { table: ident.to_string(), message: "sent twice".to_string() };
        let fault = self.faults.lock().pop_front();
        match fault {
            None => self.apply(&requirements, updates),
            Some(Fault::OtherWriterFirst) => {
                let other = self.table();
                let changes = ChangeSet::append(vec![file(&format!("other-{}", uuid::Uuid::new_v4()), 5, None)]);
                let mut written = Written::new(&other, None);
                manifests::write_added(&other, &changes, &mut written).await?;
                let attempt = Attempt::write(&other, &other, &changes, &CommitOptions::default(), &mut written).await?;
                self.apply(&attempt::requirements(&other), attempt.updates)?;
                self.apply(&requirements, updates)
            }
            Some(Fault::AnswerLost) => self.apply(&requirements, updates).and(Err(lost())),
            Some(Fault::ConflictsWithItself) => self.apply(&requirements, updates).and(Err(conflict())),
            Some(Fault::ConflictsAndGone) => {
                *self.gone.lock() = true;
                self.apply(&requirements, updates).and(Err(conflict()))
            }
            Some(Fault::RequestLost) => Err(lost()),
            Some(Fault::Refused) => {
                Err(Error::AccessDenied { service: "catalog faulty".into(), action: "commit".into(), source: None })
            }
            Some(Fault::Gone) => {
                *self.gone.lock() = true;
                Err(lost())
            }
        }
    }
}

/// A data file of the table; it is never read.
pub(super) fn file(name: &str, rows: u64, day: Option<i32>) -> DataFile {
    let partition = match day {
        Some(day) => Struct::from_iter([Some(Literal::int(day))]),
        None => Struct::empty(),
    };
    data_file(&format!("memory://w/t/data/{name}.parquet"), rows, partition)
}

/// A data file of a table without partitions, at this location.
pub(crate) fn file_at(location: &str, rows: u64) -> DataFile {
    data_file(location, rows, Struct::empty())
}

fn data_file(location: &str, rows: u64, partition: Struct) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(location.to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .record_count(rows)
        .file_size_in_bytes(rows * 10)
        .lower_bounds(HashMap::from([(1, iceberg::spec::Datum::long(1))]))
        .upper_bounds(HashMap::from([(1, iceberg::spec::Datum::long(9))]))
        .build()
        .expect("a file")
}
