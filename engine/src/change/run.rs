//! Runs changes, and waits for them when the process is to end.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::Change;
use crate::panics::{self, Panicked};
use crate::query::QueryContext;
use crate::{Error, Result};

/// All changes of a process.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    tasks: TaskTracker,
    under_way: Arc<Mutex<Vec<Arc<Change>>>>,
}

impl Changes {
    /// Runs the work of a statement that changes something in a task of its own. Dropping what this returns gives the statement up,
    /// if it has not begun to commit; `ended` is told the outcome in any case.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        query: &Arc<QueryContext>,
        work: impl Future<Output = Result<T>> + Send + 'static,
        ended: impl FnOnce(&Result<T>) + Send + 'static,
    ) -> Result<T> {
        let change = Arc::clone(query.change());
        let under_way = UnderWay::of(&change, &self.under_way);
        let task = async move {
            let done = panics::guarded("a statement that changes something", work).await;
            let answer = settle(&change, done).await;
            ended(&answer);
            drop(under_way);
            answer
        };
        let task = self.tasks.spawn(task.in_current_span());
        task.await.unwrap_or_else(|error| Err(panics::ended("a statement that changes something", error)))
    }

    /// How many have not ended.
    pub(crate) fn count(&self) -> usize {
        self.under_way.lock().len()
    }

    /// Gives up those that can be, and waits for all of them, at most so long. Returns how many have not ended.
    pub(crate) async fn end(&self, patience: Duration) -> usize {
        for change in self.under_way.lock().iter() {
            change.give_up();
        }
        self.tasks.close();
        // What is left then is noted, and found by whoever starts next.
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
        self.tasks.reopen();
        self.count()
    }
}

/// What came of the work, once nothing is left of what was not committed.
async fn settle<T>(change: &Arc<Change>, done: Result<Result<T>, Panicked>) -> Result<T> {
    // After a panic, half of a commit may have been made.
    let is_known = !matches!(done, Err(_) | Ok(Err(Error::Catalog(polynya_catalog::Error::CommitUnknown { .. }))));
    let is_clean = matches!(done, Ok(Ok(_))) || change.unfinished().delete().await;
    match is_clean && is_known {
        true => change.forget().await,
        false => change.leave().await,
    }
    match done {
        Ok(Ok(answer)) => Ok(answer),
        // Whatever the work says of it: it stopped because it was told to.
        Ok(Err(error)) if is_given_up(&error) => Err(change.given_up().unwrap_or(error)),
        Ok(Err(error)) => Err(error),
        Err(panic) => Err(panics::broken_off(panic)),
    }
}

fn is_given_up(error: &Error) -> bool {
    matches!(error, Error::Catalog(polynya_catalog::Error::GivenUp) | Error::Cancelled)
}

/// One that is under way, in the list of those.
struct UnderWay {
    change: Arc<Change>,
    all: Arc<Mutex<Vec<Arc<Change>>>>,
}

impl UnderWay {
    fn of(change: &Arc<Change>, all: &Arc<Mutex<Vec<Arc<Change>>>>) -> Self {
        all.lock().push(Arc::clone(change));
        Self { change: Arc::clone(change), all: Arc::clone(all) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.lock().retain(|other| !Arc::ptr_eq(other, &self.change));
    }
}
