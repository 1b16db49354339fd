//! A table of very many data files, by metadata alone: planning never opens them.
//!
//! `many (id BIGINT, day DATE, note VARCHAR)`, partitioned by `day`: one manifest a day, ids ascending over the files.

use std::collections::HashMap;
use std::path::Path;

use polynya_catalog::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, Struct};
use polynya_catalog::{CatalogSettings, CatalogType, ChangeSet, CommitOptions, NamespaceIdent, TableIdent, commit};
use polynya_engine::{Engine, Session, Settings};

/// Rows in each file.
pub(crate) const ROWS: i64 = 1_000;

/// Settings of a catalog `lake` in a folder.
pub(crate) fn settings(folder: &Path) -> Settings {
    let path = folder.display();
    let catalog = CatalogSettings::new(CatalogType::Sql)
        .with_uri(format!("sqlite:///{path}/catalog.db"))
        .with_warehouse(format!("file://{path}/warehouse"));
    let mut settings = Settings { default_schema: Some("s".to_owned()), ..Settings::default() };
    settings.catalog.insert("lake".to_owned(), catalog);
    settings
}

/// Makes the table, with `files` files in each of `manifests` manifests.
pub(crate) async fn create(folder: &Path, manifests: i32, files: i32) {
    let engine = Engine::start(settings(folder)).await.unwrap();
    let session = engine.session("default", "test");
    run(&engine, &session, "CREATE SCHEMA s").await;
    let columns = "id BIGINT NOT NULL, day DATE NOT NULL, note VARCHAR";
    let properties = "\"commit.manifest-merge.enabled\" = 'false'";
    run(&engine, &session, &format!("CREATE TABLE many ({columns}) PARTITIONED BY (day) WITH ({properties})")).await;
    let catalog = engine.whole_catalog("lake").unwrap();
    let ident = TableIdent::new(NamespaceIdent::new("s".to_owned()), "many".to_owned());
    let mut table = catalog.load_table(&ident).await.unwrap();
    for day in 0..manifests {
        let location = table.metadata.location().to_owned();
        let added = (0..files).map(|file| data_file(&location, day, i64::from(day * files + file))).collect();
        table = commit(catalog.as_ref(), &table, ChangeSet::append(added), &CommitOptions::default()).await.unwrap();
    }
}

async fn run(engine: &std::sync::Arc<Engine>, session: &Session, sql: &str) {
    engine.query(sql, session).await.unwrap();
}

fn data_file(location: &str, day: i32, number: i64) -> DataFile {
    let (first, last) = (number * ROWS, (number + 1) * ROWS - 1);
    let bounds =
        |id: i64, note: &str| HashMap::from([(1, Datum::long(id)), (2, Datum::date(day)), (3, Datum::string(note))]);
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("{location}/data/day={day}/{number:08}.parquet"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::date(day))]))
        .partition_spec_id(0)
        .record_count(ROWS as u64)
        .file_size_in_bytes(64 << 20)
        .null_value_counts(HashMap::from([(1, 0), (2, 0), (3, 10)]))
        .lower_bounds(bounds(first, "aardvark"))
        .upper_bounds(bounds(last, "zebra"))
        .build()
        .unwrap()
}
