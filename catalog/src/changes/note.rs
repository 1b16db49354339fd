//! Writes a note, renews it, and removes it when its change has come to an end.
//!
//! A request that timed out may still reach the store, after later ones. So nothing here depends on an object being as it was written last: that
//! the catalog may be asked is said by a second object, which a late renewal of the first cannot take back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;

use super::log::ChangeLog;
use super::record::{Phase, Record};
use crate::storage::Storage;
use crate::{Error, Result};

/// A note of a process that cannot be seen from here, and that was not renewed for so long, is nobody's.
pub(super) const LEASE: Duration = Duration::from_secs(600);
/// How often a note is renewed.
const RENEWAL: Duration = Duration::from_secs(60);
/// A note that was not renewed for so long may soon be taken for nobody's: its change is not committed any more. What is left of the
/// lease is for clocks that differ.
const HELD: Duration = Duration::from_secs(300);
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
    /// A note that is not stored yet; `stem` is what its objects begin with.
    pub(super) fn new(log: Arc<ChangeLog>, stem: String, record: Record) -> Self {
        let state = State { record, renewed: (Instant::now(), SystemTime::now()) };
        Self { log, stem, state: Arc::new(tokio::sync::Mutex::new(state)), renewing: None, clearing: None }
    }

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

    /// Stores it as it is now, or in its next phase.
    pub(super) async fn write(&self, phase: Option<Phase>) -> Result<()> {
        self.state.lock().await.write(&self.log.storage, &self.stem, phase).await
    }

    /// Renews it every now and then, until it is dropped.
    pub(super) fn renewed_from_now_on(mut self) -> Self {
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
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(renewing) = &self.renewing {
            renewing.abort();
        }
        self.log.let_go(&self.stem);
    }
}
