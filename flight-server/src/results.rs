//! Results that were promised under a ticket and not fetched yet, and those being fetched.
//!
//! A ticket is unguessable, works once, expires, and is good only for the user it was given to. Nothing of a query runs
//! before its ticket is fetched, so an expired one costs only its plan. A result being fetched can be stopped by its ticket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use polynya_engine::{QueryContext, RowStream, WireOptions};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::quota::{Full, Quota};
use crate::sessions::unguessable;
use crate::status::status;

/// Once there is no room for a user, a result that was not fetched for so long makes way for another one of theirs.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The results that clients may fetch or are fetching.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    state: Arc<Mutex<State>>,
    lifetime: Duration,
    quota: Quota,
}

#[derive(Debug, Default)]
struct State {
    pending: HashMap<String, Pending>,
    running: HashMap<String, Running>,
}

#[derive(Debug)]
struct Pending {
    result: Promised,
    owner: Arc<str>,
    since: Instant,
}

struct Running {
    cancelled: CancellationToken,
    owner: Arc<str>,
    /// Ends the query at once, also if its client reads nothing.
    stop: Option<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// What a ticket stands for.
#[derive(Debug)]
pub(crate) enum Promised {
    /// Rows, which run when they are fetched, and the form that was announced for them.
    Rows(RowStream, WireOptions),
    /// A statement without rows, which ran when its ticket was made.
    Nothing,
}

/// Where a result is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was promised and nobody has fetched it yet.
    Waiting,
    /// It is being fetched.
    Fetching,
    /// It was fetched, cancelled or forgotten, or never was.
    Ended,
}

/// A result being fetched; forgotten when this is dropped.
#[derive(Debug)]
pub(crate) struct Fetching {
    results: Results,
    ticket: String,
    /// Fires when somebody cancels the result.
    pub(crate) cancelled: CancellationToken,
}

impl Results {
    /// No results; unfetched ones live for `lifetime`, and are bounded in number.
    pub(crate) fn new(lifetime: Duration, quota: Quota) -> Self {
        Self { state: Arc::default(), lifetime, quota }
    }

    /// Keeps a user's result under a new ticket.
    pub(crate) fn promise(&self, result: Promised, owner: &str) -> Result<String, Status> {
        let mut state = self.state.lock();
        let full = |state: &State| self.quota.full(state.pending.len(), || state.count_of(owner));
        if full(&state).is_some() {
            state.expire(self.lifetime);
        }
        if let Some(full) = full(&state) {
            state.make_room(full, owner);
        }
        if let Some(full) = full(&state) {
            return Err(self.quota.refusal(full, owner));
        }
        let ticket = unguessable();
        state.pending.insert(ticket.clone(), Pending { result, owner: owner.into(), since: Instant::now() });
        Ok(ticket)
    }

    /// Hands out what a user's ticket stands for; it works once.
    pub(crate) fn fetch(&self, ticket: &str, user: &str) -> Result<(Promised, Fetching), Status> {
        let mut state = self.state.lock();
        let pending = state.take_pending(ticket, user).filter(|pending| pending.since.elapsed() < self.lifetime);
        let Some(pending) = pending else {
            let message = "this ticket is unknown: it was used already, has expired, or is of another server; \
                           run the statement again";
            return Err(status(Code::NotFound, "24000", message, None));
        };
        let cancelled = CancellationToken::new();
        let running = Running { cancelled: cancelled.clone(), owner: pending.owner, stop: None };
        state.running.insert(ticket.to_owned(), running);
        drop(state);
        Ok((pending.result, Fetching { results: self.clone(), ticket: ticket.to_owned(), cancelled }))
    }

    /// Stops a user's result, fetched or not; whether there was one.
    pub(crate) fn cancel(&self, ticket: &str, user: &str) -> bool {
        let mut state = self.state.lock();
        let pending = state.take_pending(ticket, user);
        let is_running = state.running.get(ticket).is_some_and(|running| *running.owner == *user);
        let running = if is_running { state.running.remove(ticket) } else { None };
        drop(state);
        let found = pending.is_some() || running.is_some();
        // What ends a query is done without the lock.
        drop(pending);
        if let Some(running) = running {
            running.cancelled.cancel();
            running.stop.into_iter().for_each(|stop| stop());
        }
        found
    }

    /// Where the result of a ticket is.
    pub(crate) fn stage(&self, ticket: &str) -> Stage {
        let state = self.state.lock();
        match (state.pending.contains_key(ticket), state.running.contains_key(ticket)) {
            (true, _) => Stage::Waiting,
            (false, true) => Stage::Fetching,
            (false, false) => Stage::Ended,
        }
    }

    /// The query of a result that waits to be fetched; none if it has no rows.
    pub(crate) fn waiting_query(&self, ticket: &str) -> Option<Arc<QueryContext>> {
        match &self.state.lock().pending.get(ticket)?.result {
            Promised::Rows(rows, _) => Some(rows.context()),
            Promised::Nothing => None,
        }
    }

    /// Whether results younger than `age` wait to be fetched.
    pub(crate) fn has_pending_younger_than(&self, age: Duration) -> bool {
        self.state.lock().pending.values().any(|pending| pending.since.elapsed() < age)
    }

    /// Forgets results that nobody fetched in time.
    pub(crate) fn expire(&self) {
        self.state.lock().expire(self.lifetime);
    }
}

impl State {
    /// Takes a result that waits, if it is this user's.
    fn take_pending(&mut self, ticket: &str, user: &str) -> Option<Pending> {
        let is_theirs = self.pending.get(ticket).is_some_and(|pending| *pending.owner == *user);
        if is_theirs { self.pending.remove(ticket) } else { None }
    }

    /// How many results of a user wait.
    fn count_of(&self, user: &str) -> usize {
        self.pending.values().filter(|pending| *pending.owner == *user).count()
    }

    /// Forgets the oldest result that has no rows, or that its user, who wants another one, has left alone for long: clients
    /// that run SET as a query do not fetch what comes of it. A user whose share is full gets no room from others.
    fn make_room(&mut self, full: Full, owner: &str) {
        let spare = self.pending.iter().filter(|(_, pending)| {
            let is_own = *pending.owner == *owner;
            let is_forgotten = is_own && pending.since.elapsed() >= FORGOTTEN;
            let has_no_rows = matches!(pending.result, Promised::Nothing) && (is_own || full == Full::All);
            has_no_rows || is_forgotten
        });
        let oldest = spare.min_by_key(|(_, pending)| pending.since).map(|(ticket, _)| ticket.clone());
        if let Some(oldest) = oldest {
            self.pending.remove(&oldest);
        }
    }

    fn expire(&mut self, lifetime: Duration) {
        self.pending.retain(|_, pending| pending.since.elapsed() < lifetime);
    }
}

impl Fetching {
    /// What is done, besides telling the client, when somebody cancels the result.
    pub(crate) fn on_cancel(&self, stop: impl FnOnce() + Send + 'static) {
        let mut state = self.results.state.lock();
        match state.running.get_mut(&self.ticket) {
            Some(running) => running.stop = Some(Box::new(stop)),
            // Cancelled already.
            None => {
                drop(state);
                stop();
            }
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        // Dropped without the lock.
        let running = self.results.state.lock().running.remove(&self.ticket);
        drop(running);
    }
}

#[cfg(test)]
mod tests {
    use polynya_engine::{Answer, Engine, Settings};

    use super::*;

    /// A result with rows.
    async fn rows(engine: &Arc<Engine>) -> Promised {
        match engine.query("SELECT 1", &engine.session("tenant", "user")).await.unwrap() {
            Answer::Rows(rows) => Promised::Rows(rows, WireOptions::default()),
            Answer::Done(done) => panic!("{done:?}"),
        }
    }

    #[test]
    fn a_ticket_works_once() {
        let results = Results::new(Duration::from_secs(60), Quota::for_test(10, 10));
        let ticket = results.promise(Promised::Nothing, "ann").unwrap();
        assert_eq!(results.stage(&ticket), Stage::Waiting);
        let (_, fetching) = results.fetch(&ticket, "ann").unwrap();
        assert_eq!(results.stage(&ticket), Stage::Fetching);
        drop(fetching);
        assert_eq!(results.stage(&ticket), Stage::Ended);
        assert_eq!(results.fetch(&ticket, "ann").unwrap_err().code(), Code::NotFound);
        assert_eq!(results.fetch("guess", "ann").unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn a_ticket_expires() {
        let results = Results::new(Duration::ZERO, Quota::for_test(10, 10));
        let ticket = results.promise(Promised::Nothing, "ann").unwrap();
        assert_eq!(results.fetch(&ticket, "ann").unwrap_err().code(), Code::NotFound);
    }

    #[test]
    fn cancelling_reaches_results_before_and_while_they_are_fetched() {
        let results = Results::new(Duration::from_secs(60), Quota::for_test(10, 10));
        let waiting = results.promise(Promised::Nothing, "ann").unwrap();
        assert!(results.cancel(&waiting, "ann"));
        assert!(!results.cancel(&waiting, "ann"));
        let running = results.promise(Promised::Nothing, "ann").unwrap();
        let (_, fetching) = results.fetch(&running, "ann").unwrap();
        let stopped = Arc::new(Mutex::new(0));
        let stop = || {
            let stopped = Arc::clone(&stopped);
            move || *stopped.lock() += 1
        };
        fetching.on_cancel(stop());
        assert!(results.cancel(&running, "ann"));
        assert!(fetching.cancelled.is_cancelled());
        assert_eq!(*stopped.lock(), 1);
        fetching.on_cancel(stop());
        assert_eq!(*stopped.lock(), 2, "too late to wait for it");
    }

    #[test]
    fn another_users_ticket_is_unknown_and_stays_good_for_its_owner() {
        let results = Results::new(Duration::from_secs(60), Quota::for_test(10, 10));
        let ticket = results.promise(Promised::Nothing, "ann").unwrap();
        assert_eq!(results.fetch(&ticket, "eve").unwrap_err().code(), Code::NotFound);
        assert!(!results.cancel(&ticket, "eve"));
        let (_, fetching) = results.fetch(&ticket, "ann").unwrap();
        assert!(!results.cancel(&ticket, "eve"));
        assert!(!fetching.cancelled.is_cancelled());
    }

    #[tokio::test]
    async fn a_user_fills_a_share_and_leaves_the_rest_to_others() {
        let engine = Engine::start(Settings::default()).await.unwrap();
        let results = Results::new(Duration::from_secs(600), Quota::for_test(4, 2));
        let promise = async |user: &str| results.promise(rows(&engine).await, user);
        let eves = results.promise(Promised::Nothing, "eve").unwrap();
        let mine = promise("ann").await.unwrap();
        promise("ann").await.unwrap();
        let refused = promise("ann").await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("user ann"), "{refused:?}");
        for ticket in [&eves, &mine] {
            results.state.lock().pending.get_mut(ticket).unwrap().since = Instant::now() - FORGOTTEN * 2;
        }
        promise("ann").await.unwrap();
        assert_eq!([&eves, &mine].map(|ticket| results.stage(ticket)), [Stage::Waiting, Stage::Ended]);
        // Nobody's share is full, and yet there is no room, except for what has no rows.
        promise("eve").await.unwrap();
        promise("bob").await.unwrap();
        assert_eq!(results.stage(&eves), Stage::Ended);
        assert!(promise("bob").await.unwrap_err().message().contains("server.pending_results_max"));
    }

    #[test]
    fn results_without_rows_make_way() {
        let results = Results::new(Duration::from_secs(60), Quota::for_test(2, 2));
        let [first, second, third] = [0; 3].map(|_| results.promise(Promised::Nothing, "ann").unwrap());
        assert_eq!(
            [first, second, third].map(|ticket| results.stage(&ticket)),
            [Stage::Ended, Stage::Waiting, Stage::Waiting]
        );
    }
}
