//! Pages between workers: who has which, and giving them; and how far a worker is, for the coordinator.
//!
//! ```text
//! a worker that misses a page                          a worker that has it
//!   known ──► summaries, a few seconds old  ◄───────── Summary: a Bloom filter of its pages
//!   get ────► the peer whose summary has it ─────────► Pages: those that it has
//!   handed over by one that drains ──────────────────► Keep: kept as if fetched
//! the coordinator, once a second ────────────────────► Progress: bytes that a query's tasks have begun to read
//! ```
//! Every call shows the cluster's secret. Nothing depends on an answer: what peers do not give is read from the store.

mod call;
mod directory;
mod messages;
mod service;
mod summary;

pub(super) use call::progress_of;
pub(super) use directory::{Directory, Known};
pub(super) use service::PeerService;
