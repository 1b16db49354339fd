//! Statements that change something: each runs in a task of its own, to one of two ends, whatever becomes of its client.
//!
//! ```text
//!            client gone, deadline, shutdown
//!                      │
//!  open ───────────────┴──► given up: it stops, what it wrote is deleted, it has never happened
//!   │ ▲
//!   │ └── another writer was first
//!   ▼
//!  committing ─► its end, whoever waits for it
//! ```
//! [`Change`] is one statement's place in this picture, [`Changes`] runs them and waits for them when the process ends, and
//! [`Unfinished`] knows the files that are in no snapshot yet. What a process that was killed leaves is found by [`Sweeper`].

mod point;
mod run;
mod sweep;
mod unfinished;

pub(crate) use point::Change;
pub(crate) use run::Changes;
pub(crate) use sweep::Sweeper;
pub(crate) use unfinished::Unfinished;
