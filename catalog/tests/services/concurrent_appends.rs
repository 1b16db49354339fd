//! Two processes append 200 times each to one table: every append is there exactly once.
//!
//! The processes are this test binary again, told by an environment variable what to do.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polynya_catalog::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, NestedField, PrimitiveType, Schema,
    Struct, Type,
};
use polynya_catalog::testing::{PostgresServer, SeaweedServer};
use polynya_catalog::{
    Catalog, CatalogSettings, CatalogType, ChangeSet, CommitOptions, MetadataCache, NamespaceIdent, NewTable,
    TableIdent, commit, open_catalog, read_manifest,
};

const APPENDS: usize = 200;
const WRITERS: usize = 2;
/// Names the file with a writer's orders; set in the writers' processes only.
const ORDERS: &str = "POLYNYA_TEST_WRITER_ORDERS";
/// A bound for slow machines; the appends take a fraction of it.
const TIMEOUT: Duration = Duration::from_secs(400);

fn table_ident() -> TableIdent {
    TableIdent::new(NamespaceIdent::new("appends".to_owned()), "events".to_owned())
}

async fn open(settings: &CatalogSettings) -> Arc<dyn Catalog> {
    open_catalog("lake", settings, &MetadataCache::new(64 << 20)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let settings = CatalogSettings::new(CatalogType::Sql)
        .with_uri(format!("sqlite:///{path}/catalog.db"))
        .with_warehouse(format!("file://{path}/warehouse"));
    appends_are_each_there_once(&settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let (postgres, seaweed) = tokio::join!(PostgresServer::start(), SeaweedServer::start());
    let (postgres, seaweed) = (postgres.unwrap(), seaweed.unwrap());
    appends_are_each_there_once(&seaweed.sql_settings(&postgres.create_database("appends").await.unwrap(), "appends"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rest() {
    let seaweed = SeaweedServer::start().await.unwrap();
    appends_are_each_there_once(&seaweed.rest_settings()).await;
}

/// The writers' process; in a normal run of the tests there are no orders, and nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn writer() {
    let Some(orders) = std::env::var_os(ORDERS) else { return };
    let orders: Orders = serde_json::from_slice(&std::fs::read(orders).unwrap()).unwrap();
    let catalog = open(&orders.settings()).await;
    let mut table = catalog.load_table(&table_ident()).await.unwrap();
    for append in 0..APPENDS {
        let changes = ChangeSet::append(vec![data_file(table.metadata.location(), orders.writer, append)]);
        table = commit(catalog.as_ref(), &table, changes, &CommitOptions::default()).await.unwrap();
    }
}

/// What a writer is told.
#[derive(serde::Serialize, serde::Deserialize)]
struct Orders {
    writer: usize,
    r#type: CatalogType,
    uri: String,
    warehouse: String,
    credential: Option<String>,
    properties: BTreeMap<String, String>,
}

impl Orders {
    fn new(writer: usize, settings: &CatalogSettings) -> Self {
        Self {
            writer,
            r#type: settings.r#type,
            uri: settings.uri.clone().unwrap(),
            warehouse: settings.warehouse.clone().unwrap(),
            credential: settings.credential.clone(),
            properties: settings.properties.clone().into_iter().collect(),
        }
    }

    fn settings(&self) -> CatalogSettings {
        let mut settings = CatalogSettings::new(self.r#type).with_uri(&self.uri).with_warehouse(&self.warehouse);
        settings.credential.clone_from(&self.credential);
        settings.properties = self.properties.clone().into_iter().collect();
        settings
    }
}

async fn appends_are_each_there_once(settings: &CatalogSettings) {
    let catalog = open(settings).await;
    create(catalog.as_ref()).await;
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| start_writer(folder.path(), &Orders::new(writer, settings))).collect();
    for mut writer in writers {
        let status = tokio::time::timeout(TIMEOUT, writer.wait()).await.expect("the appends take too long").unwrap();
        assert!(status.success(), "a writer failed");
    }
    println!("{} appends in {:.1} s", WRITERS * APPENDS, begun.elapsed().as_secs_f64());
    check(catalog.as_ref()).await;
}

fn start_writer(folder: &Path, orders: &Orders) -> tokio::process::Child {
    let file = folder.join(format!("orders-{}.json", orders.writer));
    std::fs::write(&file, serde_json::to_vec(orders).unwrap()).unwrap();
    tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "concurrent_appends::writer", "--nocapture"])
        .env(ORDERS, file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn create(catalog: &dyn Catalog) {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into();
    let new = NewTable {
        schema: Schema::builder().with_fields([id]).build().unwrap(),
        partition_spec: None,
        sort_order: None,
        location: None,
        properties: [("commit.retry.num-retries".to_owned(), "1000".to_owned())].into(),
        format_version: FormatVersion::V2,
    };
    catalog.create_namespace(&table_ident().namespace, [].into()).await.unwrap();
    catalog.create_table(&table_ident(), new).await.unwrap();
}

/// A file of one row that no one reads; its name says whose and which append it is.
fn data_file(location: &str, writer: usize, append: usize) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{location}/data/writer{writer}-append{append}.parquet"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(1)
        .file_size_in_bytes(1000)
        .build()
        .unwrap()
}

/// The files of the current snapshot, the snapshots, and the snapshot log all say 400.
async fn check(catalog: &dyn Catalog) {
    let table = catalog.load_table(&table_ident()).await.unwrap();
    let total = WRITERS * APPENDS;
    assert_eq!(table.metadata.snapshots().len(), total, "snapshots");
    assert_eq!(table.metadata.last_sequence_number(), total as i64, "sequence numbers");
    let logged: HashSet<i64> = table.metadata.history().iter().map(|entry| entry.snapshot_id).collect();
    assert_eq!((logged.len(), table.metadata.history().len()), (total, total), "the snapshot log");

    let cache = MetadataCache::new(64 << 20);
    let snapshot = table.metadata.current_snapshot().unwrap();
    let list = cache.manifest_list(&table.storage, &table.metadata, snapshot).await.unwrap();
    assert!(list.entries().len() < 150, "small manifests were not merged: {}", list.entries().len());
    let mut paths = Vec::new();
    for file in list.entries() {
        let manifest = read_manifest(&table.storage, file).await.unwrap();
        paths.extend(
            manifest.entries().iter().filter(|entry| entry.is_alive()).map(|entry| entry.file_path().to_owned()),
        );
    }
    paths.sort();
    let mut wanted: Vec<_> = (0..WRITERS)
        .flat_map(|writer| (0..APPENDS).map(move |append| (writer, append)))
        .map(|(writer, append)| data_file(table.metadata.location(), writer, append).file_path().to_owned())
        .collect();
    wanted.sort();
    assert_eq!(paths, wanted, "the files of the current snapshot");
    let records = snapshot.summary().additional_properties.get("total-records").cloned();
    assert_eq!(records.as_deref(), Some(total.to_string().as_str()), "the rows of the current snapshot");
}
