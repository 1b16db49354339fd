//! The notes of one catalog that this process makes: where they are, and what it knows of each.
//!
//! A request that timed out may still reach the store. So a note that comes back after it was removed is known for what it is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use super::note::Note;
use super::record::{Change, Record};
use crate::Result;
use crate::storage::{Storage, is_refusal};

/// Where notes are, in the warehouse.
const FOLDER: &str = "_polynya/changes";

/// What a process knows of a note that it made itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Own {
    /// It works on the change.
    UnderWay,
    /// It has let go of the change, and does not know how that ended.
    LetGo,
    /// The change has ended and left nothing. A request that was late has brought the note back, or it could not be deleted.
    Ended,
}

/// The notes of one catalog.
pub struct ChangeLog {
    pub(super) id: Uuid,
    /// The same for all processes that use the catalog, and for no other catalog.
    pub(super) catalog: String,
    pub(super) storage: Arc<Storage>,
    pub(super) folder: String,
    /// How long after its process has died a request to the catalog may still take effect.
    pub(super) settles_after: Duration,
    /// This process's notes that were not removed, by their stems.
    own: Mutex<HashMap<String, Own>>,
    has_warned: AtomicBool,
}

impl ChangeLog {
    /// Notes of the catalog that is called so in them, at a location, usually its warehouse; none if files there are gone with the
    /// process, or it is only a name.
    pub(crate) fn of(
        catalog: String,
        location: Option<&str>,
        storage: &Arc<Storage>,
        settles_after: Duration,
    ) -> Option<Arc<Self>> {
        let folder = format!("{}/{FOLDER}", location?.trim_end_matches('/'));
        if storage.is_memory() || storage.resolve(&folder).is_err() {
            return None;
        }
        let storage = Arc::clone(storage);
        let (id, own, has_warned) = (Uuid::new_v4(), Mutex::default(), AtomicBool::new(false));
        Some(Arc::new(Self { id, catalog, storage, folder, settles_after, own, has_warned }))
    }

    /// Notes a change that is about to begin. None if the store refuses, as a table bucket does, or with rights for tables only: then
    /// the change goes on without.
    ///
    /// # Errors
    /// If the store may have the note or not: the change must not go on, since a sweep would take it for one that nobody works on.
    pub async fn note(self: &Arc<Self>, query_id: &str, change: Change) -> Result<Option<Note>> {
        let record = Record::new(&self.catalog, self.id, query_id, change);
        let stem = format!("{}/{}", self.folder, Uuid::now_v7());
        self.own.lock().insert(stem.clone(), Own::UnderWay);
        let note = Note::new(Arc::clone(self), stem.clone(), record);
        let written = match note.write(None).await {
            Err(error) if is_refusal(&error) => {
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    let folder = &self.folder;
                    tracing::warn!(folder, %error, "changes cannot be noted: what is left of one whose process is killed will not be found");
                }
                self.forget(&stem);
                return Ok(None);
            }
            // An answer that was lost. The same once more does no harm.
            Err(_) => note.write(None).await,
            Ok(()) => Ok(()),
        };
        match written {
            Ok(()) => Ok(Some(note.renewed_from_now_on())),
            Err(error) => {
                note.remove().await;
                Err(error)
            }
        }
    }

    /// What is known of a note of this log.
    pub(super) fn own(&self, stem: &str) -> Own {
        self.own.lock().get(stem).copied().unwrap_or(Own::Ended)
    }

    /// A change has ended, and it is known how.
    pub(super) fn forget(&self, stem: &str) {
        self.own.lock().remove(stem);
    }

    /// Nobody works on a change any more, if it has not ended.
    pub(super) fn let_go(&self, stem: &str) {
        if let Some(own) = self.own.lock().get_mut(stem) {
            *own = Own::LetGo;
        }
    }
}

impl fmt::Debug for ChangeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}
