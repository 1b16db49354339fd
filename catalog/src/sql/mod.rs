//! The SQL catalog: names and pointers in the tables that PyIceberg and Java's JdbcCatalog share.
//!
//! SQLite and PostgreSQL. A commit is a compare-and-swap on `metadata_location` in a transaction of its own; what is
//! said to have failed did not happen, and what may have happened is said to be unknown. The control database is reached in the
//! same way.

mod address;
mod control;
mod database;
mod pointers;
mod postgres;
mod sqlite;

pub(crate) use address::Address;
pub use control::{ControlChange, ControlDatabase};
pub(crate) use pointers::SqlPointers;
