//! How rows get into tables: INSERT, CREATE TABLE AS, bulk ingest.
//!
//! ```text
//! source ─► align ─► coerce ─► partition ─► file: encode ─► upload ─► metrics ─► commit (catalog)
//! ```
//! Files are Parquet with field ids, as every reader of Iceberg expects. What a table asks for and this writer does
//! not know is an error before the first byte is written.

mod align;
mod append;
mod bound_rows;
mod coerce;
mod create_as;
mod destination;
mod encoder;
mod file;
mod ingest;
mod insert;
mod literal;
mod metrics;
mod metrics_mode;
mod partition;
mod plan;
mod properties;
mod schema;
mod turns;
mod upload;
mod value_rows;
mod writer;

pub(crate) use create_as::create_table_as;
pub(crate) use destination::create_empty;
pub use ingest::IngestMode;
pub(crate) use ingest::ingest;
pub(crate) use insert::{describe_insert, insert};
pub(crate) use turns::Turns;
