//! Ends the query that takes memory beyond all limits, before the system ends the process.
//!
//! Operators and functions reserve what they know of. What they make in between, nobody counts: a join writes its rows by the thousand,
//! and where each of them has a value of megabytes, these are gigabytes. So the process looks at what it holds, many times a second. If
//! that is more than all limits together, the query whose threads have taken most of late ends, with an error that names `memory.limit`.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::computing::Computing;
use crate::settings::machine_memory_bytes;
use crate::{Error, allocations};

/// How often the process looks.
const INTERVAL: Duration = Duration::from_millis(50);
/// Who was told to end has so long for it.
const GRACE: Duration = Duration::from_millis(500);
/// Beside what the limits bound: programs, stacks, connections, plans, and batches on their way.
const BESIDE_BYTES: u64 = 128 << 20;
const BESIDE_SHARE: u64 = 10;
/// What a query took counts half after about so many looks.
const FORGET_SHARE: isize = 10;
/// A query that took less of late is not the one.
const TAKEN_BYTES_MIN: isize = 32 << 20;
/// Of the machine's memory, what the process may hold, in hundredths.
const MACHINE_PERCENT: u64 = 85;

/// What the threads of one query have taken.
#[derive(Debug)]
pub(crate) struct Account {
    /// Allocated and not freed on them. The threads count there for as long as they live, which may be longer than this.
    bytes: &'static AtomicIsize,
    seen: AtomicIsize,
    recent: AtomicIsize,
    is_over: AtomicBool,
    told: Notify,
}

impl Account {
    /// An account for new threads.
    pub(crate) fn new() -> Self {
        Self {
            bytes: Box::leak(Box::default()),
            seen: AtomicIsize::new(0),
            recent: AtomicIsize::new(0),
            is_over: AtomicBool::new(false),
            told: Notify::new(),
        }
    }

    /// Where the threads count.
    pub(crate) fn bytes(&self) -> &'static AtomicIsize {
        self.bytes
    }

    /// The threads begin to work for another query.
    pub(crate) fn begin(&self) {
        self.seen.store(self.bytes.load(Relaxed), Relaxed);
        self.recent.store(0, Relaxed);
        self.is_over.store(false, Relaxed);
    }

    /// Whether their query is to end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    /// Ends when their query is to end.
    pub(crate) async fn over(&self) {
        let told = self.told.notified();
        if !self.is_over() {
            told.await;
        }
    }

    /// What was taken of late, in bytes.
    fn look(&self) -> isize {
        let now = self.bytes.load(Relaxed);
        let taken = (now - self.seen.swap(now, Relaxed)).max(0);
        let before = self.recent.load(Relaxed);
        let recent = before - before / FORGET_SHARE + taken;
        self.recent.store(recent, Relaxed);
        recent
    }

    fn end(&self) {
        self.is_over.store(true, Relaxed);
        self.told.notify_waiters();
    }
}

/// What a query ends with that took too much.
pub(crate) fn error(limit_bytes: u64) -> Error {
    Error::TooMuchMemory { limit_bytes }
}

/// Looks after all queries that compute, until the handle is dropped. The limits are those of everything that is counted.
pub(crate) fn guard(computing: &Arc<Computing>, limits_bytes: u64) -> AbortOnDropHandle<()> {
    let most = limits_bytes.saturating_add(limits_bytes / BESIDE_SHARE).saturating_add(BESIDE_BYTES);
    let most = most.min(machine_memory_bytes() / 100 * MACHINE_PERCENT);
    AbortOnDropHandle::new(tokio::spawn(look(Arc::downgrade(computing), most)))
}

async fn look(computing: Weak<Computing>, most: u64) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(computing) = computing.upgrade() else { return };
        let accounts = computing.accounts();
        let taken = accounts.iter().map(|account| (account.look(), account));
        let Some((taken, account)) = taken.max_by_key(|(taken, _)| *taken) else { continue };
        if allocations::all_bytes() <= most || resident_bytes().is_some_and(|resident| resident <= most) {
            continue;
        }
        if taken >= TAKEN_BYTES_MIN && !account.is_over() {
            tracing::warn!(
                held_bytes = allocations::all_bytes(),
                most_bytes = most,
                taken_bytes = taken,
                "memory beyond all limits: the query that took most of late ends"
            );
            account.end();
            drop(computing);
            tokio::time::sleep(GRACE).await;
        }
    }
}

/// What the system has given the process; none where it does not tell.
fn resident_bytes() -> Option<u64> {
    /// Of Linux, on every machine that this runs on.
    const PAGE_BYTES: u64 = 4096;
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_of_late_counts() {
        let account = Account::new();
        account.bytes.store(1 << 30, Relaxed);
        account.begin();
        assert_eq!(account.look(), 0);
        account.bytes.fetch_add(100 << 20, Relaxed);
        assert_eq!(account.look(), 100 << 20);
        account.bytes.fetch_sub(100 << 20, Relaxed);
        let later = (0..50).map(|_| account.look()).last();
        assert!(later.is_some_and(|later| later < 1 << 20), "{later:?}");
    }

    #[tokio::test]
    async fn who_is_over_is_told_and_the_next_query_is_not() {
        let account = Arc::new(Account::new());
        let told = tokio::spawn({
            let account = Arc::clone(&account);
            async move { account.over().await }
        });
        tokio::task::yield_now().await;
        assert!(!account.is_over());
        account.end();
        told.await.unwrap();
        account.over().await;
        assert!(account.is_over());
        account.begin();
        assert!(!account.is_over());
    }
}
