//! A SQLite file that is something else, is locked, or cannot be written.

use polynya_catalog::{CatalogSettings, CatalogType, Error};

use super::{error_within, open, orders, set, with_orders};

fn settings(folder: &std::path::Path) -> CatalogSettings {
    let folder = folder.display();
    CatalogSettings::new(CatalogType::Sql)
        .with_uri(format!("sqlite:///{folder}/catalog.db"))
        .with_warehouse(format!("file://{folder}/warehouse"))
}

#[tokio::test]
async fn a_file_that_is_no_database_is_a_wrong_setting() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("catalog.db"),
        "this is not a database, but it is long enough to look at".repeat(40),
    )
    .unwrap();
    let error = error_within(8, open(&settings(folder.path())).await.list_namespaces(None), "").await;
    assert!(matches!(error, Error::Settings { .. }) && error.to_string().contains("catalog.db"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let below = settings(&folder.path().join("file"));
    let error = error_within(8, open(&below).await.list_namespaces(None), "").await;
    assert!(error.to_string().contains("catalog.db"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_stays_locked_leaves_the_commit_undone_and_no_file_behind() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = open(&settings(folder.path())).await;
    let table = with_orders(catalog.as_ref()).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("catalog.db"));
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let error = error_within(15, catalog.commit_table(&orders(), vec![], set("a")), "").await;
    assert!(matches!(error, Error::NotCommitted { .. }), "{error:?}");
    let metadata = folder.path().join("warehouse/shop/orders/metadata");
    assert_eq!(std::fs::read_dir(metadata).unwrap().count(), 1, "the metadata file of the failed commit is left");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let committed = catalog.commit_table(&orders(), vec![], set("a")).await.unwrap();
    assert_ne!(committed.metadata_location, table.metadata_location);
}
