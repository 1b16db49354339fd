//! The one place that decides whether a read is tried again, and when: by the state of its store.
//!
//! All reads of a store, of data and of metadata, share its [`Health`]. While it refuses (429, 5xx, nobody listens), all of
//! them wait together, longer each time and at least as long as it asks for (`Retry-After`), and a few at a time are sent to
//! see whether it is over; the first good answer lets all others go. What is wrong with a single answer (it stalls, it is
//! short) concerns that read alone. A read is given up [`PATIENCE`] after its store last answered anybody, and at the latest
//! after [`PATIENCE_MAX`] of failing and waiting; waiting for a place among the store's requests does not count.
//!
//! ```text
//!  ready ──► turn ──► request ──► answered: done
//!    ▲                   │
//!    └──── wait ◄──── failed ──► given up
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Error;

use super::read_failure::{ReadFailure, ReadFailureKind};

/// How long a store that answers nobody is asked.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long a read is tried that fails while the store answers others.
const PATIENCE_MAX: Duration = Duration::from_secs(20);
const DELAY_MIN: Duration = Duration::from_millis(50);
const DELAY_MAX: Duration = Duration::from_secs(1);
/// A store that asks for more is asked again after this: it may be well sooner than it thinks.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);
/// Requests at once that find out whether a store that refused is well again.
const PROBES: usize = 4;
/// How often an answer is doubted that says clearly what should not be.
const DOUBTS: u32 = 5;

/// What is known of one store by the answers to all reads of it.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Rounds of refusals since the store last answered: 0 while it is well.
    rounds: u32,
    /// When the last round began: what was sent before belongs to it.
    refused: Option<Instant>,
    /// Nothing is sent before.
    closed_until: Option<Instant>,
    probes: usize,
    answered: Option<Instant>,
}

impl Health {
    /// Begins a read.
    pub fn tries(self: &Arc<Self>) -> Tries {
        Tries {
            health: Arc::clone(self),
            spent: Duration::ZERO,
            tries: 0,
            doubts: 0,
            delay: DELAY_MIN,
            not_before: None,
        }
    }

    /// The store answered somebody.
    fn answered(&self) {
        let mut state = self.state.lock();
        state.answered = Some(Instant::now());
        if state.rounds > 0 {
            (state.rounds, state.closed_until) = (0, None);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// The store refused a request that was sent then.
    fn refused(&self, sent: Instant, retry_after: Duration) {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.rounds == 0 || state.refused.is_none_or(|refused| sent > refused) {
            state.rounds += 1;
            state.refused = Some(now);
            let pause = (DELAY_MIN * 2_u32.saturating_pow(state.rounds.min(16))).min(DELAY_MAX);
            state.closed_until = Some(now + jittered(pause));
        }
        state.closed_until = state.closed_until.max(Some(now + retry_after));
    }

    /// How long to wait before the store may be asked; `None` if it may be now.
    fn closed_for(&self) -> Option<Duration> {
        let state = self.state.lock();
        if state.rounds == 0 {
            return None;
        }
        let left = state.closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        match left.is_zero() {
            true if state.probes < PROBES => None,
            // Until a probe ends.
            true => Some(DELAY_MAX),
            false => Some(left),
        }
    }

    fn patience(&self) -> Duration {
        let answered = self.state.lock().answered;
        if answered.is_some_and(|at| at.elapsed() < PATIENCE) { PATIENCE_MAX } else { PATIENCE }
    }
}

/// Leave to send one request.
#[derive(Debug)]
pub struct Turn {
    health: Arc<Health>,
    sent: Instant,
    is_probe: bool,
}

impl Turn {
    /// The store has answered well.
    pub fn answered(self) {
        self.health.answered();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_probe {
            self.health.state.lock().probes -= 1;
            self.health.changed.notify_waiters();
        }
    }
}

/// One read, over all of its tries.
#[derive(Debug)]
pub struct Tries {
    health: Arc<Health>,
    /// Time that went by in failing, and in waiting for the store.
    spent: Duration,
    tries: u32,
    doubts: u32,
    delay: Duration,
    not_before: Option<Instant>,
}

impl Tries {
    /// How often a request was sent and failed.
    pub fn failures(&self) -> u32 {
        self.tries
    }

    /// Waits until a request may be sent, as far as this read and its store are concerned. Hold nothing meanwhile.
    pub async fn ready(&mut self) {
        let begun = Instant::now();
        if let Some(at) = self.not_before.take() {
            tokio::time::sleep_until(at.into()).await;
        }
        let last = PATIENCE.saturating_sub(self.spent);
        loop {
            let changed = self.health.changed.notified();
            let (Some(wait), Some(left)) = (self.health.closed_for(), last.checked_sub(begun.elapsed())) else { break };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(wait.min(left)) => {}
            }
        }
        self.spent += begun.elapsed();
    }

    /// Leave to send a request now; `None` if the store has begun to refuse since the read was ready.
    pub fn turn(&self) -> Option<Turn> {
        // Whose time is over asks once more, in any case.
        if self.spent < PATIENCE && self.health.closed_for().is_some() {
            return None;
        }
        let mut state = self.health.state.lock();
        let is_probe = state.rounds > 0;
        state.probes += usize::from(is_probe);
        Some(Turn { health: Arc::clone(&self.health), sent: Instant::now(), is_probe })
    }

    /// A request failed: whether there is to be another.
    ///
    /// # Errors
    /// The failure, if there is not.
    pub fn failed(&mut self, turn: Turn, failure: ReadFailure) -> Result<(), Error> {
        self.tries += 1;
        // What came of the first answer was reading, not failing, however long it took.
        self.spent += if self.tries == 1 { failure.progress.quiet } else { turn.sent.elapsed() };
        let retry_after = failure.retry_after.map_or(Duration::ZERO, |wait| wait.min(RETRY_AFTER_MAX));
        match failure.kind {
            ReadFailureKind::Throttled | ReadFailureKind::Refused => self.health.refused(turn.sent, retry_after),
            ReadFailureKind::Permanent | ReadFailureKind::Doubtful => self.health.answered(),
            ReadFailureKind::Transient => {}
        }
        drop(turn);
        self.doubts += u32::from(failure.kind == ReadFailureKind::Doubtful);
        let patience = self.health.patience();
        if failure.kind == ReadFailureKind::Permanent || self.doubts > DOUBTS || self.spent >= patience {
            return Err(self.counted(failure.error));
        }
        // The last try is at the end of the time, not long before it.
        let left = (if self.spent < PATIENCE { PATIENCE } else { patience }) - self.spent;
        self.not_before = Some(Instant::now() + jittered(self.delay).max(retry_after).min(left));
        self.delay = (self.delay * 2).min(DELAY_MAX);
        Ok(())
    }

    /// The error, with how often and how long it was tried.
    fn counted(&self, error: Error) -> Error {
        match error {
            Error::Unavailable { service, action, source } if self.tries > 1 => {
                let action =
                    format!("{action}, tried {} times in {:.0} s", self.tries, self.spent.as_secs_f64().ceil());
                Error::Unavailable { service, action, source }
            }
            other => other,
        }
    }
}

/// Somewhat less, so that those who failed together do not come again together.
fn jittered(delay: Duration) -> Duration {
    delay.mul_f64(0.5 + rand::random::<f64>() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::read_failure::Progress;
    use super::*;

    fn failure(kind: ReadFailureKind) -> ReadFailure {
        let source = "no".into();
        let error = Error::Unavailable { service: "the store".to_owned(), action: "read".to_owned(), source };
        ReadFailure { kind, error, retry_after: None, progress: Progress::default() }
    }

    async fn turn(tries: &mut Tries) -> Turn {
        loop {
            tries.ready().await;
            if let Some(turn) = tries.turn() {
                return turn;
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_refuses_is_asked_by_a_few_until_it_answers_one() {
        let health = Arc::new(Health::default());
        let mut reads: Vec<Tries> = (0..30).map(|_| health.tries()).collect();
        let turns: Vec<Turn> = reads.iter().filter_map(Tries::turn).collect();
        assert_eq!(turns.len(), 30);
        let wait = Duration::from_millis(300);
        for (read, turn) in reads.iter_mut().zip(turns) {
            let refused = ReadFailure { retry_after: Some(wait), ..failure(ReadFailureKind::Refused) };
            read.failed(turn, refused).expect("another try");
        }
        // All of them were sent together, and count once.
        assert_eq!(health.state.lock().rounds, 1);
        assert!(reads.iter().all(|read| read.turn().is_none()));
        tokio::time::sleep(wait * 2).await;
        let probes: Vec<Turn> = reads.iter().filter_map(Tries::turn).collect();
        assert_eq!(probes.len(), PROBES);
        let mut probes = probes.into_iter();
        drop(probes.next());
        assert!(reads[0].turn().is_some(), "a probe that nobody waits for any more leaves its place");
        probes.next().expect("a probe").answered();
        assert_eq!(reads.iter().filter_map(Tries::turn).count(), 30);
    }

    #[tokio::test]
    async fn what_the_store_asks_for_is_heeded_by_all() {
        let health = Arc::new(Health::default());
        let (mut first, mut second) = (health.tries(), health.tries());
        let sent = turn(&mut first).await;
        let wait = Duration::from_millis(400);
        let refused = ReadFailure { retry_after: Some(wait), ..failure(ReadFailureKind::Throttled) };
        first.failed(sent, refused).expect("another try");
        let begun = Instant::now();
        turn(&mut second).await.answered();
        assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
        turn(&mut first).await.answered();
    }

    #[tokio::test]
    async fn an_answer_that_fails_alone_holds_up_nobody_else() {
        let health = Arc::new(Health::default());
        let (mut first, second) = (health.tries(), health.tries());
        let sent = turn(&mut first).await;
        first.failed(sent, failure(ReadFailureKind::Transient)).expect("another try");
        assert!(second.turn().is_some());
    }

    #[tokio::test]
    async fn a_read_is_given_up_after_its_time_and_at_once_if_that_is_useless() {
        let health = Arc::new(Health::default());
        let mut read = health.tries();
        let mut given_up = None;
        while given_up.is_none() {
            let sent = turn(&mut read).await;
            let stalled = Progress { quiet: Duration::from_secs(5), ..Progress::default() };
            let failure = ReadFailure { progress: stalled, ..failure(ReadFailureKind::Transient) };
            read.spent += if read.tries > 0 { Duration::from_secs(5) } else { Duration::ZERO };
            given_up = read.failed(sent, failure).err();
        }
        assert_eq!(read.failures(), 3);
        let said = given_up.expect("an error").to_string();
        assert!(said.contains("tried 3 times"), "{said}");
        let mut read = health.tries();
        let sent = turn(&mut read).await;
        assert!(read.failed(sent, failure(ReadFailureKind::Permanent)).is_err());
        let mut read = health.tries();
        for _ in 0..DOUBTS {
            let sent = turn(&mut read).await;
            read.failed(sent, failure(ReadFailureKind::Doubtful)).expect("another try");
        }
        let sent = turn(&mut read).await;
        assert!(read.failed(sent, failure(ReadFailureKind::Doubtful)).is_err());
    }
}
