//! What there is to query: catalogs, schemas, tables, table types, keys.
//!
//! In: Flight SQL's metadata commands. Out: one batch each, with exactly the schema that the protocol gives them. Filters
//! are applied before catalogs are asked, so that a narrow question costs few requests.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::metadata::{GetCatalogsBuilder, GetDbSchemasBuilder, GetTablesBuilder};
use arrow_flight::sql::{Command, CommandGetDbSchemas, CommandGetTables};
use futures::{StreamExt, TryStreamExt, stream};
use polynya_catalog::{Catalog, NamespaceIdent, TableIdent};
use polynya_engine::{Access, Error, Session};
use tonic::{Code, Status};

use super::column_notes::{Origin, noted};
use super::{Inner, not_offered};
use crate::status::{chain, engine_status, flight_status, status};
use crate::wire::wire_schema;

/// Ids and table types in one call: Flight SQL has some hundred infos.
const LIST_MAX: usize = 10_000;
/// Letters of a pattern for names.
const PATTERN_BYTES_MAX: usize = 4096;

/// The only type of table there is.
const TABLE: &str = "TABLE";
/// How many catalog requests run at once for one call.
const REQUESTS_AT_ONCE: usize = 16;

impl Inner {
    /// The schema of a metadata command's result; none if the command is not one.
    pub(super) fn metadata_schema(&self, command: &Command) -> Option<SchemaRef> {
        Some(match command {
            Command::CommandGetCatalogs(_) => GetCatalogsBuilder::new().schema(),
            Command::CommandGetDbSchemas(command) => GetDbSchemasBuilder::from(command.clone()).schema(),
            Command::CommandGetTables(command) => GetTablesBuilder::from(command.clone()).schema(),
            Command::CommandGetTableTypes(_) => table_types().schema(),
            Command::CommandGetSqlInfo(_) => self.sql_info.schema(),
            Command::CommandGetXdbcTypeInfo(_) => self.type_info.schema(),
            Command::CommandGetPrimaryKeys(_) => primary_keys_schema(),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => foreign_keys_schema(),
            _ => return None,
        })
    }

    /// The result of a metadata command, of what the caller sees.
    pub(super) async fn metadata(&self, command: Command, session: &Session) -> Result<RecordBatch, Status> {
        check_length(&command)?;
        let access = &self.engine.access(session).await.map_err(|error| engine_status(&error, None))?;
        match command {
            Command::CommandGetCatalogs(_) => self.catalogs(access),
            Command::CommandGetDbSchemas(command) => self.schemas(command, access).await,
            Command::CommandGetTables(command) => self.tables(command, access).await,
            Command::CommandGetTableTypes(_) => Ok(table_types()),
            Command::CommandGetSqlInfo(mut command) => {
                let mut seen = HashSet::new();
                command.info.retain(|id| seen.insert(*id));
                command.into_builder(&self.sql_info).build().map_err(flight_status)
            }
            Command::CommandGetXdbcTypeInfo(command) => {
                command.into_builder(&self.type_info).build().map_err(flight_status)
            }
            // Iceberg tables have no keys.
            Command::CommandGetPrimaryKeys(_) => Ok(RecordBatch::new_empty(primary_keys_schema())),
            Command::CommandGetExportedKeys(_)
            | Command::CommandGetImportedKeys(_)
            | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(foreign_keys_schema())),
            other => Err(not_offered(&other, "DoGet")),
        }
    }

    fn catalogs(&self, access: &Access) -> Result<RecordBatch, Status> {
        let mut builder = GetCatalogsBuilder::new();
        self.engine.visible_catalog_names(access).into_iter().for_each(|name| builder.append(name));
        builder.build().map_err(flight_status)
    }

    async fn schemas(&self, command: CommandGetDbSchemas, access: &Arc<Access>) -> Result<RecordBatch, Status> {
        let (catalog, pattern) = (command.catalog.as_deref(), command.db_schema_filter_pattern.as_deref());
        let found = self.find_schemas(catalog, pattern, access).await?;
        let mut builder = GetDbSchemasBuilder::from(command);
        for (catalog, namespace) in &found {
            builder.append(catalog.name(), dotted(namespace));
        }
        builder.build().map_err(flight_status)
    }

    async fn tables(&self, command: CommandGetTables, access: &Arc<Access>) -> Result<RecordBatch, Status> {
        let include_schema = command.include_schema;
        let wanted = command.table_types.is_empty() || command.table_types.iter().any(|kind| kind == TABLE);
        let tables = if wanted { self.find_tables(&command, access).await? } else { Vec::new() };
        let described = tables.into_iter().map(|(catalog, table)| async move {
            let schema = match include_schema {
                true => self.table_schema(&catalog, &table, access).await,
                false => Schema::empty(),
            };
            Ok::<_, Status>((catalog, table, schema))
        });
        let mut builder = GetTablesBuilder::from(command);
        for (catalog, table, schema) in a_few_at_once(described).await? {
            let namespace = dotted(table.namespace());
            builder.append(catalog, namespace, table.name(), TABLE, &schema).map_err(flight_status)?;
        }
        builder.build().map_err(flight_status)
    }

    /// The schemas of the asked catalogs, nested ones included, that match a pattern.
    async fn find_schemas(
        &self,
        catalog: Option<&str>,
        pattern: Option<&str>,
        access: &Arc<Access>,
    ) -> Result<Vec<(Arc<dyn Catalog>, NamespaceIdent)>, Status> {
        let names = self.engine.visible_catalog_names(access).into_iter();
        let names = names.filter(|name| catalog.is_none_or(|wanted| wanted == name));
        let catalogs = names.map(|name| self.engine.catalog(&name, access)).collect::<Result<Vec<_>, _>>();
        let catalogs = catalogs.map_err(|error| engine_status(&error, None))?;
        let asked = catalogs.into_iter().map(|catalog| async move {
            let namespaces = all_namespaces(catalog.as_ref()).await?;
            Ok(namespaces.into_iter().map(|namespace| (Arc::clone(&catalog), namespace)).collect::<Vec<_>>())
        });
        let found = a_few_at_once(asked).await.map_err(|error| engine_status(&Error::Catalog(error), None))?;
        let matches = |namespace: &NamespaceIdent| pattern.is_none_or(|pattern| like(pattern, &dotted(namespace)));
        Ok(found.into_iter().flatten().filter(|(_, namespace)| matches(namespace)).collect())
    }

    async fn find_tables(
        &self,
        command: &CommandGetTables,
        access: &Arc<Access>,
    ) -> Result<Vec<(String, TableIdent)>, Status> {
        let pattern = command.table_name_filter_pattern.as_deref();
        let (catalog, schemas) = (command.catalog.as_deref(), command.db_schema_filter_pattern.as_deref());
        let schemas = self.find_schemas(catalog, schemas, access).await?;
        let asked = schemas.into_iter().map(|(catalog, namespace)| async move {
            let tables = match catalog.list_tables(&namespace).await {
                // Dropped since it was listed.
                Err(polynya_catalog::Error::NamespaceNotFound { .. }) => Vec::new(),
                tables => tables?,
            };
            Ok(tables.into_iter().map(|table| (catalog.name().to_owned(), table)).collect::<Vec<_>>())
        });
        let tables = a_few_at_once(asked).await.map_err(|error| engine_status(&Error::Catalog(error), None))?;
        let matches = |table: &TableIdent| pattern.is_none_or(|pattern| like(pattern, table.name()));
        Ok(tables.into_iter().flatten().filter(|(_, table)| matches(table)).collect())
    }

    /// A table's columns as its queries give them. A table that cannot be read is listed without columns: one broken
    /// table must not hide the others from a client that draws a tree.
    async fn table_schema(&self, catalog: &str, table: &TableIdent, access: &Arc<Access>) -> Schema {
        match self.engine.table_schema(catalog, table, access).await {
            Ok(schema) => {
                let namespace = dotted(table.namespace());
                let origin = Origin { catalog, schema: &namespace, table: table.name() };
                noted(&wire_schema(&schema), Some(&origin))
            }
            Err(error) => {
                tracing::warn!(catalog, table = %table, error = chain(&error), "a table is listed without its columns");
                Schema::empty()
            }
        }
    }
}

/// Runs requests some at a time; their results in order.
async fn a_few_at_once<T, E>(requests: impl Iterator<Item = impl Future<Output = Result<T, E>>>) -> Result<Vec<T>, E> {
    // Collected first: a lazy `map` inside the stream would have to prove its closure for every lifetime.
    let requests: Vec<_> = requests.collect();
    stream::iter(requests).buffered(REQUESTS_AT_ONCE).try_collect().await
}

/// Every namespace of a catalog, parents before children.
async fn all_namespaces(catalog: &dyn Catalog) -> Result<Vec<NamespaceIdent>, polynya_catalog::Error> {
    let mut all = Vec::new();
    let mut level = catalog.list_namespaces(None).await?;
    while !level.is_empty() {
        let asked = level.iter().map(|parent| async move {
            match catalog.list_namespaces(Some(parent)).await {
                Err(polynya_catalog::Error::NamespaceNotFound { .. }) => Ok(Vec::new()),
                // A catalog without nested namespaces may refuse to be asked for them.
                Err(polynya_catalog::Error::Unsupported { .. }) => Ok(Vec::new()),
                children => children,
            }
        });
        let children = a_few_at_once(asked).await?;
        all.append(&mut level);
        level = children.into_iter().flatten().collect();
    }
    Ok(all)
}

/// A namespace as SQL names it.
fn dotted(namespace: &NamespaceIdent) -> String {
    namespace.as_ref().join(".")
}

/// Refuses what would keep a thread that serves others: these answers are made without planning, and so without its budget.
pub(super) fn check_length(command: &Command) -> Result<(), Status> {
    let too_long = |what: &str, max: usize| {
        Err(status(Code::InvalidArgument, "54000", format!("{what}: more than {max}, which no client needs"), None))
    };
    let patterns = match command {
        Command::CommandGetDbSchemas(command) => vec![&command.db_schema_filter_pattern],
        Command::CommandGetTables(command) => {
            if command.table_types.len() > LIST_MAX {
                return too_long("the number of table types asked for", LIST_MAX);
            }
            vec![&command.db_schema_filter_pattern, &command.table_name_filter_pattern]
        }
        Command::CommandGetSqlInfo(command) if command.info.len() > LIST_MAX => {
            return too_long("the number of infos asked for", LIST_MAX);
        }
        _ => return Ok(()),
    };
    match patterns.into_iter().flatten().any(|pattern| pattern.len() > PATTERN_BYTES_MAX) {
        true => too_long("the bytes of a pattern", PATTERN_BYTES_MAX),
        false => Ok(()),
    }
}

/// Whether a name matches a pattern of Flight SQL: `%` any text, `_` any character, `\` before either the character.
fn like(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // `reachable[i]`: the pattern so far matches the first `i` characters.
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let escaped = pattern[at] == '\\' && at + 1 < pattern.len();
        let token = pattern[at + usize::from(escaped)];
        at += 1 + usize::from(escaped);
        if token == '%' && !escaped {
            let first = reachable.iter().position(|matched| *matched).unwrap_or(reachable.len());
            reachable[first..].fill(true);
            continue;
        }
        for end in (1..=name.len()).rev() {
            let fits = (token == '_' && !escaped) || token == name[end - 1];
            reachable[end] = reachable[end - 1] && fits;
        }
        reachable[0] = false;
    }
    reachable[name.len()]
}

fn table_types() -> RecordBatch {
    let names: arrow::array::StringArray = vec![TABLE].into();
    let schema = Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]);
    RecordBatch::try_new(Arc::new(schema.clone()), vec![Arc::new(names)])
        .unwrap_or_else(|_| RecordBatch::new_empty(Arc::new(schema)))
}

fn text(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, nullable)
}

fn primary_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("key_name", true),
    ]))
}

fn foreign_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_sql() {
        let cases = [
            ("%", "", true),
            ("%", "anything", true),
            ("a%", "abc", true),
            ("a%", "bac", false),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("", "", true),
            ("", "a", false),
            ("line\\_item", "line_item", true),
            ("line\\_item", "lineXitem", false),
            ("100\\%", "100%", true),
            ("%é_", "caféß", true),
            ("a%b%c", "aXXbYYc", true),
            ("a%b%c", "aXXcYYb", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(like(pattern, name), expected, "{pattern} {name}");
        }
    }
}
