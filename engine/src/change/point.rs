//! One statement's commit point: until when it can be given up, and by whom it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use polynya_catalog::{Catalog, CommitGate, Note};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Unfinished;
use crate::{Error, Result};

/// See the module above.
#[derive(Debug)]
pub(crate) struct Change {
    state: watch::Sender<State>,
    deadline: Option<(Instant, Duration)>,
    unfinished: Unfinished,
    note: tokio::sync::Mutex<Noted>,
}

/// Where a statement is. It may be asked for to be given up while it commits: that counts if the commit is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    is_committing: bool,
    given_up: Option<Why>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    NobodyWaits,
    Late,
}

/// The note of the change in the warehouse.
#[derive(Debug, Default)]
enum Noted {
    #[default]
    Nowhere,
    Writing(Note),
    /// It is being said that the catalog may be asked.
    Announcing(JoinHandle<(Note, polynya_catalog::Result<()>)>),
    Committing(Note),
}

impl Change {
    /// A statement that begins now.
    pub(crate) fn new(timeout: Option<Duration>) -> Arc<Self> {
        let deadline = timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
        Arc::new(Self {
            state: watch::Sender::new(State::default()),
            deadline,
            unfinished: Unfinished::default(),
            note: tokio::sync::Mutex::default(),
        })
    }

    /// Files that it has written and not committed.
    pub(crate) fn unfinished(&self) -> &Unfinished {
        &self.unfinished
    }

    /// Nobody waits for it any more. Whether it stops, having changed nothing; else it goes on to its end.
    pub(crate) fn give_up(&self) -> bool {
        self.give_up_for(Why::NobodyWaits)
    }

    fn give_up_for(&self, why: Why) -> bool {
        let mut stops = false;
        self.state.send_modify(|state| {
            state.given_up.get_or_insert(why);
            stops = !state.is_committing;
        });
        stops
    }

    /// Why it was given up, if it was.
    pub(crate) fn given_up(&self) -> Option<Error> {
        let why = self.state.borrow().given_up?;
        Some(match (why, self.deadline) {
            (Why::Late, Some((_, timeout))) => Error::Timeout(timeout),
            _ => Error::Cancelled,
        })
    }

    /// What comes of work that can be dropped at any time, if it is not given up first.
    ///
    /// # Errors
    /// `Cancelled` or `Timeout`, if it is.
    pub(crate) async fn unless_given_up<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        let mut state = self.state.subscribe();
        let given_up = state.wait_for(|state| state.given_up.is_some());
        let late = async {
            match self.deadline {
                Some((at, _)) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = given_up => {}
            () = late => {
                self.give_up_for(Why::Late);
            }
            done = work => return Ok(done),
        }
        Err(self.given_up().unwrap_or(Error::Cancelled))
    }

    /// From here on it goes to its end.
    ///
    /// # Errors
    /// `Cancelled` or `Timeout`, if it was given up before: then it must change nothing.
    pub(crate) fn begin(&self) -> Result<()> {
        if self.deadline.is_some_and(|(at, _)| Instant::now() >= at) {
            self.give_up_for(Why::Late);
        }
        let begun = self.state.send_if_modified(|state| {
            let begins = state.given_up.is_none() || state.is_committing;
            state.is_committing |= begins;
            begins
        });
        match begun {
            true => Ok(()),
            false => Err(self.given_up().unwrap_or(Error::Cancelled)),
        }
    }

    /// Notes in the warehouse what is about to be written.
    ///
    /// # Errors
    /// If the catalog does not tell where its warehouse is, or the store whether it has the note.
    pub(crate) async fn note(
        &self,
        catalog: &dyn Catalog,
        query_id: &str,
        change: polynya_catalog::Change,
    ) -> Result<()> {
        let Some(log) = catalog.change_log().await? else { return Ok(()) };
        if let Some(note) = log.note(query_id, change).await? {
            *self.note.lock().await = Noted::Writing(note);
        }
        Ok(())
    }

    /// Begins to say that the catalog may be asked; [`CommitGate::begin`] waits until it is said.
    pub(crate) async fn announce(&self) {
        let mut noted = self.note.lock().await;
        *noted = match std::mem::take(&mut *noted) {
            Noted::Writing(mut note) => Noted::Announcing(tokio::spawn(async move {
                let said = note.committing().await;
                (note, said)
            })),
            other => other,
        };
    }

    /// Removes the note: nothing is left that is not in a snapshot.
    pub(super) async fn forget(&self) {
        let noted = std::mem::take(&mut *self.note.lock().await);
        let note = match noted {
            Noted::Nowhere => None,
            Noted::Writing(note) | Noted::Committing(note) => Some(note),
            Noted::Announcing(announcing) => announcing.await.ok().map(|(note, _)| note),
        };
        if let Some(note) = note {
            note.remove().await;
        }
    }

    /// Leaves the note: a sweep finds out how it ended.
    pub(super) async fn leave(&self) {
        *self.note.lock().await = Noted::Nowhere;
    }
}

#[async_trait]
impl CommitGate for Change {
    async fn begin(&self) -> polynya_catalog::Result<()> {
        let mut noted = self.note.lock().await;
        if let Noted::Announcing(announcing) = &mut *noted {
            let told = announcing.await;
            *noted = Noted::Nowhere;
            let (note, said) =
                told.map_err(|error| polynya_catalog::Error::Internal(format!("a note was not written: {error}")))?;
            *noted = Noted::Committing(note);
            said?;
        }
        // Attempts follow each other for half an hour, and a machine may sleep between two of them.
        if let Noted::Committing(note) = &*noted {
            note.check_held().await?;
        }
        Self::begin(self).map_err(|_| polynya_catalog::Error::GivenUp)
    }

    fn lost(&self) {
        self.state.send_modify(|state| state.is_committing = false);
    }
}

#[cfg(test)]
mod tests {
    use polynya_catalog::{
        CatalogSettings, CatalogType, Creates, MetadataCache, Swept, TableIdent, open_catalog, sweep,
    };

    use super::*;

    #[tokio::test]
    async fn every_attempt_of_a_commit_needs_a_note_that_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let cache = MetadataCache::new(0);
        let settings =
            CatalogSettings::new(CatalogType::Memory).with_warehouse(format!("file://{}", folder.path().display()));
        let catalog = open_catalog("lake", &settings, &cache).await.unwrap();
        let change = Change::new(None);
        let noted = polynya_catalog::Change::Write {
            table: TableIdent::from_strs(["s", "t"]).unwrap(),
            uuid: uuid::Uuid::new_v4(),
            folders: Vec::new(),
            change_id: uuid::Uuid::new_v4(),
            snapshot_id: 1,
            creates: Creates::Nothing,
        };
        change.note(catalog.as_ref(), "q", noted).await.unwrap();
        change.announce().await;
        for attempt in 1..3 {
            CommitGate::begin(change.as_ref()).await.unwrap();
            let swept = sweep(catalog.as_ref(), &cache).await.unwrap();
            assert_eq!(swept, Swept { finished: 0, waiting: 1 }, "attempt {attempt} is under way");
            CommitGate::lost(change.as_ref());
        }

        match &*change.note.lock().await {
            Noted::Committing(note) => note.slept(Duration::from_secs(301)).await,
            other => panic!("{other:?}"),
        }
        let error = CommitGate::begin(change.as_ref()).await.unwrap_err();
        assert!(matches!(error, polynya_catalog::Error::Unavailable { .. }), "{error}");
        assert!(!change.state.borrow().is_committing);
        change.forget().await;
        assert_eq!(sweep(catalog.as_ref(), &cache).await.unwrap(), Swept::default());
    }

    #[tokio::test]
    async fn a_change_is_given_up_before_its_commit_and_carried_to_its_end_after() {
        let change = Change::new(None);
        assert!(change.unless_given_up(async { 7 }).await.is_ok_and(|seven| seven == 7));
        change.begin().unwrap();
        assert!(!change.give_up(), "it is committing");
        change.begin().unwrap();

        // Another writer was first: what was asked for meanwhile counts now.
        CommitGate::lost(change.as_ref());
        assert!(matches!(change.begin(), Err(Error::Cancelled)));
        assert!(matches!(change.unless_given_up(std::future::pending::<()>()).await, Err(Error::Cancelled)));
        assert!(matches!(CommitGate::begin(change.as_ref()).await, Err(polynya_catalog::Error::GivenUp)));
    }

    #[tokio::test]
    async fn a_deadline_stops_a_change_that_has_not_begun_to_commit() {
        let change = Change::new(Some(Duration::from_millis(20)));
        assert!(matches!(change.unless_given_up(std::future::pending::<()>()).await, Err(Error::Timeout(_))));
        assert!(matches!(change.begin(), Err(Error::Timeout(_))));

        let change = Change::new(Some(Duration::from_secs(60)));
        change.begin().unwrap();
        assert!(!change.give_up_for(Why::Late));
        change.begin().unwrap();
    }
}
