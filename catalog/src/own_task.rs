//! Runs work that others wait for as a task of its own.
//!
//! A future goes on only while somebody polls it. Work that holds something scarce (a permit, a budget, a place in a queue, the
//! single flight of a cache) must not depend on that: whoever began it may be waiting for something else, which may be waiting for
//! what the work holds, and then neither ever ends. A task is driven by the runtime instead. It ends when nobody waits for it.
//!
//! Threads that compute do not drive it: they look at no socket for a while. They spawn it on the runtime that serves.

use std::cell::RefCell;

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::{Error, Result};

thread_local! {
    /// Where this thread's tasks go, if not to its own runtime.
    static ELSEWHERE: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// What a thread that computes does when it starts, so that its [`own_task`]s run on this runtime.
pub fn spawning_on(runtime: &Handle) -> impl Fn() + Send + Sync + 'static {
    let runtime = runtime.clone();
    move || ELSEWHERE.set(Some(runtime.clone()))
}

/// Runs `work` as a task. Dropping the returned future ends the task.
///
/// # Errors
/// `Internal` if the work panicked (the panic is in the log), or the process is shutting down.
pub async fn own_task<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let runtime = ELSEWHERE.with_borrow(|elsewhere| elsewhere.clone()).unwrap_or_else(Handle::current);
    let task = AbortOnDropHandle::new(runtime.spawn(work.in_current_span()));
    task.await.map_err(|ended| match ended.is_panic() {
        true => Error::Internal("a request ended in a panic, which is in the server's log".to_owned()),
        false => Error::Internal("the server is shutting down".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn work_goes_on_while_nobody_polls_it_and_ends_when_nobody_waits() {
        let permits = Arc::new(Semaphore::new(1));
        let holding = |time: Duration| {
            let permits = Arc::clone(&permits);
            own_task(async move {
                let _permit = permits.acquire().await;
                tokio::time::sleep(time).await;
            })
        };
        let mut not_polled_again = Box::pin(holding(Duration::from_millis(5)));
        assert!((&mut not_polled_again).now_or_never().is_none());
        tokio::task::yield_now().await;
        let free = tokio::time::timeout(Duration::from_secs(10), permits.acquire()).await;
        drop(free.unwrap().unwrap());
        not_polled_again.await.unwrap();

        let mut given_up = Box::pin(holding(Duration::from_secs(3600)));
        assert!((&mut given_up).now_or_never().is_none());
        tokio::task::yield_now().await;
        assert_eq!(permits.available_permits(), 0);
        drop(given_up);
        assert!(tokio::time::timeout(Duration::from_secs(10), permits.acquire()).await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_without_its_text() {
        let panicked = own_task(async { assert_eq!(1, 2, "a secret") }).await;
        let message = panicked.unwrap_err().to_string();
        assert!(message.contains("panic") && !message.contains("secret"), "{message}");
    }
}
