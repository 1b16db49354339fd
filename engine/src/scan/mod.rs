//! From a pinned table to rows: which files, which parts of them, and how their columns become the table's.
//!
//! ```text
//! provider ─► planning ─► pruning ─► splits ─► source ─► decoded columns, or DataFusion's Parquet decoder ─► batches
//!                │           │                    │
//!         manifest cache  statistics      schema mapping by field id, defaults, partition constants
//! ```

mod bucket;
mod canonical_columns;
mod codec;
#[cfg(test)]
mod codec_tests;
mod containers;
mod decoded_scan;
mod defaults;
mod file;
mod foresight;
mod literals;
mod manifest;
mod manifest_cache;
mod manifest_list;
mod named;
mod opened;
mod partition_bounds;
mod pieces;
mod planning;
mod provider;
mod pruning;
mod row_group;
mod schema_mapping;
mod second_reading;
mod source;
mod splits;
mod statistics;
mod suspect;

use datafusion::arrow::datatypes::Field;

pub use codec::ScanCodec;
pub(crate) use codec::iceberg_scan;
pub(crate) use file::IcebergFile;
pub(crate) use foresight::Foresight;
pub(crate) use manifest_cache::ManifestCache;
pub(crate) use pieces::{bytes_to_read, piece_bytes};
pub(crate) use provider::{IcebergTableProvider, ScanCaches};
pub(crate) use schema_mapping::ColumnMapping;
pub(crate) use second_reading::damaged_file;
pub use source::IcebergSource;
pub(crate) use splits::balance;

/// The Iceberg field id of an Arrow field, as `types::arrow_schema` and Parquet readers record it.
pub(crate) fn field_id(field: &Field) -> Option<i32> {
    field.metadata().get(crate::types::FIELD_ID_KEY)?.parse().ok()
}
