//! How long callers must wait after wrong passwords.
//!
//! Failures are counted for each user and network they come from, and, more patiently, for each user from everywhere:
//! guessing from many places is slowed down as well. A few failures are free; after them the pause doubles with each.
//!
//! Whoever guesses without end would shut out the user, whom the pauses concern as well. So failures elsewhere do not concern
//! a network from which the user came in lately: that is where users are most of the time.
//!
//! Memory is bounded: the least telling counts, and the oldest networks, are forgotten first.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Counts that are kept.
const COUNTS_MAX: usize = 10_000;
/// After so long without a failure, a count is forgotten.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// Networks of users that are kept, and for how long after a right password.
const HOMES_MAX: usize = 10_000;
const HOME_MEMORY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Failures that cost nothing, and the longest pause after more, for a user from one network.
const FROM_ONE: Patience = Patience { free: 3, pause_max: Duration::from_secs(60) };
/// The same for a user from everywhere.
const FROM_ALL: Patience = Patience { free: 30, pause_max: Duration::from_secs(10) };

struct Patience {
    free: u32,
    pause_max: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    counts: Mutex<HashMap<Scope, Failures>>,
    /// Users, the networks they came from, and when they did last.
    homes: Mutex<HashMap<(String, IpAddr), Instant>>,
}

/// Whose failures are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    FromOne(String, IpAddr),
    FromAll(String),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Backoff {
    /// How long this user must wait from here before another password is looked at; none: not at all.
    pub(super) fn pause(&self, user: &str, peer: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let is_home = self.is_home(user, peer, now);
        let counts = self.counts.lock();
        let left = scopes(user, peer).into_iter().filter_map(|(scope, patience)| {
            if is_home && matches!(scope, Scope::FromAll(_)) {
                return None;
            }
            let failures = counts.get(&scope)?;
            let pause = patience.pause(failures.count)?;
            pause.checked_sub(now.saturating_duration_since(failures.last)).filter(|left| !left.is_zero())
        });
        left.max()
    }

    /// A password was wrong.
    pub(super) fn failed(&self, user: &str, peer: Option<IpAddr>, now: Instant) {
        let mut counts = self.counts.lock();
        for (scope, _) in scopes(user, peer) {
            if counts.len() >= COUNTS_MAX && !counts.contains_key(&scope) {
                make_room(&mut counts, now);
            }
            let failures = counts.entry(scope).or_insert(Failures { count: 0, last: now });
            if now.saturating_duration_since(failures.last) > MEMORY {
                failures.count = 0;
            }
            *failures = Failures { count: failures.count.saturating_add(1), last: now };
        }
    }

    /// A password was right: its user is at home in this network.
    pub(super) fn succeeded(&self, user: &str, peer: Option<IpAddr>, now: Instant) {
        self.counts.lock().remove(&Scope::FromOne(user.to_owned(), network(peer)));
        let home = (user.to_owned(), network(peer));
        let mut homes = self.homes.lock();
        if homes.len() >= HOMES_MAX && !homes.contains_key(&home) {
            let oldest = homes.iter().min_by_key(|(_, last)| **last).map(|(home, _)| home.clone());
            if let Some(oldest) = oldest {
                homes.remove(&oldest);
            }
        }
        homes.insert(home, now);
    }

    fn is_home(&self, user: &str, peer: Option<IpAddr>, now: Instant) -> bool {
        let homes = self.homes.lock();
        let last = homes.get(&(user.to_owned(), network(peer)));
        last.is_some_and(|last| now.saturating_duration_since(*last) <= HOME_MEMORY)
    }
}

impl Patience {
    fn pause(&self, count: u32) -> Option<Duration> {
        let beyond = count.checked_sub(self.free)?.checked_sub(1)?;
        Some(PAUSE_MIN.saturating_mul(1 << beyond.min(16)).min(self.pause_max))
    }
}

fn scopes(user: &str, peer: Option<IpAddr>) -> [(Scope, Patience); 2] {
    [(Scope::FromOne(user.to_owned(), network(peer)), FROM_ONE), (Scope::FromAll(user.to_owned()), FROM_ALL)]
}

/// An address, or of IPv6 the network that one customer gets (64 bits).
pub(crate) fn network(peer: Option<IpAddr>) -> IpAddr {
    match peer {
        None => Ipv4Addr::UNSPECIFIED.into(),
        Some(IpAddr::V4(address)) => address.into(),
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.into(),
            None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

/// Forgets what is old, or else the count with the fewest failures.
fn make_room(counts: &mut HashMap<Scope, Failures>, now: Instant) {
    counts.retain(|_, failures| now.saturating_duration_since(failures.last) <= MEMORY);
    if counts.len() >= COUNTS_MAX {
        let least = counts.iter().min_by_key(|(_, failures)| (failures.count, failures.last));
        if let Some(scope) = least.map(|(scope, _)| scope.clone()) {
            counts.remove(&scope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    const AWAY: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)));

    #[test]
    fn a_few_failures_are_free_and_the_pause_doubles_after_them() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..3 {
            backoff.failed("ann", HOME, now);
        }
        assert_eq!(backoff.pause("ann", HOME, now), None);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed("ann", HOME, now);
            assert_eq!(backoff.pause("ann", HOME, now), Some(Duration::from_secs(seconds)));
        }
        assert_eq!(backoff.pause("ann", HOME, now + Duration::from_secs(60)), None);
        assert_eq!(backoff.pause("ann", AWAY, now), None, "from elsewhere the user may come in");
        assert_eq!(backoff.pause("bob", HOME, now), None);
    }

    #[test]
    fn a_right_password_ends_the_pause_and_time_forgets() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..5 {
            backoff.failed("ann", HOME, now);
        }
        assert!(backoff.pause("ann", HOME, now).is_some());
        backoff.succeeded("ann", HOME, now);
        assert_eq!(backoff.pause("ann", HOME, now), None);
        for _ in 0..5 {
            backoff.failed("ann", HOME, now);
        }
        let later = now + MEMORY + Duration::from_secs(1);
        backoff.failed("ann", HOME, later);
        assert_eq!(backoff.pause("ann", HOME, later), None);
    }

    #[test]
    fn guessing_from_many_addresses_is_slowed_down_too() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        for last in 0..40 {
            backoff.failed("ann", Some(Ipv4Addr::new(10, 0, 1, last).into()), now);
        }
        let pause = backoff.pause("ann", HOME, now).unwrap();
        assert!(pause <= FROM_ALL.pause_max, "{pause:?}");
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let other: IpAddr = "2001:db8::ffff".parse().unwrap();
        assert_eq!(network(Some(one)), network(Some(other)));
    }

    #[test]
    fn guessing_elsewhere_does_not_shut_out_a_user_who_is_at_home() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        backoff.succeeded("ann", HOME, now);
        for last in 0..40 {
            backoff.failed("ann", Some(Ipv4Addr::new(10, 0, 1, last).into()), now);
        }
        assert_eq!(backoff.pause("ann", HOME, now), None);
        assert!(backoff.pause("ann", AWAY, now).is_some());
        for _ in 0..4 {
            backoff.failed("ann", HOME, now);
        }
        assert!(backoff.pause("ann", HOME, now).is_some(), "failures at home count");
        let later = now + HOME_MEMORY + Duration::from_secs(1);
        assert!(!backoff.is_home("ann", HOME, later));
        for user in 0..HOMES_MAX + 50 {
            backoff.succeeded(&format!("user {user}"), AWAY, now + Duration::from_secs(1));
        }
        assert_eq!(backoff.homes.lock().len(), HOMES_MAX);
        assert!(!backoff.is_home("ann", HOME, now), "the oldest is forgotten first");
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_worst() {
        let (backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..6 {
            backoff.failed("ann", HOME, now);
        }
        for user in 0..COUNTS_MAX / 2 + 50 {
            backoff.failed(&format!("user {user}"), HOME, now);
        }
        assert!(backoff.counts.lock().len() <= COUNTS_MAX);
        assert!(backoff.pause("ann", HOME, now).is_some());
    }
}
