//! Whose commit comes next: those of one table come one after the other, in the order in which they asked.
//!
//! Commits of the same moment rule each other out, and the loser waits before it tries again: among many writers it may
//! lose for ever. Within one process there is no need for that. Other processes are met as before, by trying again.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

/// A table that nobody has written to for so long is forgotten.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// See the module. Tables go by their UUIDs.
#[derive(Debug)]
pub(crate) struct Turns(Cache<Uuid, Arc<Mutex<()>>>);

/// The right to commit, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
    /// Whether others had their turn meanwhile.
    pub(super) has_waited: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Cache::builder().time_to_idle(IDLE_TIMEOUT).build())
    }
}

impl Turns {
    /// Waits for the turn.
    pub(super) async fn take(&self, table: Uuid) -> Turn {
        let turns = self.0.get_with(table, Arc::default);
        match Arc::clone(&turns).try_lock_owned() {
            Ok(guard) => Turn { _guard: guard, has_waited: false },
            Err(_) => Turn { _guard: turns.lock_owned().await, has_waited: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writers_of_a_table_take_turns_and_others_do_not_wait() {
        let turns = Arc::new(Turns::default());
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let first = turns.take(one).await;
        assert!(!first.has_waited && !turns.take(other).await.has_waited);
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(one).await.has_waited }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap());
        assert!(!turns.take(one).await.has_waited);
    }
}
