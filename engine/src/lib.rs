//! How SQL runs on Iceberg tables.

pub mod types;
