//! One attempt to run a query on workers: whom it lost, and what workers counted for it.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::Span;
use url::Url;

use crate::query::QueryContext;
use crate::trace::TraceContext;
use crate::{Error, trace};

/// Begins the message of an error that tells of a lost worker. Errors pass from worker to worker as texts.
const LOST: &str = "WORKER_LOST ";
/// What a worker that takes no more tasks answers.
pub(super) const DRAINING: &str = "the worker is draining: it takes no more tasks";
/// Begins the message of an error that tells of a plan that cannot be sent.
const UNSENDABLE: &str = "PLAN_NOT_SENDABLE ";
/// What a consumer is told by a worker that does not know a plan: it was started anew in the meantime.
const PLAN_UNKNOWN: &str = "timed-out while waiting for the plan";

/// See the module.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) query: Arc<QueryContext>,
    /// Counts from 1.
    pub(super) number: u64,
    pub(super) span: Span,
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
        Arc::new(Self { query: Arc::clone(query), number, span, traceparent, failure, failed })
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

/// Says that a worker was lost.
pub(super) fn lost(url: &Url, error: &DataFusionError) -> DataFusionError {
    DataFusionError::Execution(format!("{LOST}{url} {}", error.message()))
}

/// Whether the worker said itself that it goes.
pub(super) fn is_draining(error: &DataFusionError) -> bool {
    error.to_string().contains(DRAINING)
}

/// Says that a part of the plan cannot be sent.
pub(super) fn unsendable(error: &DataFusionError) -> DataFusionError {
    DataFusionError::Execution(format!("{UNSENDABLE}{}", error.message()))
}

pub(super) fn is_unsendable(error: &DataFusionError) -> bool {
    error.to_string().contains(UNSENDABLE)
}

/// Whether a worker was lost, and where it was if that is known.
pub(crate) fn lost_worker(error: &DataFusionError) -> Option<Option<Url>> {
    let message = error.to_string();
    match message.find(LOST) {
        Some(at) => Some(message[at + LOST.len()..].split(' ').next().and_then(|url| Url::parse(url).ok())),
        None => message.contains(PLAN_UNKNOWN).then_some(None),
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
    fn a_lost_worker_is_known_after_any_number_of_wrappings() {
        let url = Url::parse("http://127.0.0.1:5000/").unwrap();
        let error = lost(&url, &DataFusionError::Execution("connection reset".to_owned()));
        let wrapped = DataFusionError::Shared(Arc::new(error.context("while joining")));
        assert_eq!(lost_worker(&wrapped), Some(Some(url)));
        assert_eq!(lost_worker(&DataFusionError::Execution("division by zero".to_owned())), None);
    }

    #[test]
    fn a_damaged_file_is_one_also_when_a_worker_found_it() {
        let found = Error::DamagedFile { location: "s3://b/f".to_owned(), reason: "it is short: 3 bytes".to_owned() };
        let come = DataFusionError::External(found.to_string().into());
        let Error::DamagedFile { location, reason } = Error::from(of_worker(come)) else { panic!("another error") };
        assert_eq!((location.as_str(), reason.as_str()), ("s3://b/f", "it is short: 3 bytes"));
    }
}
