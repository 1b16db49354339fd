//! The server's door: who may connect, for how long without a login, and who makes way.
//!
//! ```text
//! accept ─► Visits: room? ─► TLS, in a task of its own ─► Connection, on probation ─► HTTP/2 ─► Gate: a login ─► Connection
//!              │                                               │
//!              └─ no: the oldest without a login goes          └─ late, too much, or evicted: closed
//! ```
//! A stranger, who has not logged in, costs a bounded number of connections, bytes and calls, for a bounded time. One who has
//! logged in stays for as long as the client likes, however silent. Who calls is told elsewhere (`auth`); here it only counts that
//! somebody was let in.

mod connection;
mod incoming;
mod limits;
mod timely;
mod visits;

pub(crate) use connection::Peer;
pub(crate) use incoming::incoming;
pub(crate) use limits::{Limits, raise_descriptors};
pub(crate) use timely::timely;
pub(crate) use visits::{TooMany, Visits};
