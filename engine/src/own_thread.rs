//! Planning happens on threads of its own, one for each statement that is being planned.
//!
//! A long chain of operators or of joins is planned for seconds without a pause. On the threads that serve clients, as many
//! such statements as there are cores would stop all others; on threads of their own the system shares the cores among them.
//! Whoever stops waiting is free at once, and the planning ends at the next look at its budget.
//!
//! Trees are as deep as `statement/bounds.rs` lets them be, and what walks through them, copies or frees them recurses as deep: on
//! these threads there is always room for it.

use std::future::Future;
use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryPool, MemoryReservation};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::budget::{Budget, Waiting};
use crate::{Error, Result};

/// Statements that are planned at once; more wait for their turn. The threads are those of the runtime's pool, 512 of them, and whoever
/// plans may wait for what only another thread of that pool does: manifests are decoded there, disks read, names resolved.
static PLACES: Semaphore = Semaphore::const_new(256);

/// Stack that planning has at least, in bytes. Pages that are never touched cost nothing.
const STACK_BYTES: usize = 64 << 20;

/// Runs work that may compute for long before it gives way, within a budget. Returns what it reserved for what it still holds.
///
/// # Errors
/// Those of the work, and if the server shuts down. A panic goes on in the caller.
pub(crate) fn on_own_thread<'a, T: Send + 'static>(
    pool: &'a Arc<dyn MemoryPool>,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> BoxFuture<'a, Result<(T, MemoryReservation)>> {
    // What is planned is a deep type already.
    let work = work.boxed();
    async move {
        let waiting = Waiting::default();
        let budget = Budget::new(pool, &waiting);
        let place = PLACES.acquire().await.map_err(|closed| Error::Internal(closed.to_string()))?;
        let (runtime, given_up) = (Handle::current(), budget.given_up());
        let work = async move {
            tokio::select! {
                biased;
                done = work => done,
                () = given_up.told() => Err(Error::Cancelled),
            }
        };
        let work = work.in_current_span();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            budget.within(|| with_stack(|| runtime.block_on(work)))
        });
        match done.await {
            Ok((Ok(done), reservation)) => Ok((done, reservation)),
            Ok((Err(error), _)) => Err(error),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(Error::Internal(error.to_string())),
            },
        }
    }
    .boxed()
}

/// Calls something that recurses, with room for it on the stack.
pub(crate) fn with_stack<T>(recurses: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES / 2, STACK_BYTES, recurses)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use datafusion::execution::memory_pool::UnboundedMemoryPool;

    use super::*;
    use crate::budget;

    fn pool() -> Arc<dyn MemoryPool> {
        Arc::new(UnboundedMemoryPool::default())
    }

    #[tokio::test]
    async fn others_go_on_while_something_computes() {
        let pool = pool();
        let computing = on_own_thread(&pool, async {
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        });
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
        let caught = tokio::task::spawn(async {
            let panics = async {
                assert_eq!(1, 2);
                Ok(())
            };
            on_own_thread(&pool(), panics).await
        });
        assert!(caught.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn what_is_given_up_ends_soon() {
        let (ended, has_ended) = tokio::sync::oneshot::channel();
        let pool = pool();
        let endless = on_own_thread(&pool, async move {
            while budget::check().is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
            ended.send(()).map_err(|()| Error::Cancelled)
        });
        tokio::time::timeout(Duration::from_millis(50), endless).await.unwrap_err();
        tokio::time::timeout(Duration::from_secs(20), has_ended).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn many_at_once_leave_room_for_what_they_wait_for() {
        let pool = pool();
        let plannings = (0..600).map(|_| {
            on_own_thread(&pool, async {
                let decoded = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
                decoded.await.map_err(|error| Error::Internal(error.to_string()))
            })
        });
        let all = tokio::time::timeout(Duration::from_secs(60), futures::future::try_join_all(plannings));
        assert_eq!(all.await.unwrap().unwrap().len(), 600);
    }

    #[tokio::test]
    async fn what_waits_for_others_ends_when_it_is_given_up() {
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let pool = pool();
        let endless = on_own_thread(&pool, async move {
            let _held = held;
            std::future::pending::<Result<()>>().await
        });
        tokio::time::timeout(Duration::from_millis(50), endless).await.unwrap_err();
        tokio::time::timeout(Duration::from_secs(20), dropped).await.unwrap().unwrap_err();
    }

    #[tokio::test]
    async fn there_is_stack_for_what_recurses() {
        fn deep(levels: usize) -> usize {
            let ballast = std::hint::black_box([levels; 512]);
            if levels == 0 { 0 } else { 1 + deep(levels - 1) + ballast[1] - levels }
        }
        assert_eq!(on_own_thread(&pool(), async { Ok(deep(4_000)) }).await.unwrap().0, 4_000);
    }
}
