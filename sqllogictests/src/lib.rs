//! Runs the sqllogictests of `slt/<topic>/*.slt` against a Polynya server over Flight SQL.
//!
//! In: the files, and a server (in this process, or at a URL). Out: which files agree. Results are compared as text; how each
//! type of value is written is [`render`]'s decision and README.md's promise. Nothing here knows the engine: what a client cannot see
//! cannot be tested here.

mod columns;
mod database;
mod render;
mod server;
mod suite;

pub use columns::Column;
pub use database::{Database, DatabaseError};
pub use render::render_cell;
pub use server::{LocalServer, Workers};
pub use suite::{FileOutcome, Suite};
