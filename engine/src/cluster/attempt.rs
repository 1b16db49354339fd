//! One attempt to run a query on workers: whom it lost, and what workers counted for it.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::Span;

use super::marks::Mark;
use crate::query::QueryContext;
use crate::trace::TraceContext;
use crate::{Error, trace};

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

/// The same error once more, as far as it matters.
fn again(error: &DataFusionError) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(message) => DataFusionError::ResourcesExhausted(message.clone()),
        DataFusionError::Execution(message) => DataFusionError::Execution(message.clone()),
        other => DataFusionError::Execution(other.message().into_owned()),
    }
}

/// The error of a task as it would have been here: errors of ours come from workers as their texts.
pub(super) fn of_worker(error: DataFusionError) -> DataFusionError {
    let DataFusionError::External(source) = error.find_root() else { return error };
    let text = source.to_string();
    damaged_file(&text).map_or(error, DataFusionError::from)
}

fn damaged_file(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once("data file ")?;
    let (location, reason) = rest.split_once(" is damaged or is not Parquet: ")?;
    Some(Error::DamagedFile { location: location.to_owned(), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_one_also_when_a_worker_found_it() {
        let found = Error::DamagedFile { location: "s3://b/f".to_owned(), reason: "it is short: 3 bytes".to_owned() };
        let come = DataFusionError::External(found.to_string().into());
        let Error::DamagedFile { location, reason } = Error::from(of_worker(come)) else { panic!("another error") };
        assert_eq!((location.as_str(), reason.as_str()), ("s3://b/f", "it is short: 3 bytes"));
    }
}
