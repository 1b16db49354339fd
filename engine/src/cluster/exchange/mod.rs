//! Rows between stages: a partition of a task's rows is one call, and one HTTP/2 stream with a window of its own.
//!
//! ```text
//! the process that takes a partition                       the worker that has the task
//!   take: a call, once the partition is polled ──────────► give: executes the partition, in a task of its own
//!   batches ◄──────────────────────────────── frames ────  Arrow IPC, as many ahead as fit in the window
//!   the end ◄───────────────────────────────── End ──────  how many rows there were, or the error
//! ```
//! **Rows that end without an end mark are an error**, whatever ended them: a panic, a connection, a process, an evicted task.
//! datafusion-distributed's own transport ends a stream in the same way whether its producer is done or has panicked.
//!
//! No partition waits for another: each has its window, and who is not read holds up nobody but itself. Who wants no more
//! closes its own side of the call and reads what is on its way: streams that are reset by the hundred, as a `LIMIT` would, end a
//! connection (h2 0.4).

mod failure;
mod give;
mod messages;
mod take;
#[cfg(test)]
mod tests;

pub(super) use failure::{again, told_by};
pub(super) use give::ExchangeService;
pub(super) use take::{Lost, take};
