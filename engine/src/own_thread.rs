//! Planning happens on threads of its own, one for each statement that is being planned.
//!
//! A long chain of operators or of joins is planned for seconds without a pause. On the threads that serve clients, as many
//! such statements as there are cores would stop all others; on threads of their own the system shares the cores among them.
//! Whoever stops waiting is free at once; the planning that was begun ends by itself.

use std::future::Future;

use tokio::runtime::Handle;
use tracing::Instrument;

use crate::{Error, Result};

/// Runs work that may compute for long before it gives way.
///
/// # Errors
/// If the server shuts down. A panic goes on in the caller.
pub(crate) async fn on_own_thread<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let (runtime, work) = (Handle::current(), work.in_current_span());
    match tokio::task::spawn_blocking(move || runtime.block_on(work)).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Error::Internal(error.to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn others_go_on_while_something_computes() {
        let computing = on_own_thread(async { std::thread::sleep(Duration::from_millis(300)) });
        let begun = Instant::now();
        let others = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            begun.elapsed()
        };
        let (computed, waited) = tokio::join!(computing, others);
        computed.unwrap();
        assert!(waited < Duration::from_millis(250), "others waited for {waited:?}");
    }

    #[tokio::test]
    async fn a_panic_goes_on_where_it_was_waited_for() {
        let caught = tokio::task::spawn(on_own_thread(async { assert_eq!(1, 2) })).await;
        assert!(caught.unwrap_err().is_panic());
    }
}
