//! Catalogs and stores against real services: SQLite, PostgreSQL, SeaweedFS. One program, whose tests mostly wait.

#![allow(missing_docs, clippy::unwrap_used)]

mod commit_outages;
mod concurrent_appends;
mod contract;
mod faults;
mod sql_schemas;
mod storage_s3;
