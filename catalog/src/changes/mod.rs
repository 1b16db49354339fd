//! Changes under way, noted in the store, so that what a process leaves behind that died in the middle of one is found and
//! removed by the next that starts, or by another.
//!
//! ```text
//! note (writing) ─► files ─► note (committing) ─► catalog ─► note removed
//! ID.json                    ID.committing.json
//! ```
//! A note is a small object in `_polynya/changes/` of the warehouse, and another one once the catalog may be asked. It names the table, the
//! folders and the id that is in the names of all files of the change. Its writer renews it while it works; a note that is not renewed, or whose process is seen to be
//! gone, is nobody's. What becomes of its files depends on how far it was:
//!
//! * **writing**: the catalog was not asked, so nothing refers to them: they are deleted.
//! * **committing**: once the catalog can no longer be carrying the request out, what the table's snapshots do not reach is deleted.
//!
//! In both cases what the table reaches stays, if it is there, and nothing is deleted while the table cannot be read.
//!
//! A process that was stopped for so long that others may have taken its note for nobody's does not commit any more.

mod log;
mod note;
mod process;
mod record;
mod strays;
mod sweep;
#[cfg(test)]
mod tests;

pub use log::ChangeLog;
pub use note::Note;
pub use record::{Change, Creates, created_for};
pub use sweep::{Swept, sweep};
