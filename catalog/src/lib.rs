//! What the tables are: Iceberg catalogs, their metadata, the stores their files live in, and commits.
//!
//! In: catalog settings and names. Out: [`Table`]s pinned to one metadata file, and new snapshots.
//! Knows no SQL and no query engine; never reads data files.

mod catalog;
mod error;

pub use catalog::{Catalog, NewTable, Table};
pub use error::{Error, Result};
/// The specification's own types (schemas, snapshots, manifests, updates), from the `iceberg` crate.
pub use iceberg::{NamespaceIdent, TableIdent, TableRequirement, TableUpdate, spec};
