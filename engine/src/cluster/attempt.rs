//! One attempt to run a query on workers: whom it lost, and what workers counted for it.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::Span;

use super::exchange::again;
use super::marks::Mark;
use crate::query::QueryContext;
use crate::trace;
use crate::trace::TraceContext;

/// What a worker that takes no more tasks answers.
pub(super) const DRAINING: &str = "the worker is draining: it takes no more tasks";

/// See the module.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) query: Arc<QueryContext>,
    /// Counts from 1.
    pub(super) number: u64,
    pub(super) span: Span,
    /// How its workers tell of losses.
    pub(super) mark: Mark,
    /// How workers name the span, if it is exported.
    pub(super) traceparent: Option<String>,
    failure: Mutex<Option<DataFusionError>>,
    failed: Notify,
}

impl Attempt {
    /// An attempt on so many workers that begins now.
    pub(crate) fn new(
        query: &Arc<QueryContext>,
        number: u64,
        workers: usize,
        context: Option<&dyn TraceContext>,
    ) -> Arc<Self> {
        let span = trace::attempt(query, number, workers);
        let traceparent = context.and_then(|context| context.traceparent(&span));
        let (failure, failed) = (Mutex::default(), Notify::new());
        Arc::new(Self { query: Arc::clone(query), number, span, mark: Mark::random(), traceparent, failure, failed })
    }

    /// Ends the attempt. The first failure counts.
    pub(super) fn fail(&self, error: &DataFusionError) {
        self.failure.lock().get_or_insert_with(|| again(error));
        self.failed.notify_one();
    }

    /// Waits for a failure that the stream of rows may not tell of.
    pub(crate) async fn failed(&self) -> DataFusionError {
        loop {
            if let Some(error) = self.failure.lock().take() {
                return error;
            }
            self.failed.notified().await;
        }
    }
}
