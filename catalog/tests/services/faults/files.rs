//! Files that are damaged or missing.

use std::sync::Arc;

use polynya_catalog::spec::{DataContentType, DataFileBuilder, DataFileFormat, Struct};
use polynya_catalog::{
    Catalog, CatalogSettings, CatalogType, ChangeSet, CommitOptions, Error, MetadataCache, commit, open_catalog,
    read_manifest,
};

use super::{error_within, open, orders, with_orders};

fn settings(folder: &std::path::Path) -> CatalogSettings {
    let folder = folder.display();
    CatalogSettings::new(CatalogType::Sql)
        .with_uri(format!("sqlite:///{folder}/catalog.db"))
        .with_warehouse(format!("file://{folder}/warehouse"))
}

async fn catalog(folder: &std::path::Path) -> Arc<dyn Catalog> {
    let catalog = open(&settings(folder)).await;
    let table = with_orders(catalog.as_ref()).await;
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{}/data/a.parquet", table.metadata.location()))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::empty())
        .partition_spec_id(0)
        .record_count(1)
        .file_size_in_bytes(1000)
        .build()
        .unwrap();
    commit(catalog.as_ref(), &table, ChangeSet::append(vec![file]), &CommitOptions::default()).await.unwrap();
    catalog
}

#[tokio::test]
async fn metadata_that_is_not_json_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let table = catalog(folder.path()).await.load_table(&orders()).await.unwrap();
    for bytes in ["<html>sorry</html>", "", "{\"format-version\": 2}", "\u{1f}\u{8b}broken"] {
        table.storage.write(&table.metadata_location, bytes.into()).await.unwrap();
        // Another catalog, which has not read the file yet.
        let error = error_within(5, open(&settings(folder.path())).await.load_table(&orders()), "").await;
        assert!(
            matches!(error, Error::Malformed { .. }) && error.to_string().contains(&table.metadata_location),
            "{error}"
        );
    }
    table.storage.delete(&table.metadata_location).await.unwrap();
    let error = error_within(5, open(&settings(folder.path())).await.load_table(&orders()), "").await;
    assert!(matches!(error, Error::FileNotFound { .. }), "{error:?}");
}

#[tokio::test]
async fn a_truncated_manifest_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let table = catalog(folder.path()).await.load_table(&orders()).await.unwrap();
    let snapshot = table.metadata.current_snapshot().unwrap();
    let cache = MetadataCache::new(1 << 20);
    let list = cache.manifest_list(&table.storage, &table.metadata, snapshot).await.unwrap();
    let manifest = &list.entries()[0];
    let bytes = table.storage.read(&manifest.manifest_path).await.unwrap();
    table.storage.write(&manifest.manifest_path, bytes.slice(..bytes.len() / 2)).await.unwrap();
    let error = error_within(5, read_manifest(&table.storage, manifest), "").await;
    assert!(matches!(error, Error::Malformed { .. }) && error.to_string().contains(&manifest.manifest_path), "{error}");

    let bytes = table.storage.read(snapshot.manifest_list()).await.unwrap();
    table.storage.write(snapshot.manifest_list(), bytes.slice(..bytes.len() - 20)).await.unwrap();
    let fresh = MetadataCache::new(1 << 20);
    let error = error_within(5, fresh.manifest_list(&table.storage, &table.metadata, snapshot), "").await;
    assert!(
        matches!(error, Error::Malformed { .. }) && error.to_string().contains(snapshot.manifest_list()),
        "{error}"
    );
}

#[tokio::test]
async fn wrong_settings_are_named_when_the_catalog_is_opened() {
    let cache = MetadataCache::new(0);
    for (settings, part) in [
        (CatalogSettings::new(CatalogType::Sql), "catalog.lake.uri"),
        (CatalogSettings::new(CatalogType::Sql).with_uri("mysql://ann:hunter2@db/lake"), "catalog.lake.uri"),
        (CatalogSettings::new(CatalogType::Rest), "catalog.lake.uri"),
        (CatalogSettings::new(CatalogType::Rest).with_uri("ftp://ann:hunter2@h"), "catalog.lake.uri"),
    ] {
        let error = error_within(1, open_catalog("lake", &settings, &cache), "hunter2").await;
        assert!(matches!(error, Error::Settings { .. }) && error.to_string().contains(part), "{error}");
    }
    let catalog = open(&CatalogSettings::new(CatalogType::Sql).with_uri("sqlite::memory:")).await;
    catalog.create_namespace(&orders().namespace, [].into()).await.unwrap();
    let error = error_within(1, catalog.create_table(&orders(), super::new_table()), "").await;
    assert!(error.to_string().contains("catalog.lake.warehouse"), "{error}");
}
