//! One attempt to run a query on workers: whom it lost, and what workers counted for it.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use parking_lot::Mutex;
use parquet::errors::ParquetError;
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
    if let Some(ours) = foreign_text(error).and_then(|text| ours(&text)) {
        return ours.into();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(message) => DataFusionError::ResourcesExhausted(message.clone()),
        DataFusionError::Execution(message) => DataFusionError::Execution(message.clone()),
        other => DataFusionError::Execution(other.message().into_owned()),
    }
}

/// The error of a task as it would have been here: errors of ours come from workers as their texts.
pub(super) fn of_worker(error: DataFusionError) -> DataFusionError {
    let ours = foreign_text(&error).and_then(|text| ours(&text));
    ours.map_or(error, DataFusionError::from)
}

/// The text of an error that another library carries.
fn foreign_text(error: &DataFusionError) -> Option<String> {
    match error.find_root() {
        DataFusionError::External(source) => Some(source.to_string()),
        DataFusionError::ParquetError(error) => match error.as_ref() {
            ParquetError::External(source) => Some(source.to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn ours(text: &str) -> Option<Error> {
    let text = text.strip_prefix("External: ").unwrap_or(text);
    damaged_file(text).or_else(|| refused(text)).or_else(|| unavailable(text))
}

fn damaged_file(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once("data file ")?;
    let (location, reason) = rest.split_once(" is damaged or is not Parquet: ")?;
    Some(Error::DamagedFile { location: location.to_owned(), reason: reason.to_owned() })
}

fn refused(text: &str) -> Option<Error> {
    let (service, rest) = text.split_once(" refused access (")?;
    let action = rest.strip_suffix("): check its credentials and permissions")?;
    let (service, action) = (service.to_owned(), action.to_owned());
    Some(Error::Catalog(polynya_catalog::Error::AccessDenied { service, action, source: None }))
}

fn unavailable(text: &str) -> Option<Error> {
    let (service, rest) = text.split_once(" is unavailable (")?;
    let (service, action) = (service.to_owned(), rest.strip_suffix(')')?.to_owned());
    let source = "a worker was told so".into();
    Some(Error::Catalog(polynya_catalog::Error::Unavailable { service, action, source }))
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

    #[test]
    fn a_store_that_refuses_or_is_away_is_one_also_when_a_worker_was_told() {
        use polynya_catalog::Error as Catalog;
        let (service, action) = ("S3 bucket b".to_owned(), "read s3://b/f (1).parquet".to_owned());
        let refused = Catalog::AccessDenied { service: service.clone(), action: action.clone(), source: None };
        let away = Catalog::Unavailable { service, action, source: "connection refused".into() };
        for (found, is_away) in [(refused, false), (away, true)] {
            let text = Error::from(found).to_string();
            let come = DataFusionError::External(text.clone().into());
            let by_parquet = DataFusionError::ParquetError(Box::new(ParquetError::External(text.clone().into())));
            for error in [again(&come), of_worker(come), of_worker(by_parquet)] {
                let error = Error::from(error);
                assert_eq!(error.to_string(), text);
                let known = matches!(&error, Error::Catalog(Catalog::Unavailable { .. }) if is_away)
                    || matches!(&error, Error::Catalog(Catalog::AccessDenied { .. }) if !is_away);
                assert!(known, "{error:?}");
            }
        }
        let other = of_worker(DataFusionError::Execution("a table is unavailable (b)".to_owned()));
        assert!(matches!(other, DataFusionError::Execution(_)), "{other:?}");
    }
}
