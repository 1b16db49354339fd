//! TPC-H: the tables, the 22 queries, and their answers.
//!
//! ```text
//! tpchgen ─► batches ─┬─► generate ─► Parquet files
//!                     └─► load ─────► Flight SQL ingest ─► tables
//! queries ─► run ─► rows ─► answer (compared) ─► report
//! ```
//!
//! The specification is at <https://www.tpc.org/tpch/>. The figures are no TPC results: the harness follows the queries and
//! the data, not the rules of an audited run.

pub mod answer;
mod batches;
pub mod generate;
pub mod load;
pub mod query;
pub mod report;
pub mod run;
pub mod table;

pub use generate::{GenerateOptions, generate};
pub use load::{LoadOptions, LoadReport, OnExisting, load};
pub use report::Report;
pub use run::{RunOptions, run};
pub use table::TpchTable;
