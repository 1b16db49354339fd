//! The server as clients meet it: a real listener over an engine with a memory catalog, and arrow-flight's own clients.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

mod auth;
mod cancelling;
mod errors;
mod grants;
mod harness;
mod ingesting;
mod issuer;
mod limits;
mod metadata;
mod mutations;
mod odbc;
mod parameters;
mod polling;
mod prepared;
mod secrets;
mod sessions;
mod statements;
mod stopping;
mod strangers;
mod timeouts;
mod tls;
mod traces;
mod wire;
mod workers;
