//! Every catalog passes the contract suite: in memory, and on real SQLite, PostgreSQL and SeaweedFS.

use std::sync::Arc;

use polynya_catalog::contract::{Capabilities, check_catalog, check_catalogs};
use polynya_catalog::testing::{PostgresServer, SeaweedServer};
use polynya_catalog::{Catalog, CatalogSettings, CatalogType, MetadataCache, open_catalog};

/// Where SeaweedFS's REST catalog differs from the specification; docs/catalogs.md tells users.
const SEAWEEDFS: Capabilities = Capabilities {
    any_names: false,
    exclusive_creation: false,
    drop_keeps_files: false,
    register: false,
    compressed_metadata: false,
    ..Capabilities::ALL
};

async fn open(settings: &CatalogSettings) -> Arc<dyn Catalog> {
    open_catalog("lake", settings, &MetadataCache::new(8 << 20)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory() {
    check_catalog(open(&CatalogSettings::new(CatalogType::Memory)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_in_memory() {
    let settings = CatalogSettings::new(CatalogType::Sql).with_uri("sqlite::memory:").with_warehouse("memory://w");
    check_catalog(open(&settings).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_file_seen_by_two_catalogs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let settings = CatalogSettings::new(CatalogType::Sql)
        .with_uri(format!("sqlite:///{path}/new/catalog.db"))
        .with_warehouse(format!("file://{path}/warehouse"));
    check_catalogs(open(&settings).await, open(&settings).await, Capabilities::ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_and_s3_seen_by_two_catalogs() {
    let (postgres, seaweed) = tokio::join!(PostgresServer::start(), SeaweedServer::start());
    let (postgres, seaweed) = (postgres.unwrap(), seaweed.unwrap());
    let settings = seaweed.sql_settings(&postgres.create_database("contract").await.unwrap(), "contract");
    check_catalogs(open(&settings).await, open(&settings).await, Capabilities::ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_of_seaweedfs_seen_by_two_catalogs() {
    let seaweed = SeaweedServer::start().await.unwrap();
    let settings = seaweed.rest_settings();
    check_catalogs(open(&settings).await, open(&settings).await, SEAWEEDFS).await;
}
