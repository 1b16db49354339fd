//! A service that goes away around a commit: an error within seconds, nothing lost, and nothing committed twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polynya_catalog::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, NestedField, PrimitiveType, Schema,
    Struct, Type,
};
use polynya_catalog::testing::{PostgresServer, SeaweedServer};
use polynya_catalog::{
    Catalog, CatalogSettings, CatalogType, ChangeSet, CommitOptions, Error, MetadataCache, NamespaceIdent, NewTable,
    Result, Table, TableIdent, commit, open_catalog, read_manifest,
};

/// What "within seconds" means while a service is frozen: longer than every timeout below, all together.
const SECONDS: Duration = Duration::from_secs(30);

fn ident() -> TableIdent {
    TableIdent::from_strs(["ns", "t"]).unwrap()
}

async fn open(settings: &CatalogSettings) -> Arc<dyn Catalog> {
    open_catalog("lake", settings, &MetadataCache::new(0)).await.unwrap()
}

async fn new_table(catalog: &dyn Catalog) -> Table {
    catalog.create_namespace(&NamespaceIdent::new("ns".to_owned()), HashMap::new()).await.unwrap();
    let column = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long));
    let new = NewTable {
        schema: Schema::builder().with_fields([Arc::new(column)]).build().unwrap(),
        partition_spec: None,
        sort_order: None,
        location: None,
        properties: HashMap::new(),
        format_version: FormatVersion::V2,
    };
    catalog.create_table(&ident(), new).await.unwrap()
}

fn file(table: &Table, name: &str) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{}/data/{name}.parquet", table.metadata.location()))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(1)
        .file_size_in_bytes(100)
        .build()
        .unwrap()
}

async fn append(catalog: &dyn Catalog, table: &Table, name: &str) -> Result<Table> {
    commit(catalog, table, ChangeSet::append(vec![file(table, name)]), &CommitOptions::default()).await
}

/// The names of the table's files, which are all readable.
async fn names(catalog: &dyn Catalog) -> Vec<String> {
    let table = catalog.load_table(&ident()).await.unwrap();
    let Some(snapshot) = table.metadata.current_snapshot() else { return Vec::new() };
    let list = MetadataCache::new(0).manifest_list(&table.storage, &table.metadata, snapshot).await.unwrap();
    let mut names = Vec::new();
    for manifest in list.entries() {
        for entry in read_manifest(&table.storage, manifest).await.unwrap().entries() {
            names.push(entry.file_path().rsplit(['/', '.']).nth(1).unwrap().to_owned());
        }
    }
    names.sort();
    names
}

fn assert_says_so(error: &Error) {
    let expected =
        matches!(error, Error::CommitUnknown { .. } | Error::NotCommitted { .. } | Error::Unavailable { .. });
    assert!(expected, "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_that_goes_away() {
    let mut postgres = PostgresServer::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = CatalogSettings::new(CatalogType::Sql)
        .with_uri(postgres.create_database("outage").await.unwrap())
        .with_warehouse(format!("file://{}/warehouse", folder.path().display()));
    let catalog = open(&settings).await;
    let table = new_table(catalog.as_ref()).await;
    let table = append(catalog.as_ref(), &table, "before").await.unwrap();

    postgres.crash();
    let begun = Instant::now();
    let error = append(catalog.as_ref(), &table, "crashed").await.unwrap_err();
    assert_says_so(&error);
    assert!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
    postgres.resume().await.unwrap();
    assert_eq!(names(catalog.as_ref()).await, ["before"]);

    postgres.freeze();
    let begun = Instant::now();
    let result = append(catalog.as_ref(), &table, "frozen").await;
    let took = begun.elapsed();
    postgres.thaw();
    assert_says_so(&result.unwrap_err());
    assert!(took < SECONDS, "{took:?}");
    // It may land after all; if so, whole.
    let table = append(catalog.as_ref(), &table, "last").await.unwrap();
    let names = names(catalog.as_ref()).await;
    assert!(names == ["before", "last"] || names == ["before", "frozen", "last"], "{names:?}");
    assert_eq!(table.metadata.snapshots().len(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_and_s3_that_freeze() {
    let seaweed = SeaweedServer::start().await.unwrap();
    let settings = seaweed.rest_settings().with_property("s3.request-timeout", "2");
    let catalog = open(&settings).await;
    let table = new_table(catalog.as_ref()).await;
    let table = append(catalog.as_ref(), &table, "before").await.unwrap();

    seaweed.freeze();
    let begun = Instant::now();
    let result = append(catalog.as_ref(), &table, "frozen").await;
    let took = begun.elapsed();
    seaweed.thaw();
    assert_says_so(&result.unwrap_err());
    assert!(took < SECONDS, "{took:?}");
    append(catalog.as_ref(), &table, "last").await.unwrap();
    assert_eq!(names(catalog.as_ref()).await, ["before", "last"]);
}
