//! [`Pointers`] in `iceberg_tables` and `iceberg_namespace_properties`.
//!
//! Both versions of Java's schema are understood: V0, without a type column, and V1, whose `iceberg_type` tells tables
//! from views; PyIceberg's is V0. Missing tables are created as V1, which all of them can use.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::{NamespaceIdent, TableIdent};
use tokio::sync::OnceCell;

use super::address::Address;
use super::database::{Database, Failure, Row, Statement};
use crate::pointer::{Pointers, Renamed};
use crate::{Error, Result};

/// The property that stands for a namespace without properties, in Java and PyIceberg alike.
const EXISTS: &str = "exists";

const CREATE_TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (\
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL, \
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5), \
    PRIMARY KEY (catalog_name, table_namespace, table_name))";
const CREATE_PROPERTIES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (\
    catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL, \
    property_value VARCHAR(1000), PRIMARY KEY (catalog_name, namespace, property_key))";
const NAMESPACES: &str = "SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1 \
    UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1";
const PROPERTIES: &str = "SELECT property_key, property_value FROM iceberg_namespace_properties \
    WHERE catalog_name = $1 AND namespace = $2";
const ADD_PROPERTY: &str = "INSERT INTO iceberg_namespace_properties \
    (catalog_name, namespace, property_key, property_value) VALUES ($1, $2, $3, $4)";
const REMOVE_NAMESPACE: &str = "DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2";

/// The statements on `iceberg_tables`, for one version of its schema.
struct Statements {
    tables: &'static str,
    get: &'static str,
    add: &'static str,
    swap: &'static str,
    remove: &'static str,
    rename: &'static str,
}

/// The same statements with and without a condition on `iceberg_type`.
macro_rules! statements {
    ($only_tables:literal, $type_column:literal, $type_value:literal) => {
        Statements {
            tables: concat!(
                "SELECT table_name FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2",
                $only_tables
            ),
            get: concat!(
                "SELECT metadata_location FROM iceberg_tables \
                 WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3",
                $only_tables
            ),
            add: concat!(
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location",
                $type_column,
                ") VALUES ($1, $2, $3, $4",
                $type_value,
                ")"
            ),
            swap: concat!(
                "UPDATE iceberg_tables SET metadata_location = $4, previous_metadata_location = $5 \
                 WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $5",
                $only_tables
            ),
            remove: concat!(
                "DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3",
                $only_tables
            ),
            rename: concat!(
                "UPDATE iceberg_tables SET table_namespace = $4, table_name = $5 \
                 WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3",
                $only_tables
            ),
        }
    };
}

/// Without a type column.
static V0: Statements = statements!("", "", "");
/// With one; rows of programs that do not know it have none.
static V1: Statements =
    statements!(" AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)", ", iceberg_type", ", 'TABLE'");

/// Names and pointers of one `catalog_name` in a database.
pub(crate) struct SqlPointers {
    key: String,
    catalog_name: String,
    /// Of the database.
    identity: String,
    service: String,
    database: Database,
    statements: OnceCell<&'static Statements>,
}

impl SqlPointers {
    /// `key` is what users call the catalog, `catalog_name` what its rows do. Connects at its first use.
    pub(crate) fn new(key: &str, catalog_name: &str, address: &Address) -> Self {
        Self {
            key: key.to_owned(),
            catalog_name: catalog_name.to_owned(),
            identity: address.identity(),
            service: format!("catalog {key} ({address})"),
            database: Database::new(address),
            statements: OnceCell::new(),
        }
    }

    fn explain(&self, failure: Failure, action: String) -> Error {
        failure.explain(&self.service, action, &format!("catalog.{}.uri", self.key))
    }

    /// A change of one row is known to have failed, or may have happened.
    fn explain_change(&self, failure: Failure, action: String, table: &TableIdent) -> Error {
        match failure {
            Failure::Unknown(source) => Error::CommitUnknown { table: table.to_string(), source },
            failure => self.explain(failure, action),
        }
    }

    /// The statements for the schema that is there; creates the tables if there are none.
    async fn statements(&self) -> Result<&'static Statements> {
        let found = self.statements.get_or_try_init(async || {
            let explain = |failure| self.explain(failure, "looking for its tables".to_owned());
            let mut columns = self.database.fetch(&self.database.columns()).await.map_err(explain)?;
            if columns.is_empty() {
                let create = [Statement::new(CREATE_TABLES, []), Statement::new(CREATE_PROPERTIES, [])];
                match self.database.execute(&create).await {
                    // Two programs may create them at once; PostgreSQL then says so in one of them.
                    Ok(_) | Err(Failure::Duplicate) => {}
                    Err(failure) => return Err(self.explain(failure, "creating its tables".to_owned())),
                }
                columns = self.database.fetch(&self.database.columns()).await.map_err(explain)?;
            }
            let typed = columns.iter().flatten().flatten().any(|column| column.eq_ignore_ascii_case("iceberg_type"));
            Ok(if typed { &V1 } else { &V0 })
        });
        found.await.copied()
    }

    async fn fetch(&self, statement: Statement, action: impl FnOnce() -> String) -> Result<Vec<Row>> {
        self.database.fetch(&statement).await.map_err(|failure| self.explain(failure, action()))
    }

    /// How a namespace is stored: its levels joined with dots.
    fn stored(&self, namespace: &NamespaceIdent) -> Result<String> {
        match namespace.iter().find(|level| level.is_empty() || level.contains('.')) {
            None => Ok(namespace.join(".")),
            Some(level) => Err(Error::invalid(format!(
                "schema name \"{level}\" cannot be used in catalog {}: its levels are separated by dots and are not empty",
                self.key
            ))),
        }
    }

    fn row_of(&self, table: &TableIdent) -> Result<[String; 3]> {
        Ok([self.catalog_name.clone(), self.stored(&table.namespace)?, table.name.clone()])
    }
}

#[async_trait]
impl Pointers for SqlPointers {
    async fn namespaces(&self) -> Result<Vec<NamespaceIdent>> {
        self.statements().await?;
        let query = Statement::new(NAMESPACES, [&self.catalog_name]);
        let rows = self.fetch(query, || "listing its schemas".to_owned()).await?;
        let names = rows.into_iter().flatten().flatten();
        Ok(names.filter_map(|name| NamespaceIdent::from_strs(name.split('.')).ok()).collect())
    }

    async fn properties(&self, namespace: &NamespaceIdent) -> Result<HashMap<String, String>> {
        self.statements().await?;
        let query = Statement::new(PROPERTIES, [&self.catalog_name, &self.stored(namespace)?]);
        let rows = self.fetch(query, || format!("reading the properties of schema {namespace}")).await?;
        let pairs = rows.into_iter().filter_map(|row| match <[_; 2]>::try_from(row) {
            Ok([Some(key), Some(value)]) if key != EXISTS => Some((key, value)),
            _ => None,
        });
        Ok(pairs.collect())
    }

    async fn add_namespace(&self, namespace: &NamespaceIdent, properties: &HashMap<String, String>) -> Result<bool> {
        self.statements().await?;
        let stored = self.stored(namespace)?;
        let row = |key: &str, value: &str| Statement::new(ADD_PROPERTY, [&self.catalog_name, &stored, key, value]);
        // Always there, so that of two programs that create the same namespace one sees the other.
        let mut rows = vec![row(EXISTS, "true")];
        rows.extend(properties.iter().filter(|(key, _)| *key != EXISTS).map(|(key, value)| row(key, value)));
        match self.database.execute(&rows).await {
            Ok(_) => Ok(true),
            Err(Failure::Duplicate) => Ok(false),
            Err(failure) => Err(self.explain(failure, format!("creating schema {namespace}"))),
        }
    }

    async fn remove_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.statements().await?;
        let delete = Statement::new(REMOVE_NAMESPACE, [&self.catalog_name, &self.stored(namespace)?]);
        let explain = |failure| self.explain(failure, format!("dropping schema {namespace}"));
        self.database.execute(&[delete]).await.map(drop).map_err(explain)
    }

    async fn tables(&self, namespace: &NamespaceIdent) -> Result<Vec<String>> {
        let query = Statement::new(self.statements().await?.tables, [&self.catalog_name, &self.stored(namespace)?]);
        let rows = self.fetch(query, || format!("listing the tables of schema {namespace}")).await?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    async fn get(&self, table: &TableIdent) -> Result<Option<String>> {
        let [catalog, namespace, name] = self.row_of(table)?;
        let query = Statement::new(self.statements().await?.get, [&catalog, &namespace, &name]);
        let rows = self.fetch(query, || format!("looking up table {table}")).await?;
        match rows.into_iter().next() {
            None => Ok(None),
            Some(row) => row.into_iter().next().flatten().map(Some).ok_or_else(|| {
                Error::invalid(format!(
                    "table {table} has no metadata_location in {}: drop it or repair its row",
                    self.service
                ))
            }),
        }
    }

    async fn add(&self, table: &TableIdent, location: &str) -> Result<bool> {
        let [catalog, namespace, name] = self.row_of(table)?;
        let insert = Statement::new(self.statements().await?.add, [&catalog, &namespace, &name, location]);
        match self.database.execute(&[insert]).await {
            Ok(_) => Ok(true),
            Err(Failure::Duplicate) => Ok(false),
            Err(failure) => Err(self.explain_change(failure, format!("creating table {table}"), table)),
        }
    }

    async fn swap(&self, table: &TableIdent, from: &str, to: &str) -> Result<bool> {
        let [catalog, namespace, name] = self.row_of(table)?;
        let update = Statement::new(self.statements().await?.swap, [&catalog, &namespace, &name, to, from]);
        match self.database.execute(&[update]).await {
            Ok(counts) => Ok(counts == [1]),
            Err(failure) => Err(self.explain_change(failure, format!("committing to table {table}"), table)),
        }
    }

    async fn remove(&self, table: &TableIdent) -> Result<bool> {
        let [catalog, namespace, name] = self.row_of(table)?;
        let delete = Statement::new(self.statements().await?.remove, [&catalog, &namespace, &name]);
        match self.database.execute(&[delete]).await {
            Ok(counts) => Ok(counts == [1]),
            Err(failure) => Err(self.explain(failure, format!("dropping table {table}"))),
        }
    }

    async fn rename(&self, from: &TableIdent, to: &TableIdent) -> Result<Renamed> {
        let [catalog, namespace, name] = self.row_of(from)?;
        let [_, new_namespace, new_name] = self.row_of(to)?;
        let values = [&*catalog, &*namespace, &*name, &*new_namespace, &*new_name];
        match self.database.execute(&[Statement::new(self.statements().await?.rename, values)]).await {
            Ok(counts) if counts == [1] => Ok(Renamed::Done),
            Ok(_) => Ok(Renamed::Missing),
            Err(Failure::Duplicate) => Ok(Renamed::Taken),
            Err(failure) => Err(self.explain(failure, format!("renaming table {from}"))),
        }
    }

    fn identity(&self) -> String {
        format!("{} {}", self.identity, self.catalog_name)
    }

    fn settles_after(&self) -> Duration {
        self.database.settles_after()
    }
}

impl std::fmt::Debug for SqlPointers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlPointers").field("service", &self.service).field("catalog_name", &self.catalog_name).finish()
    }
}
