//! Two processes append 200 times each to one table, through each catalog: every append is there exactly once.
//!
//! The processes are this test program, started again with the test [`a_writer_when_asked`] and its orders in the
//! environment.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::process::{Child, Command};
use std::sync::Arc;

use polynya_catalog::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, NestedField, PrimitiveType, Schema,
    Struct, Type,
};
use polynya_catalog::testing::{PostgresServer, SeaweedServer};
use polynya_catalog::{
    Catalog, CatalogSettings, CatalogType, ChangeSet, CommitOptions, MetadataCache, NamespaceIdent, NewTable, Table,
    TableIdent, commit, open_catalog, read_manifest,
};

const APPENDS: usize = 200;
const WRITERS: [&str; 2] = ["left", "right"];
const ORDERS: &str = "POLYNYA_TEST_WRITER";

/// What a writer process is to do.
#[derive(serde::Serialize, serde::Deserialize)]
struct Orders {
    writer: String,
    catalog: HashMap<String, String>,
}

fn orders(writer: &str, settings: &CatalogSettings) -> Orders {
    let mut catalog = settings.properties.clone();
    catalog.insert("type".to_owned(), settings.r#type.to_string());
    let named = [("uri", &settings.uri), ("warehouse", &settings.warehouse), ("credential", &settings.credential)];
    for (name, value) in named {
        catalog.extend(value.clone().map(|value| (name.to_owned(), value)));
    }
    Orders { writer: writer.to_owned(), catalog }
}

fn start_writer(orders: &Orders) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_writer_when_asked", "--nocapture"])
        .env(ORDERS, serde_json::to_string(orders).unwrap())
        .spawn()
        .unwrap()
}

/// Not a test of its own: does nothing unless another test started this process.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_when_asked() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let settings = serde_json::from_value(serde_json::to_value(&orders.catalog).unwrap()).unwrap();
    let cache = MetadataCache::new(64 << 20);
    let catalog = open_catalog("lake", &settings, &cache).await.unwrap();
    let mut table = catalog.load_table(&ident()).await.unwrap();
    let options = CommitOptions { cache: Some(cache), ..CommitOptions::default() };
    for number in 0..APPENDS {
        let changes = ChangeSet::append(vec![file(&table, &orders.writer, number)]);
        table = commit(catalog.as_ref(), &table, changes, &options).await.unwrap();
    }
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["crowd", "busy"]).unwrap()
}

/// One row in a file that is only described: commits do not open data files.
fn file(table: &Table, writer: &str, number: usize) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{}/data/{writer}-{number}.parquet", table.metadata.location()))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .record_count(1)
        .file_size_in_bytes(100)
        .build()
        .unwrap()
}

async fn two_processes_append(settings: &CatalogSettings) {
    let cache = MetadataCache::new(8 << 20);
    let catalog: Arc<dyn Catalog> = open_catalog("lake", settings, &cache).await.unwrap();
    catalog.create_namespace(&NamespaceIdent::new("crowd".to_owned()), HashMap::new()).await.unwrap();
    let column = NestedField::optional(1, "id", Type::Primitive(PrimitiveType::Long));
    let new = NewTable {
        schema: Schema::builder().with_fields([Arc::new(column)]).build().unwrap(),
        partition_spec: None,
        sort_order: None,
        location: None,
        properties: HashMap::from([
            // Two writers that never rest lose often; neither may give up.
            ("commit.retry.num-retries".to_owned(), "1000".to_owned()),
            ("commit.retry.min-wait-ms".to_owned(), "20".to_owned()),
            ("commit.retry.max-wait-ms".to_owned(), "1000".to_owned()),
        ]),
        format_version: FormatVersion::V2,
    };
    catalog.create_table(&ident(), new).await.unwrap();

    let writers: Vec<Child> = WRITERS.iter().map(|writer| start_writer(&orders(writer, settings))).collect();
    let ended = tokio::task::spawn_blocking(|| writers.into_iter().map(|mut w| w.wait().unwrap()).collect::<Vec<_>>());
    assert!(ended.await.unwrap().iter().all(|status| status.success()), "a writer failed");

    let table = catalog.load_table(&ident()).await.unwrap();
    let total = APPENDS * WRITERS.len();
    assert_eq!(table.metadata.snapshots().len(), total, "snapshots");
    assert_eq!(table.metadata.history().len(), total, "snapshot log");
    let snapshot = table.metadata.current_snapshot().unwrap();
    let counted = |name: &str| snapshot.summary().additional_properties[name].parse::<usize>().unwrap();
    assert_eq!((counted("total-records"), counted("total-data-files")), (total, total));

    let list = cache.manifest_list(&table.storage, &table.metadata, snapshot).await.unwrap();
    let mut names = HashSet::new();
    for manifest in list.entries() {
        for entry in read_manifest(&table.storage, manifest).await.unwrap().entries() {
            let name = entry.file_path().rsplit('/').next().unwrap().to_owned();
            assert!(names.insert(name), "{} is there twice", entry.file_path());
        }
    }
    for writer in WRITERS {
        assert!((0..APPENDS).all(|number| names.contains(&format!("{writer}-{number}.parquet"))), "{writer}");
    }
    assert_eq!(names.len(), total);
    assert!(list.entries().len() < 150, "small manifests were not merged: {}", list.entries().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn through_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let settings = CatalogSettings::new(CatalogType::Sql)
        .with_uri(format!("sqlite:///{path}/catalog.db"))
        .with_warehouse(format!("file://{path}/warehouse"));
    two_processes_append(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_postgres_and_s3() {
    let (postgres, seaweed) = tokio::join!(PostgresServer::start(), SeaweedServer::start());
    let (postgres, seaweed) = (postgres.unwrap(), seaweed.unwrap());
    let uri = postgres.create_database("crowd").await.unwrap();
    two_processes_append(&seaweed.sql_settings(&uri, "crowd")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_rest() {
    let seaweed = SeaweedServer::start().await.unwrap();
    two_processes_append(&seaweed.rest_settings()).await;
}
