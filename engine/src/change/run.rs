//! Runs changes, and waits for them when the process is to end.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::Change;
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
        let (change, context) = (Arc::clone(query.change()), Arc::clone(query));
        let under_way = UnderWay::of(&change, &self.under_way);
        let task = async move {
            let done = AssertUnwindSafe(work).catch_unwind().await;
            let done = settle(&change, done).await;
            match &done {
                Ok(answer) => ended(answer),
                Err(_) => context.end("FAILED", Some("internal error: it panicked".to_owned())),
            }
            drop(under_way);
            done
        };
        let task = self.tasks.spawn(task.in_current_span());
        match task.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Internal(format!("a task that changed something ended: {error}"))),
        }
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
async fn settle<T>(
    change: &Arc<Change>,
    done: Result<Result<T>, Box<dyn Any + Send>>,
) -> Result<Result<T>, Box<dyn Any + Send>> {
    let is_unknown = match &done {
        Ok(Err(Error::Catalog(polynya_catalog::Error::CommitUnknown { .. }))) => true,
        Ok(_) => false,
        // Half of a commit may have been made.
        Err(_) => true,
    };
    let failed = !matches!(done, Ok(Ok(_)));
    let is_clean = !failed || change.unfinished().delete().await;
    match is_clean && !is_unknown {
        true => change.forget().await,
        false => change.leave().await,
    }
    match done {
        // Whatever the work says of it: it stopped because it was told to.
        Ok(Err(error)) if is_given_up(&error) => Ok(Err(change.given_up().unwrap_or(error))),
        done => done,
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
