//! Who is connected, and who makes way for whom.
//!
//! A new connection is let in whenever it can be: it might be a user's. What has not logged in yet makes way for it, the oldest first:
//! of the newcomer's own network if that has its share, else of the network that has most. So one machine that opens connections
//! without end pushes out its own. What has logged in never makes way; only when all connections have, a newcomer is turned away.
//! That it does not come to this by one user alone, each has a share, where callers are asked who they are.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use crate::auth::network;

/// Calls of one connection that are turned away before it is closed: drivers ask a few times, floods do not stop.
const REFUSALS_MAX: usize = 100;
/// Calls of one connection whose callers have still to say who they are, at the same time.
const UNIDENTIFIED_MAX: usize = 8;
/// How often the log tells that connections are closed or refused.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// All connections.
#[derive(Debug)]
pub(crate) struct Visits {
    pub(super) limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    /// Connections that have logged in.
    known: usize,
    by_user: HashMap<Arc<str>, usize>,
    /// Those that have not, the oldest first.
    strangers: BTreeMap<u64, Stranger>,
    by_network: HashMap<IpAddr, usize>,
    told: Option<Instant>,
    untold: u64,
}

#[derive(Debug)]
struct Stranger {
    network: IpAddr,
    evicted: CancellationToken,
}

/// One connection, for as long as this is not dropped.
#[derive(Debug)]
pub(crate) struct Visit {
    visits: Arc<Visits>,
    id: u64,
    evicted: CancellationToken,
    /// Who has logged in.
    user: OnceLock<Arc<str>>,
    refusals: AtomicUsize,
    unidentified: AtomicUsize,
}

/// A user has as many connections as one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany {
    /// How many that is.
    pub(crate) limit: usize,
}

/// A call whose caller has still to say who it is.
#[derive(Debug)]
pub(crate) struct Unidentified<'a>(&'a Visit);

impl Visits {
    /// Nobody is there yet.
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// A connection comes in; none if all that there may be have logged in.
    pub(super) fn enter(self: &Arc<Self>, address: SocketAddr) -> Option<Visit> {
        let network = network(Some(address.ip()));
        let mut state = self.state.lock();
        let own = state.by_network.get(&network).copied().unwrap_or(0);
        if own >= self.limits.pending_logins_per_address_max {
            state.evict_oldest(network);
        } else if state.strangers.len() >= self.limits.pending_logins_max || state.all() >= self.limits.connections_max
        {
            state.evict_one();
        }
        if state.all() >= self.limits.connections_max {
            state.tell("server.connections_max: all have logged in, and a new one was refused");
            return None;
        }
        let (id, evicted) = (state.next_id, CancellationToken::new());
        state.next_id += 1;
        state.strangers.insert(id, Stranger { network, evicted: evicted.clone() });
        *state.by_network.entry(network).or_default() += 1;
        drop(state);
        Some(Visit {
            visits: Arc::clone(self),
            id,
            evicted,
            user: OnceLock::new(),
            refusals: AtomicUsize::new(0),
            unidentified: AtomicUsize::new(0),
        })
    }

    /// Closes a connection that has not logged in, since the system has no descriptor left; whether there was one.
    pub(super) fn make_room(&self) -> bool {
        self.state.lock().evict_one()
    }

    /// Connections that have logged in, and those that have not.
    #[cfg(test)]
    fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.known, state.strangers.len())
    }
}

impl State {
    fn all(&self) -> usize {
        self.known + self.strangers.len()
    }

    /// Closes the oldest stranger of the network that has most of them.
    fn evict_one(&mut self) -> bool {
        let crowd = self.by_network.iter().max_by_key(|(_, count)| **count).map(|(network, _)| *network);
        crowd.is_some_and(|network| self.evict_oldest(network))
    }

    fn evict_oldest(&mut self, network: IpAddr) -> bool {
        let oldest = self.strangers.iter().find(|(_, stranger)| stranger.network == network).map(|(id, _)| *id);
        let Some(stranger) = oldest.and_then(|oldest| self.remove(oldest)) else { return false };
        stranger.evicted.cancel();
        self.tell("the oldest that had not logged in was closed (server.pending_logins_max)");
        true
    }

    fn remove(&mut self, id: u64) -> Option<Stranger> {
        let stranger = self.strangers.remove(&id)?;
        if let Some(count) = self.by_network.get_mut(&stranger.network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&stranger.network);
            }
        }
        Some(stranger)
    }

    /// A connection ends over which a user had logged in.
    fn leave(&mut self, user: &str) {
        self.known -= 1;
        if let Some(count) = self.by_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(user);
            }
        }
    }

    /// Tells the operator, now and then.
    fn tell(&mut self, what: &'static str) {
        self.untold += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_INTERVAL) {
            tracing::warn!(times = self.untold, what, "there are too many connections");
            (self.told, self.untold) = (Some(Instant::now()), 0);
        }
    }
}

impl Visit {
    /// Whether somebody has logged in.
    pub(super) fn is_known(&self) -> bool {
        self.user.get().is_some()
    }

    /// Fires when the connection has to close.
    pub(super) fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }

    /// The time until which somebody has to log in.
    pub(super) fn login_timeout(&self) -> Duration {
        self.visits.limits.login_timeout
    }

    /// Somebody was let in: from now on the connection stays for as long as its client likes, and counts as this user's.
    pub(crate) fn log_in(&self, user: &str) -> Result<(), TooMany> {
        if self.is_known() {
            return Ok(());
        }
        let mut state = self.visits.state.lock();
        // Two calls may come to this at the same time, or too late.
        if !state.strangers.contains_key(&self.id) {
            return Ok(());
        }
        let limit = self.visits.limits.connections_per_user_max;
        if state.by_user.get(user).is_some_and(|count| *count >= limit) {
            state.tell("server.user_share: a user has as many as one may, and one more was refused");
            return Err(TooMany { limit });
        }
        let user = self.user.get_or_init(|| user.into());
        state.remove(self.id);
        state.known += 1;
        *state.by_user.entry(Arc::clone(user)).or_default() += 1;
        Ok(())
    }

    /// A call was turned away. A connection that does nothing else is closed.
    pub(crate) fn refuse(&self) {
        if self.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS_MAX && !self.is_known() {
            self.evicted.cancel();
        }
    }

    /// A call begins whose caller will say who it is in its message; none if too many are at that.
    pub(crate) fn unidentified(&self) -> Option<Unidentified<'_>> {
        let begun = Unidentified(self);
        (self.unidentified.fetch_add(1, Ordering::Relaxed) < UNIDENTIFIED_MAX).then_some(begun)
    }
}

impl Drop for Unidentified<'_> {
    fn drop(&mut self) {
        self.0.unidentified.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut state = self.visits.state.lock();
        match self.user.get() {
            Some(user) => state.leave(user),
            None => drop(state.remove(self.id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(connections_max: usize, pending_logins_max: usize, pending_logins_per_address_max: usize) -> Arc<Visits> {
        let login_timeout = Duration::from_secs(30);
        Visits::new(Limits {
            connections_max,
            connections_per_user_max: 3,
            pending_logins_max,
            pending_logins_per_address_max,
            login_timeout,
        })
    }

    fn from(host: u8) -> SocketAddr {
        ([10, 0, 0, host], 1).into()
    }

    fn evicted(visits: &[Visit]) -> Vec<bool> {
        visits.iter().map(|visit| visit.evicted.is_cancelled()).collect()
    }

    #[test]
    fn one_address_that_fills_its_share_pushes_out_its_own() {
        let visits = visits(10, 5, 3);
        let other = visits.enter(from(1)).unwrap();
        let crowd: Vec<Visit> = (0..4).map(|_| visits.enter(from(2)).unwrap()).collect();
        assert_eq!(evicted(&crowd), [true, false, false, false]);
        assert!(!other.evicted.is_cancelled());
        assert_eq!(visits.counts(), (0, 4));
    }

    #[test]
    fn beyond_the_limit_of_all_the_largest_crowd_makes_way_and_never_who_has_logged_in() {
        let visits = visits(10, 4, 3);
        let user = visits.enter(from(2)).unwrap();
        user.log_in("ada").unwrap();
        let lone = visits.enter(from(1)).unwrap();
        let crowd: Vec<Visit> = (0..3).map(|_| visits.enter(from(2)).unwrap()).collect();
        let late = visits.enter(from(3)).unwrap();
        assert_eq!(evicted(&crowd), [true, false, false]);
        assert_eq!([&user, &lone, &late].map(|visit| visit.evicted.is_cancelled()), [false; 3]);
        assert_eq!(visits.counts(), (1, 4));
        // Too late: it was told to close.
        crowd[0].log_in("ada").unwrap();
        assert!(!crowd[0].is_known());
        drop((user, crowd, lone, late));
        assert_eq!(visits.counts(), (0, 0));
        assert!(visits.state.lock().by_network.is_empty() && !visits.make_room());
    }

    #[test]
    fn when_all_have_logged_in_a_newcomer_is_refused() {
        let visits = visits(3, 1, 1);
        let users: Vec<Visit> = (0..3)
            .map(|_| {
                let user = visits.enter(from(1)).unwrap();
                user.log_in("ada").unwrap();
                user
            })
            .collect();
        assert!(visits.enter(from(2)).is_none());
        drop(users);
        assert!(visits.enter(from(2)).is_some());
    }

    #[test]
    fn a_user_has_a_share_and_others_get_in() {
        let visits = visits(5, 5, 5);
        let log_in = |user: &str| {
            let visit = visits.enter(from(1)).unwrap();
            visit.log_in(user).map(|()| visit)
        };
        let mut of_ada: Vec<Visit> = (0..3).map(|_| log_in("ada").unwrap()).collect();
        assert_eq!(log_in("ada").unwrap_err(), TooMany { limit: 3 });
        let of_ben = log_in("ben").unwrap();
        // Who is in does not count again, whoever calls over the connection.
        assert_eq!((of_ada[0].log_in("ada"), of_ben.log_in("ada")), (Ok(()), Ok(())));
        of_ada.pop();
        of_ada.push(log_in("ada").unwrap());
        assert_eq!(visits.counts(), (4, 0));
        drop((of_ada, of_ben));
        assert!(visits.state.lock().by_user.is_empty());
    }

    #[test]
    fn a_connection_whose_calls_are_all_refused_is_closed() {
        let visits = visits(10, 5, 5);
        let (stranger, user) = (visits.enter(from(1)).unwrap(), visits.enter(from(1)).unwrap());
        user.log_in("ada").unwrap();
        for _ in 0..=REFUSALS_MAX {
            assert!(!stranger.evicted.is_cancelled());
            stranger.refuse();
            user.refuse();
        }
        assert_eq!((stranger.evicted.is_cancelled(), user.evicted.is_cancelled()), (true, false));
        let begun: Vec<Unidentified<'_>> = std::iter::from_fn(|| user.unidentified()).take(100).collect();
        assert_eq!(begun.len(), UNIDENTIFIED_MAX);
        drop(begun);
        assert!(user.unidentified().is_some());
    }
}
