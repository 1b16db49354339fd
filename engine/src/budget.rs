//! What the planning of one statement may take: the memory that is left in the pool of all queries, and the time that somebody waits.
//!
//! Planning is computing without a pause, in a library that asks nobody. So whatever of ours is called on the way (passes over plans,
//! the parser's grammar, functions that are simplified) calls [`check`], which fails once the budget is spent. The budget belongs to
//! the thread that plans, since most of these callers are given nothing that could carry it.
//!
//! Memory is what the thread has allocated since it began (see `allocations`), reserved in the pool in steps, so that plans count
//! against `memory.limit` like what queries hold.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use tokio::sync::Notify;

use crate::{Error, Result, allocations};

/// The pool is asked again when so much more is held, in bytes. Most plans hold less, and ask never.
const STEP_BYTES: usize = 1 << 20;

thread_local! {
    static CURRENT: RefCell<Option<Spent>> = const { RefCell::new(None) };
}

/// Tells a thread that plans that nobody waits for it any more. Dropped, it does.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Arc<GivenUp>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.is_so.store(true, Ordering::Relaxed);
        self.0.told.notify_one();
    }
}

/// Whether nobody waits any more.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    is_so: AtomicBool,
    told: Notify,
}

impl GivenUp {
    /// Ends when nobody waits any more. For one listener.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }
}

/// The budget of what is planned next.
#[derive(Debug)]
pub(crate) struct Budget {
    given_up: Arc<GivenUp>,
    pool: Arc<dyn MemoryPool>,
}

impl Budget {
    /// A budget in this pool, for as long as somebody waits.
    pub(crate) fn new(pool: &Arc<dyn MemoryPool>, waiting: &Waiting) -> Self {
        Self { given_up: Arc::clone(&waiting.0), pool: Arc::clone(pool) }
    }

    /// Whether nobody waits for what is planned.
    pub(crate) fn given_up(&self) -> Arc<GivenUp> {
        Arc::clone(&self.given_up)
    }

    /// Runs work on this thread within the budget. What it still holds afterwards stays reserved until the reservation is dropped.
    pub(crate) fn within<T>(self, work: impl FnOnce() -> T) -> (T, MemoryReservation) {
        let reservation = MemoryConsumer::new("planning").register(&self.pool);
        let spent = Spent { given_up: self.given_up, reservation, before: allocations::bytes() };
        let restore = Restore(CURRENT.replace(Some(spent)));
        let done = work();
        let spent = CURRENT.take();
        drop(restore);
        let reservation = match spent {
            Some(spent) => {
                let held = spent.held();
                spent.reservation.resize(if held < STEP_BYTES { 0 } else { held.min(spent.reservation.size()) });
                spent.reservation
            }
            None => MemoryConsumer::new("planning").register(&self.pool),
        };
        (done, reservation)
    }
}

/// Puts back what was there, also when the work panics.
struct Restore(Option<Spent>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.replace(self.0.take());
    }
}

/// What has been spent on this thread.
#[derive(Debug)]
struct Spent {
    given_up: Arc<GivenUp>,
    reservation: MemoryReservation,
    before: isize,
}

impl Spent {
    fn held(&self) -> usize {
        usize::try_from(allocations::bytes().wrapping_sub(self.before)).unwrap_or(0)
    }

    /// Reserves what is held, and so many bytes that will be.
    fn reserve(&self, expected: usize) -> Result<()> {
        if self.given_up.is_so.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        let (wanted, reserved) = (self.held().saturating_add(expected), self.reservation.size());
        if wanted > reserved.saturating_add(STEP_BYTES) {
            self.reservation.try_resize(wanted)?;
        } else if expected == 0 && wanted < reserved / 2 {
            self.reservation.resize(wanted);
        }
        Ok(())
    }
}

/// Whether planning may go on. On a thread that does not plan, it may.
///
/// # Errors
/// `Cancelled` if nobody waits for the plan, and the pool's error if it holds more memory than there is.
pub(crate) fn check() -> Result<()> {
    reserve(0)
}

/// Reserves memory that is about to be allocated. It is given back to the pool with the next [`check`] if it was not.
///
/// # Errors
/// As [`check`].
pub(crate) fn reserve(bytes: usize) -> Result<()> {
    CURRENT.with_borrow(|spent| spent.as_ref().map_or(Ok(()), |spent| spent.reserve(bytes)))
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    fn pool() -> Arc<dyn MemoryPool> {
        Arc::new(GreedyMemoryPool::new(64 << 20))
    }

    #[test]
    fn what_nobody_waits_for_stops() {
        let waiting = Waiting::default();
        let budget = Budget::new(&pool(), &waiting);
        let ((before, after), _) = budget.within(|| {
            let before = check();
            drop(waiting);
            (before, check())
        });
        assert!(before.is_ok() && matches!(after, Err(Error::Cancelled)), "{after:?}");
        assert!(check().is_ok(), "the budget ended with the work");
    }

    #[test]
    fn memory_is_reserved_as_it_is_taken_and_given_back() {
        let (pool, waiting) = (pool(), Waiting::default());
        let (reserved, kept) = Budget::new(&pool, &waiting).within(|| {
            reserve(32 << 20).unwrap();
            assert!(matches!(reserve(65 << 20), Err(Error::Query(_))));
            let first = pool.reserved();
            check().unwrap();
            (first, pool.reserved())
        });
        assert_eq!((reserved, kept.size()), ((32 << 20, 0), 0));
    }

    #[test]
    fn what_threads_allocate_is_counted() {
        let (pool, waiting) = (pool(), Waiting::default());
        let (kept, reservation) = Budget::new(&pool, &waiting).within(|| {
            let kept = vec![1_u8; 20 << 20];
            check().unwrap();
            assert!(pool.reserved() >= 20 << 20);
            let more = vec![1_u8; 50 << 20];
            assert!(check().is_err());
            drop(more);
            kept
        });
        assert!(reservation.size() >= kept.len(), "{reservation:?}");
        drop(reservation);
        assert_eq!(pool.reserved(), 0);
    }
}
