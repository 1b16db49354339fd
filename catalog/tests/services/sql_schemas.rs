//! The tables of the SQL catalog as other programs make them.

use std::sync::Arc;

use polynya_catalog::contract::{Capabilities, check_catalogs};
use polynya_catalog::{Catalog, CatalogSettings, CatalogType, MetadataCache, NamespaceIdent, TableIdent, open_catalog};
use sqlx::{ConnectOptions, SqliteConnection};

/// What PyIceberg 0.11 and Java's schema version V0 make.
const WITHOUT_TYPE: &str = "
    CREATE TABLE iceberg_tables (
        catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
        metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
        PRIMARY KEY (catalog_name, table_namespace, table_name));
    CREATE TABLE iceberg_namespace_properties (
        catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
        property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key))";

struct Database {
    folder: tempfile::TempDir,
    connection: SqliteConnection,
}

impl Database {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalog.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
        Self { connection: options.connect().await.unwrap(), folder }
    }

    async fn run(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.connection).await.unwrap();
    }

    async fn catalog(&self, key: &str, name: Option<&str>) -> Arc<dyn Catalog> {
        let folder = self.folder.path().display();
        let mut settings = CatalogSettings::new(CatalogType::Sql)
            .with_uri(format!("sqlite:////{folder}/catalog.db"))
            .with_warehouse(format!("file://{folder}/warehouse"));
        settings.name = name.map(str::to_owned);
        open_catalog(key, &settings, &MetadataCache::new(1 << 20)).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_without_a_type_column_do_everything() {
    let mut database = Database::new().await;
    database.run(WITHOUT_TYPE).await;
    check_catalogs(database.catalog("lake", None).await, database.catalog("lake", None).await, Capabilities::ALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_no_tables() {
    let mut database = Database::new().await;
    let catalog = database.catalog("lake", None).await;
    catalog.create_namespace(&NamespaceIdent::new("shop".to_owned()), [].into()).await.unwrap();
    database
        .run(
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
             VALUES ('lake', 'shop', 'a_view', 'x', 'VIEW'), ('lake', 'shop', 'old', 'x', NULL), ('lake', 'shop', 'new', 'x', 'TABLE')",
        )
        .await;
    let shop = NamespaceIdent::new("shop".to_owned());
    let names: Vec<String> = catalog.list_tables(&shop).await.unwrap().into_iter().map(|table| table.name).collect();
    assert_eq!(names, ["new", "old"]);
    let view = TableIdent::new(shop, "a_view".to_owned());
    assert!(matches!(catalog.drop_table(&view, false).await, Err(polynya_catalog::Error::TableNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_in_one_database_do_not_see_each_other() {
    let database = Database::new().await;
    let (one, two) = (database.catalog("one", None).await, database.catalog("two", None).await);
    let shop = NamespaceIdent::new("shop".to_owned());
    one.create_namespace(&shop, [].into()).await.unwrap();
    assert!(two.list_namespaces(None).await.unwrap().is_empty());
    let named = database.catalog("called_otherwise", Some("one")).await;
    assert_eq!(named.list_namespaces(None).await.unwrap(), [shop]);
    assert_eq!(named.name(), "called_otherwise");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_that_only_tables_or_children_imply_exist() {
    let mut database = Database::new().await;
    database.run(WITHOUT_TYPE).await;
    database
        .run(
            "INSERT INTO iceberg_tables VALUES ('lake', 'implied.by.table', 't', 'x', NULL);
             INSERT INTO iceberg_namespace_properties VALUES ('lake', 'Implied', 'exists', 'true')",
        )
        .await;
    let catalog = database.catalog("lake", None).await;
    let of = |levels: &[&str]| NamespaceIdent::from_strs(levels).unwrap();
    assert_eq!(catalog.list_namespaces(None).await.unwrap(), [of(&["Implied"]), of(&["implied"])]);
    assert_eq!(catalog.list_namespaces(Some(&of(&["implied"]))).await.unwrap(), [of(&["implied", "by"])]);
    assert!(catalog.list_namespaces(Some(&of(&["Implied"]))).await.unwrap().is_empty());
    assert!(catalog.namespace_properties(&of(&["Implied"])).await.unwrap().is_empty());
    assert!(catalog.drop_namespace(&of(&["implied"])).await.is_err());
}
