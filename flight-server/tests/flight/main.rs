//! The server as clients meet it: a real listener over an engine with a memory catalog, and arrow-flight's own clients.

mod cancelling;
mod harness;
mod ingesting;
mod limits;
mod metadata;
mod prepared;
mod sessions;
mod statements;
mod stopping;
