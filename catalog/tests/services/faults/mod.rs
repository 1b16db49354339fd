//! What goes wrong with catalogs and stores: each fault is a clear error within seconds, and never a wrong answer.

mod files;
mod postgres;
mod rest;
mod seaweed;
mod sqlite;
mod stand_in;
mod tokens;
mod vended;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polynya_catalog::spec::{FormatVersion, NestedField, PrimitiveType, Schema, Type};
use polynya_catalog::{
    Catalog, CatalogSettings, Error, MetadataCache, NamespaceIdent, NewTable, Table, TableIdent, TableUpdate,
    open_catalog,
};

async fn open(settings: &CatalogSettings) -> Arc<dyn Catalog> {
    open_catalog("lake", settings, &MetadataCache::new(8 << 20)).await.unwrap()
}

fn orders() -> TableIdent {
    TableIdent::new(NamespaceIdent::new("shop".to_owned()), "orders".to_owned())
}

fn new_table() -> NewTable {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into();
    NewTable {
        schema: Schema::builder().with_fields([id]).build().unwrap(),
        partition_spec: None,
        sort_order: None,
        location: None,
        properties: HashMap::new(),
        format_version: FormatVersion::V2,
    }
}

async fn with_orders(catalog: &dyn Catalog) -> Table {
    catalog.create_namespace(&orders().namespace, HashMap::new()).await.unwrap();
    catalog.create_table(&orders(), new_table()).await.unwrap()
}

fn set(key: &str) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties { updates: HashMap::from([(key.to_owned(), "1".to_owned())]) }]
}

/// Awaits an error that comes in time, and checks that no part of it holds the secret.
async fn error_within<T>(seconds: u64, work: impl Future<Output = polynya_catalog::Result<T>>, secret: &str) -> Error {
    let begun = Instant::now();
    let result = tokio::time::timeout(Duration::from_secs(seconds), work).await.expect("no error in time");
    let Err(error) = result else { panic!("it succeeded") };
    println!("after {:.1} s: {}", begun.elapsed().as_secs_f64(), with_sources(&error));
    let shown = format!("{} {error:?}", with_sources(&error));
    assert!(secret.is_empty() || !shown.contains(secret), "the secret is shown: {shown}");
    error
}

fn with_sources(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", with_sources(source)),
        None => error.to_string(),
    }
}
