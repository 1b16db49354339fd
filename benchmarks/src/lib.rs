//! Polynya's benchmark harness and Flight SQL client.
//!
//! [`client`] talks to any Arrow Flight SQL server. [`tpch`] makes the TPC-H tables, loads them through a client, runs the 22
//! queries, and checks the answers. [`latency`] measures small queries; [`raw_flight`] serves what large results are
//! compared with. [`s3_proxy`] stands before an S3 server, and makes it slow, unreliable and counted.
//! [`credentials`], [`scale`] and [`progress`] serve both the harness and its callers. Nothing here knows the engine: what
//! is measured is what a user of the protocol sees.

pub mod client;
pub mod credentials;
pub mod latency;
pub mod progress;
pub mod raw_flight;
pub mod s3_proxy;
pub mod scale;
pub mod tpch;
