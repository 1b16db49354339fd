//! Panics as errors: what panicked is in the log, under an id that its user is told.
//!
//! A panic is a fault of ours, or of a library at bytes that it did not expect. It ends the query that met it, with an
//! error, and nothing else; where a file was being decoded, the error names the file ([`Error::DamagedFile`]). The text of a
//! panic never leaves the log: it may hold anything.

use std::any::Any;
use std::error::Error as StdError;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use tokio::task::JoinError;
use uuid::Uuid;

use crate::Error;

/// What the panics of Arrow say where a text or list column of a batch would take more bytes than its offsets can tell.
const TOO_LONG: &str = "offset overflow";

/// A panic that is in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked {
    /// Where the log has it.
    pub(crate) id: Uuid,
    is_too_long: bool,
}

/// Runs `work` to its end, be it a panic, which is logged.
pub(crate) async fn guarded<T>(what: &str, work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| logged(what, panic.as_ref()))
}

/// The same batches, with a panic as their last item. `what` is what makes them.
pub(crate) fn caught<T: Send + 'static>(
    what: &'static str,
    batches: impl Stream<Item = Result<T, DataFusionError>> + Send + 'static,
) -> BoxStream<'static, Result<T, DataFusionError>> {
    caught_as(batches, move |panic| broken_off(logged(what, panic)).into())
}

/// The same items, with the error that `told` makes of a panic as their last one.
pub(crate) fn caught_as<T: Send + 'static, E: Send + 'static>(
    items: impl Stream<Item = Result<T, E>> + Send + 'static,
    told: impl Fn(&(dyn Any + Send)) -> E + Send + 'static,
) -> BoxStream<'static, Result<T, E>> {
    let caught = AssertUnwindSafe(items).catch_unwind();
    caught.map(move |item| item.unwrap_or_else(|panic| Err(told(panic.as_ref())))).boxed()
}

/// Writes a panic to the log.
pub(crate) fn logged(what: &str, panic: &(dyn Any + Send)) -> Panicked {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    written(what, &text)
}

fn written(what: &str, panic: &str) -> Panicked {
    let id = Uuid::now_v7();
    tracing::error!(%id, panic, "{what} panicked");
    Panicked { id, is_too_long: panic.contains(TOO_LONG) }
}

/// What a user is told of a panic.
pub(crate) fn broken_off(panicked: Panicked) -> Error {
    if panicked.is_too_long {
        return Error::ValuesTooLong;
    }
    Error::Internal(format!(
        "a part of the query broke off; the log of the process that ran it says why, under id {}",
        panicked.id
    ))
}

/// The end of a task that did not end by itself.
pub(crate) fn ended(what: &str, error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => broken_off(logged(what, panic.as_ref())),
        Err(_) => Error::Internal(format!("{what} was stopped")),
    }
}

/// A panic of a task that somebody waited for, among the causes of an error: as what a user is told of it.
pub(crate) fn among_causes(error: &DataFusionError) -> Option<Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        let ended = error.downcast_ref::<JoinError>();
        let ended = ended.or_else(|| error.downcast_ref::<Arc<JoinError>>().map(AsRef::as_ref));
        if let Some(ended) = ended.filter(|ended| ended.is_panic()) {
            return Some(broken_off(written("a task", &ended.to_string())));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_middle_is_an_error_after_what_came_before_and_its_text_is_not_told() {
        let items = futures::stream::iter(0..5).map(|number| match number {
            3 => panic!("secret {number}"),
            other => Ok(other),
        });
        let mut items = caught("a test", items);
        for number in 0..3 {
            assert_eq!(items.next().await.unwrap().unwrap(), number);
        }
        let error = Error::from(items.next().await.unwrap().unwrap_err()).to_string();
        assert!(
            error.starts_with("internal error: a part of the query broke off") && !error.contains("secret"),
            "{error}"
        );
        assert!(items.next().await.is_none());
    }

    #[tokio::test]
    async fn more_bytes_than_offsets_can_tell_are_no_fault_of_ours() {
        use datafusion::arrow::buffer::OffsetBuffer;

        let work = async { OffsetBuffer::<i32>::from_lengths([1 << 30, 1 << 30]) };
        let panicked = guarded("a test", work).await.unwrap_err();
        assert!(matches!(broken_off(panicked), Error::ValuesTooLong));
    }

    #[tokio::test]
    async fn a_task_that_panicked_is_found_under_any_number_of_causes() {
        let ended = tokio::spawn(async { panic!("secret") }).await.unwrap_err();
        // As DataFusion's exchange tells it.
        let error = DataFusionError::External(Box::new(Arc::new(ended))).context("Join Error");
        let error = DataFusionError::Shared(Arc::new(error));
        let told = among_causes(&error).unwrap().to_string();
        assert!(!told.contains("secret"), "{told}");
        assert!(!Error::from(error).to_string().contains("secret"));
        assert!(among_causes(&DataFusionError::Execution("division by zero".to_owned())).is_none());
    }
}
