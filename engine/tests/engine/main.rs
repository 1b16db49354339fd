//! The engine on real tables in a memory catalog: planning, memory, types that meet on the way.

#![allow(missing_docs, clippy::unwrap_used)]

mod access;
mod admission;
mod data_files;
mod definitions;
mod inserting;
mod lake;
mod long_statements;
mod many_files;
mod memory;
mod misbehaving_store;
mod names;
mod planning;
mod progress;
mod reading_ahead;
mod stopping;
mod stub_store;
