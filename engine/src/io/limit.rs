//! How many requests one store gets at once: more while it answers, half when it says "slow down" (AIMD).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// However often a store complains, it gets this many, unless its limit is lower.
const LIMIT_MIN: usize = 2;
/// Complaints within this time count as one: they answer requests that were sent together.
const SETTLE: Duration = Duration::from_millis(100);

/// A limit of concurrent requests that adapts.
#[derive(Debug)]
pub(crate) struct Limit {
    semaphore: Arc<Semaphore>,
    max: usize,
    state: Mutex<State>,
    /// Permits to take away when they come back.
    debt: AtomicUsize,
}

#[derive(Debug)]
struct State {
    current: usize,
    successes: usize,
    lowered: Option<Instant>,
}

/// Leave to send one request.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    limit: &'a Limit,
    permit: Option<OwnedSemaphorePermit>,
}

impl Limit {
    /// A limit that starts at its maximum.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.max(1);
        let state = State { current: max, successes: 0, lowered: None };
        Self { semaphore: Arc::new(Semaphore::new(max)), max, state: Mutex::new(state), debt: AtomicUsize::new(0) }
    }

    /// Waits for leave to send a request.
    pub(crate) async fn acquire(&self) -> Permit<'_> {
        // The semaphore is never closed.
        Permit { limit: self, permit: Arc::clone(&self.semaphore).acquire_owned().await.ok() }
    }

    /// The store answered.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock();
        state.successes += 1;
        if state.successes >= state.current && state.current < self.max {
            state.successes = 0;
            state.current += 1;
            if self.debt.fetch_update(Relaxed, Relaxed, |debt| debt.checked_sub(1)).is_err() {
                self.semaphore.add_permits(1);
            }
        }
    }

    /// The store asked for fewer requests.
    pub(crate) fn throttled(&self) {
        let mut state = self.state.lock();
        if state.lowered.is_some_and(|then| then.elapsed() < SETTLE) {
            return;
        }
        state.lowered = Some(Instant::now());
        state.successes = 0;
        let lowered = (state.current / 2).max(LIMIT_MIN).min(state.current);
        self.debt.fetch_add(state.current - lowered, Relaxed);
        state.current = lowered;
    }

    #[cfg(test)]
    fn current(&self) -> usize {
        self.state.lock().current
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let owed = self.limit.debt.fetch_update(Relaxed, Relaxed, |debt| debt.checked_sub(1)).is_ok();
        if let Some(permit) = self.permit.take().filter(|_| owed) {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_complaint_halves_the_limit_and_answers_raise_it_again() {
        let limit = Limit::new(8);
        let held: Vec<Permit<'_>> = futures::future::join_all((0..8).map(|_| limit.acquire())).await;
        limit.throttled();
        limit.throttled();
        assert_eq!(limit.current(), 4);
        drop(held);
        assert_eq!(limit.semaphore.available_permits(), 4);
        for _ in 0..4 {
            limit.succeeded();
        }
        assert_eq!((limit.current(), limit.semaphore.available_permits()), (5, 5));
    }
}
