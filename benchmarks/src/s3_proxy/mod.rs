//! An HTTP/1.1 reverse proxy that makes a local S3 server feel like a remote one: slower, narrower, at times broken, and counted.
//!
//! ```text
//!  client ──► connection ──► request ─────► dice ──────► exchange ─────────────► S3 server
//!             heads, one     kind, class    which fault  latency, pooled upstream
//!             after another  of object      it meets     bodies in pieces, paced, cut or stalled
//! ```
//! Heads pass as they came, byte for byte, so that signatures over `Host` and the path stay valid; only the fault `ignore_range`
//! changes them. Bodies are never held: what a side does not read, the other cannot send. HTTP only, to one server.
//!
//! [`Proxy::start`] runs one in this process; `polynya-bench s3-proxy` runs one as a command (docs/s3-proxy.md).

mod answer;
mod connection;
mod control;
mod counters;
mod dice;
mod error;
mod exchange;
mod framing;
mod head;
mod padding;
mod proxy;
mod quantity;
mod refusal;
mod request;
mod settings;
mod transfer;
mod upstream;
mod wire;

pub use counters::{ClassCounters, Counters};
pub use error::{Error, Result};
pub use proxy::Proxy;
pub use quantity::{parse_bandwidth, parse_duration_ms, parse_rate};
pub use settings::{FaultScope, Faults, ProxyOptions};
