//! Writes notes, renews them, and removes them when their change has come to an end.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::record::{Change, Phase, Record};
use crate::storage::Storage;
use crate::{Error, Result};

/// A note of a process that cannot be seen from here, and that was not renewed for so long, is nobody's.
pub(super) const LEASE: Duration = Duration::from_secs(600);
/// How often a note is renewed.
const RENEWAL: Duration = Duration::from_secs(60);
/// A note that was not renewed for so long may soon be taken for nobody's: its change is not committed any more. What is left of the
/// lease is for clocks that differ.
const HELD: Duration = Duration::from_secs(300);
/// Where notes are, in the warehouse.
const FOLDER: &str = "_polynya/changes";

/// The notes of one catalog.
pub struct ChangeLog {
    pub(super) id: Uuid,
    /// The same for all processes that use the catalog, and for no other catalog.
    pub(super) catalog: String,
    pub(super) storage: Arc<Storage>,
    pub(super) folder: String,
    /// How long after its process has died a request to the catalog may still take effect.
    pub(super) settles_after: Duration,
    /// Notes whose changes this process works on.
    active: Mutex<HashSet<String>>,
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
        let (id, active, has_warned) = (Uuid::new_v4(), Mutex::default(), AtomicBool::new(false));
        Some(Arc::new(Self { id, catalog, storage, folder, settles_after, active, has_warned }))
    }

    /// Notes a change that is about to begin. None if that cannot be done, as in a table bucket, or with rights for tables only: then
    /// the change goes on without.
    pub async fn note(self: &Arc<Self>, query_id: &str, change: Change) -> Option<Note> {
        let record = Record::new(&self.catalog, self.id, query_id, change);
        let location = format!("{}/{}.json", self.folder, Uuid::now_v7());
        let (storage, written) = (&self.storage, Instant::now());
        self.active.lock().insert(location.clone());
        let note = Note {
            log: Arc::clone(self),
            location,
            state: Arc::new(tokio::sync::Mutex::new(State { record, renewed: (written, SystemTime::now()) })),
            renewing: None,
        };
        match write(storage, &note.location, &note.state, None).await {
            Ok(()) => Some(note.renewed_from_now_on()),
            Err(error) => {
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    let folder = &self.folder;
                    tracing::warn!(folder, %error, "changes cannot be noted: what is left of one whose process is killed will not be found");
                }
                None
            }
        }
    }

    pub(super) fn is_active(&self, location: &str) -> bool {
        self.active.lock().contains(location)
    }
}

impl fmt::Debug for ChangeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A change under way. Dropped without [`Note::remove`], it stays for [`sweep`](super::sweep) to look at.
#[derive(Debug)]
pub struct Note {
    log: Arc<ChangeLog>,
    location: String,
    /// Locked while it is written, by a task that does nothing else meanwhile: an older state never replaces a newer one.
    state: Arc<tokio::sync::Mutex<State>>,
    renewing: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    record: Record,
    /// When it was written last, by a clock that only goes on, and by one that also counts a machine's sleep.
    renewed: (Instant, SystemTime),
}

impl Note {
    /// Says that the catalog may be asked from now on.
    ///
    /// # Errors
    /// If that could not be stored, or the note may have been taken for nobody's: then the catalog must not be asked.
    pub async fn committing(&self) -> Result<()> {
        let (since, slept) = {
            let state = self.state.lock().await;
            (state.renewed.0.elapsed(), state.renewed.1.elapsed().unwrap_or_default())
        };
        if since.max(slept) > HELD {
            return Err(Error::Unavailable {
                service: "this server".to_owned(),
                action: "commit a change that it had to let rest".to_owned(),
                source: format!("it could not renew the note of the change for {} s", since.max(slept).as_secs())
                    .into(),
            });
        }
        write(&self.log.storage, &self.location, &self.state, Some(Phase::Committing)).await
    }

    /// The change has come to an end, and has left nothing. A note that cannot be removed is looked at by the next sweep.
    pub async fn remove(mut self) {
        // A renewal that is under way would bring the note back.
        let state = Arc::clone(&self.state);
        let _last = state.lock().await;
        if let Some(renewing) = self.renewing.take() {
            renewing.abort();
        }
        if let Err(error) = self.log.storage.delete(&self.location).await {
            tracing::warn!(location = self.location, %error, "the note of a change that has ended could not be removed");
        }
    }

    fn renewed_from_now_on(mut self) -> Self {
        let (storage, location, state) =
            (Arc::clone(&self.log.storage), self.location.clone(), Arc::clone(&self.state));
        self.renewing = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                if let Err(error) = write(&storage, &location, &state, None).await {
                    tracing::warn!(location, %error, "the note of a change could not be renewed");
                }
            }
        }));
        self
    }
}

async fn write(
    storage: &Storage,
    location: &str,
    state: &tokio::sync::Mutex<State>,
    phase: Option<Phase>,
) -> Result<()> {
    let mut state = state.lock().await;
    let now = (Instant::now(), SystemTime::now());
    if let Some(phase) = phase {
        state.record.phase = phase;
    }
    storage.write(location, state.record.encode()?).await?;
    state.renewed = now;
    Ok(())
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(renewing) = &self.renewing {
            renewing.abort();
        }
        self.log.active.lock().remove(&self.location);
    }
}
