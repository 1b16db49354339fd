//! The suite that every catalog passes.
//!
//! Behind the feature `testing`. Each check works in namespaces of its own, changes through one catalog and looks through
//! another of the same data (or the same one), so that nothing seen is merely remembered. What a service cannot do is
//! declared, and then checked to be an error that says so: nothing is skipped.

mod commits;
mod namespaces;
mod tables;

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use iceberg::spec::{FormatVersion, NestedField, PrimitiveType, Schema, Type};
use iceberg::{NamespaceIdent, TableIdent};
use uuid::Uuid;

use crate::{Catalog, Error, NewTable, Result, Table};

/// How long one check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(120);

/// What a catalog can do. What it cannot must be refused with an error, and is checked to be.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// Tables can be renamed.
    pub rename: bool,
    /// Of several that create a table of one name at once, all but one are told that it exists.
    pub exclusive_creation: bool,
    /// Dropping a table without purge keeps its files.
    pub drop_keeps_files: bool,
    /// A metadata file can be given a name.
    pub register: bool,
    /// A table can be moved to another namespace.
    pub rename_across_namespaces: bool,
    /// Namespaces can be within namespaces.
    pub nested_namespaces: bool,
    /// Names may have letters outside ASCII, spaces and signs.
    pub any_names: bool,
    /// A table can be staged, and appear with its first snapshot.
    pub staged_creation: bool,
    /// A namespace's properties are kept.
    pub namespace_properties: bool,
    /// Dropping with purge deletes the files at once (a service may do it later).
    pub purge_at_once: bool,
    /// `write.metadata.compression-codec` is honoured.
    pub compressed_metadata: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self {
        exclusive_creation: true,
        staged_creation: true,
        drop_keeps_files: true,
        rename: true,
        register: true,
        rename_across_namespaces: true,
        nested_namespaces: true,
        any_names: true,
        namespace_properties: true,
        purge_at_once: true,
        compressed_metadata: true,
    };
}

/// Runs every check on a catalog that can do everything.
///
/// # Panics
/// Lists the checks that failed, and why.
pub async fn check_catalog(catalog: Arc<dyn Catalog>) {
    check_catalogs(Arc::clone(&catalog), catalog, Capabilities::ALL).await;
}

/// Runs every check, changing through `writer` and looking through `reader`, two catalogs of the same data.
///
/// # Panics
/// Lists the checks that failed, and why.
pub async fn check_catalogs(writer: Arc<dyn Catalog>, reader: Arc<dyn Catalog>, can: Capabilities) {
    let context = Context { writer, reader, can };
    let mut failures = Vec::new();
    macro_rules! run {
        ($($module:ident: $($check:ident),+;)+) => {
            $($(
                let name = concat!(stringify!($module), "::", stringify!($check));
                if let Err(reason) = in_time($module::$check(&context)).await {
                    failures.push(format!("{name}: {reason}"));
                }
            )+)+
        };
    }
    run! {
        namespaces:
            created_ones_are_listed,
            creating_one_twice_fails,
            properties_are_kept,
            nested_ones_are_listed_below_their_parent,
            missing_ones_are_named,
            ones_with_tables_are_not_dropped,
            ones_with_children_are_not_dropped,
            dropped_ones_are_gone,
            names_may_be_in_any_script;
        tables:
            created_ones_are_listed_and_loaded,
            creating_one_twice_fails,
            creating_one_in_a_missing_namespace_fails,
            of_concurrent_creations_exactly_one_wins,
            partitions_and_order_are_kept,
            format_versions_are_honoured,
            names_may_be_in_any_script,
            equal_names_in_two_namespaces_are_two_tables,
            missing_ones_are_named,
            dropped_ones_are_gone_and_their_names_free,
            purged_ones_leave_no_metadata,
            renamed_ones_stay_the_same_table,
            renaming_moves_between_namespaces,
            renaming_never_replaces_another,
            registered_ones_are_loaded_as_they_were,
            staged_ones_appear_with_their_first_snapshot,
            many_are_each_listed_once;
        commits:
            properties_are_set_and_removed,
            snapshots_are_added,
            content_and_columns_are_replaced_at_once,
            schemas_evolve,
            each_writes_a_new_metadata_file_and_logs_the_old,
            stale_ones_conflict_and_change_nothing,
            another_tables_uuid_conflicts,
            of_concurrent_ones_exactly_one_wins,
            impossible_updates_are_refused_and_change_nothing,
            a_loaded_table_never_changes,
            the_new_table_can_reach_its_files,
            metadata_may_be_compressed;
    }
    assert!(failures.is_empty(), "{} checks failed:\n  {}", failures.len(), failures.join("\n  "));
}

async fn in_time(check: impl Future<Output = Outcome>) -> Outcome {
    tokio::time::timeout(CHECK_TIMEOUT, check).await.unwrap_or_else(|_| Err("it took too long".to_owned()))
}

/// Why a check failed.
type Outcome<T = ()> = std::result::Result<T, String>;

/// What the checks share.
struct Context {
    writer: Arc<dyn Catalog>,
    reader: Arc<dyn Catalog>,
    can: Capabilities,
}

impl Context {
    /// A namespace that no other check or run uses.
    async fn namespace(&self) -> Outcome<NamespaceIdent> {
        let namespace = fresh_namespace();
        self.writer.create_namespace(&namespace, HashMap::new()).await.or_fail("creating a namespace")?;
        Ok(namespace)
    }

    /// A new table of two columns, in a namespace of its own.
    async fn table(&self) -> Outcome<Table> {
        let ident = TableIdent::new(self.namespace().await?, "orders".to_owned());
        self.create(&ident).await
    }

    async fn create(&self, ident: &TableIdent) -> Outcome<Table> {
        self.writer.create_table(ident, two_columns()).await.or_fail(&format!("creating {ident}"))
    }

    async fn load(&self, ident: &TableIdent) -> Outcome<Table> {
        self.reader.load_table(ident).await.or_fail(&format!("loading {ident}"))
    }
}

fn fresh_namespace() -> NamespaceIdent {
    NamespaceIdent::new(format!("contract_{}", &Uuid::new_v4().simple().to_string()[..12]))
}

/// A table to create: `id` and `note`.
fn two_columns() -> NewTable {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into();
    let note = NestedField::optional(2, "note", Type::Primitive(PrimitiveType::String)).into();
    // Two fields of different names and ids always make a schema.
    #[allow(clippy::expect_used)]
    let schema = Schema::builder().with_fields([id, note]).build().expect("two plain columns are a schema");
    NewTable {
        schema,
        partition_spec: None,
        sort_order: None,
        location: None,
        properties: HashMap::from([("owner".to_owned(), "contract".to_owned())]),
        format_version: FormatVersion::V2,
    }
}

/// Turns results into outcomes that say what was being done.
trait OrFail<T> {
    fn or_fail(self, doing: &str) -> Outcome<T>;
}

impl<T, E: Display + std::error::Error> OrFail<T> for std::result::Result<T, E> {
    fn or_fail(self, doing: &str) -> Outcome<T> {
        self.map_err(|error| format!("{doing} failed: {}", with_sources(&error)))
    }
}

fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Fails unless the condition holds.
fn ensure(condition: bool, otherwise: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(otherwise.into()) }
}

/// Fails unless the result is the error that is wanted.
fn expect_error<T>(doing: &str, result: Result<T>, wanted: impl FnOnce(&Error) -> bool) -> Outcome {
    match result {
        Ok(_) => Err(format!("{doing} succeeded")),
        Err(error) if wanted(&error) => Ok(()),
        Err(error) => Err(format!("{doing} failed with another error: {error:?}")),
    }
}
