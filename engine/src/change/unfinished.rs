//! Files of one statement that are in the store, or on their way there, and in no snapshot.
//!
//! Requests run in tasks of their own: they go on whatever becomes of who waits for them, so that it is known when the last of
//! them has ended. Only then are the files deleted: a request that is dropped half way may still take effect after the deletion.

use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use polynya_catalog::Storage;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TrackedFuture;

/// Deletions under way at once.
const DELETIONS: usize = 8;

/// See the module. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unfinished(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: TaskTracker,
    files: Mutex<Vec<(Arc<Storage>, String)>>,
}

impl Unfinished {
    /// A file is about to be written.
    pub(crate) fn add(&self, storage: &Arc<Storage>, location: &str) {
        self.0.files.lock().push((Arc::clone(storage), location.to_owned()));
    }

    /// Runs a request to its end.
    pub(crate) fn run<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.0.requests.spawn(request)
    }

    /// Work that sends requests: what is dropped may be at one just then.
    pub(crate) fn track<W: Future>(&self, work: W) -> TrackedFuture<W> {
        self.0.requests.track_future(work)
    }

    /// From now on someone else decides about the files: the commit.
    pub(crate) fn hand_over(&self) {
        self.0.files.lock().clear();
    }

    /// Deletes the files, once nothing is on its way any more. Whether all are gone.
    pub(crate) async fn delete(&self) -> bool {
        self.0.requests.close();
        self.0.requests.wait().await;
        let files = std::mem::take(&mut *self.0.files.lock());
        if !files.is_empty() {
            tracing::info!(files = files.len(), "deleting the files of a write that did not end well");
        }
        let deletions = futures::stream::iter(files).map(|(storage, location)| async move {
            let deleted = storage.delete(&location).await;
            deleted
                .inspect_err(|error| tracing::warn!(location, %error, "a file of a failed write could not be deleted"))
        });
        let deletions = deletions.buffer_unordered(DELETIONS);
        deletions.fold(true, |all_gone, deleted| std::future::ready(all_gone && deleted.is_ok())).await
    }
}
