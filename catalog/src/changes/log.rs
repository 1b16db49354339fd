//! Writes notes, renews them, and removes them when their change has come to an end.
//!
//! A request that timed out may still reach the store, after later ones. So nothing here depends on an object being as it was written last: that
//! the catalog may be asked is said by a second object, which a late renewal of the first cannot take back; and a note that comes back
//! after it was removed is known for what it is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::record::{Change, Phase, Record};
use crate::storage::{Storage, is_refusal};
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
/// How the names of the two objects of a note end: what is only written, and what the catalog may have been asked for.
const WRITING: &str = ".json";
const COMMITTING: &str = ".committing.json";

/// Where a note is stored that has come so far; `stem` is what both its objects begin with.
pub(super) fn place(stem: &str, phase: Phase) -> String {
    let end = match phase {
        Phase::Writing => WRITING,
        Phase::Committing => COMMITTING,
    };
    format!("{stem}{end}")
}

/// What an object's location tells: which note it is of, and how far that is.
pub(super) fn parse(location: &str) -> Option<(&str, Phase)> {
    match location.strip_suffix(COMMITTING) {
        Some(stem) => Some((stem, Phase::Committing)),
        None => Some((location.strip_suffix(WRITING)?, Phase::Writing)),
    }
}

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
        let note = Note {
            log: Arc::clone(self),
            stem,
            state: Arc::new(tokio::sync::Mutex::new(State { record, renewed: (Instant::now(), SystemTime::now()) })),
            renewing: None,
            clearing: None,
        };
        let written = match note.write(None).await {
            Err(error) if is_refusal(&error) => {
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    let folder = &self.folder;
                    tracing::warn!(folder, %error, "changes cannot be noted: what is left of one whose process is killed will not be found");
                }
                self.own.lock().remove(&note.stem);
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

    /// A sweep has found out how a change ended that was let go of.
    pub(super) fn forget(&self, stem: &str) {
        self.own.lock().remove(stem);
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
    stem: String,
    /// Locked while it is written, by a task that does nothing else meanwhile.
    state: Arc<tokio::sync::Mutex<State>>,
    renewing: Option<JoinHandle<()>>,
    /// Deletes the first object, once the second is there. Whether it is gone.
    clearing: Option<JoinHandle<bool>>,
}

#[derive(Debug)]
struct State {
    record: Record,
    /// When it was written last, by a clock that only goes on, and by one that also counts a machine's sleep.
    renewed: (Instant, SystemTime),
}

impl State {
    /// Fails if others may have taken the note for nobody's. It stays so: such a note is not renewed any more.
    fn check_held(&self) -> Result<()> {
        let (since, slept) = (self.renewed.0.elapsed(), self.renewed.1.elapsed().unwrap_or_default());
        match since.max(slept) {
            silent if silent > HELD => Err(Error::Unavailable {
                service: "this server".to_owned(),
                action: "commit a change that it had to let rest".to_owned(),
                source: format!("it could not renew the note of the change for {} s", silent.as_secs()).into(),
            }),
            _ => Ok(()),
        }
    }

    /// Writes the note as it is now, or in its next phase.
    async fn write(&mut self, storage: &Storage, stem: &str, phase: Option<Phase>) -> Result<()> {
        self.check_held()?;
        let now = (Instant::now(), SystemTime::now());
        if let Some(phase) = phase {
            self.record.phase = phase;
        }
        storage.write(&place(stem, self.record.phase), self.record.encode()?).await?;
        self.renewed = now;
        Ok(())
    }
}

impl Note {
    /// Says that the catalog may be asked from now on.
    ///
    /// # Errors
    /// If that could not be stored, or the note may have been taken for nobody's: then the catalog must not be asked.
    pub async fn committing(&mut self) -> Result<()> {
        self.write(Some(Phase::Committing)).await?;
        let (storage, first) = (Arc::clone(&self.log.storage), place(&self.stem, Phase::Writing));
        self.clearing = Some(tokio::spawn(async move { storage.delete(&first).await.is_ok() }));
        Ok(())
    }

    /// Fails if the note may have been taken for nobody's since it was written last: then the catalog must not be asked (again).
    ///
    /// # Errors
    /// As it says.
    pub async fn check_held(&self) -> Result<()> {
        self.state.lock().await.check_held()
    }

    /// The change has come to an end, and has left nothing. A note that cannot be removed is removed by the next sweep.
    pub async fn remove(mut self) {
        self.log.forget(&self.stem);
        // A renewal that is under way would bring the note back.
        let state = Arc::clone(&self.state);
        let last = state.lock().await;
        if let Some(renewing) = self.renewing.take() {
            renewing.abort();
        }
        if let Err(error) = self.delete(last.record.phase).await {
            tracing::warn!(note = self.stem, %error, "the note of a change that has ended could not be removed");
        }
    }

    /// Deletes both objects: the one that tells more is there until the other is gone.
    async fn delete(&mut self, phase: Phase) -> Result<()> {
        let is_cleared = match self.clearing.take() {
            Some(clearing) => clearing.await.unwrap_or(false),
            None => false,
        };
        if !is_cleared {
            self.log.storage.delete(&place(&self.stem, Phase::Writing)).await?;
        }
        match phase {
            Phase::Writing => Ok(()),
            Phase::Committing => self.log.storage.delete(&place(&self.stem, Phase::Committing)).await,
        }
    }

    async fn write(&self, phase: Option<Phase>) -> Result<()> {
        self.state.lock().await.write(&self.log.storage, &self.stem, phase).await
    }

    fn renewed_from_now_on(mut self) -> Self {
        let (storage, stem, state) = (Arc::clone(&self.log.storage), self.stem.clone(), Arc::clone(&self.state));
        self.renewing = Some(tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                if let Err(error) = state.lock().await.write(&storage, &stem, None).await {
                    tracing::warn!(note = stem, %error, "the note of a change could not be renewed");
                }
            }
        }));
        self
    }

    /// As if the machine had slept for so long.
    #[cfg(any(test, feature = "testing"))]
    pub async fn slept(&self, time: Duration) {
        let mut state = self.state.lock().await;
        state.renewed.1 = state.renewed.1.checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
    }

    /// Renews it now.
    #[cfg(test)]
    pub(super) async fn renew(&self) -> Result<()> {
        self.write(None).await
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(renewing) = &self.renewing {
            renewing.abort();
        }
        // Removed, it is not there any more.
        if let Some(own) = self.log.own.lock().get_mut(&self.stem) {
            *own = Own::LetGo;
        }
    }
}
