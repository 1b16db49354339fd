//! Polynya's Flight SQL server, and what the `polynya` binary is made of.
//!
//! In: SQL and bulk data over Arrow Flight SQL. Out: calls of [`polynya_engine::Engine`], and its answers as streams.
//! The library exists so that tests, the demo and the shell can run a server in their own process ([`Server::bind`]).

// The futures of a query are states within states; the release profile looks through all of them.
#![recursion_limit = "256"]

mod activity;
mod auth;
pub mod cli;
mod door;
mod metrics;
mod polls;
mod prepared;
mod quota;
mod results;
mod server;
mod service;
mod sessions;
pub mod settings;
mod shell;
mod status;
mod tls;
mod traces;
mod wire;

pub use metrics::MetricsServer;
pub use server::{Server, ServerError};
pub use settings::{ServerSettings, Settings};
pub use status::{QUERY_ID_TRAILER, SQLSTATE_TRAILER};
