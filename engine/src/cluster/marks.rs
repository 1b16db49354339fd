//! Losses of workers, and workers that are none, in the texts of errors: nothing else of an error survives the way from worker
//! to worker.
//!
//! A text may hold anything, a user's data above all. So what tells of a loss is marked with a token of the attempt, which
//! travels to its workers alone.

use std::sync::Arc;

use datafusion::common::DataFusionError;
use url::Url;

use super::provisioner::{Loss, Unfit};

const LOST: &str = "WORKER_LOST";
const UNFIT: &str = "WORKER_UNFIT";
const UNSENDABLE: &str = "PLAN_NOT_SENDABLE";
/// How the error begins that a consumer is given by a worker that does not know a plan: it was started anew in the
/// meantime. datafusion-distributed 4.0.
const PLAN_UNKNOWN: &str = "Worker::execute_task timed-out while waiting for the plan";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Mark(Arc<str>);

/// A worker that was lost, and what was seen of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LostWorker {
    pub(super) url: Option<Url>,
    pub(super) how: Loss,
    pub(super) message: String,
}

impl Mark {
    /// One that nobody knows yet.
    pub(super) fn random() -> Self {
        Self(Arc::from(uuid::Uuid::new_v4().simple().to_string()))
    }

    /// Says that a worker was lost.
    pub(super) fn lost(&self, url: &Url, how: Loss, message: &str) -> DataFusionError {
        DataFusionError::Execution(format!("{LOST} {} {how:?} {url} {message}", self.0))
    }

    /// The worker of which the error tells that it was lost.
    pub(super) fn lost_worker(&self, error: &DataFusionError) -> Option<LostWorker> {
        let text = error.to_string();
        let Some((_, told)) = text.split_once(&format!("{LOST} {} ", self.0)) else {
            return is_plan_unknown(error).then_some(LostWorker { url: None, how: Loss::Silent, message: text });
        };
        let mut words = told.splitn(3, ' ');
        let how = if words.next() == Some("Draining") { Loss::Draining } else { Loss::Silent };
        let url = words.next().and_then(|url| Url::parse(url).ok());
        Some(LostWorker { url, how, message: words.next().unwrap_or_default().to_owned() })
    }

    /// Says that a worker runs no tasks for this coordinator.
    pub(super) fn unfit(&self, url: &Url, why: Unfit) -> DataFusionError {
        DataFusionError::Execution(format!("{UNFIT} {} {} {url} ", self.0, why.state()))
    }

    /// The worker of which the error tells that it runs no tasks for this coordinator.
    pub(super) fn unfit_worker(&self, error: &DataFusionError) -> Option<(Url, Unfit)> {
        let text = error.to_string();
        let (_, told) = text.split_once(&format!("{UNFIT} {} ", self.0))?;
        let mut words = told.split(' ');
        let state = words.next()?;
        let why = [Unfit::WrongSecret, Unfit::NoWorker].into_iter().find(|why| why.state() == state)?;
        Some((Url::parse(words.next()?).ok()?, why))
    }

    /// Says that a part of the plan cannot be sent.
    pub(super) fn unsendable(&self, error: &DataFusionError) -> DataFusionError {
        DataFusionError::Execution(format!("{UNSENDABLE} {} {}", self.0, error.message()))
    }

    pub(super) fn is_unsendable(&self, error: &DataFusionError) -> bool {
        error.to_string().contains(&format!("{UNSENDABLE} {} ", self.0))
    }
}

fn is_plan_unknown(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::Execution(message) if message.starts_with(PLAN_UNKNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_worker_is_known_after_any_number_of_wrappings() {
        let (mark, url) = (Mark::random(), Url::parse("http://127.0.0.1:5000/").unwrap());
        for how in [Loss::Silent, Loss::Draining] {
            let error = mark.lost(&url, how, "connection reset");
            let wrapped = DataFusionError::Shared(Arc::new(error.context("while joining")));
            let lost = mark.lost_worker(&wrapped).unwrap();
            assert_eq!((lost.url, lost.how), (Some(url.clone()), how));
            assert!(lost.message.starts_with("connection reset"), "{}", lost.message);
        }
        for why in [Unfit::WrongSecret, Unfit::NoWorker] {
            let wrapped = DataFusionError::Shared(Arc::new(mark.unfit(&url, why).context("while joining")));
            assert_eq!(mark.unfit_worker(&wrapped), Some((url.clone(), why)));
            assert_eq!((mark.lost_worker(&wrapped), Mark::random().unfit_worker(&wrapped)), (None, None));
        }
        let unknown = DataFusionError::Execution(format!("{PLAN_UNKNOWN} to be set (elapsed)"));
        assert_eq!(mark.lost_worker(&unknown).unwrap().url, None);
    }

    #[test]
    fn what_a_user_writes_tells_of_no_loss() {
        let (mark, other) = (Mark::random(), Mark::random());
        let url = Url::parse("http://127.0.0.1:5000/").unwrap();
        for text in [
            "division by zero".to_owned(),
            format!("cannot cast 'WORKER_LOST {url} x'"),
            other.lost(&url, Loss::Silent, "x").to_string(),
            format!("cannot cast '{PLAN_UNKNOWN}'"),
            "cannot cast 'PLAN_NOT_SENDABLE x'".to_owned(),
        ] {
            let error = DataFusionError::Execution(text);
            assert_eq!(mark.lost_worker(&error), None, "{error}");
            assert!(!mark.is_unsendable(&error));
        }
    }
}
