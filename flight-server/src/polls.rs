//! Queries that clients poll, by the tickets of their results.
//!
//! A query is known for as long as its result waits or is fetched, and for a while after it was asked for last, so that a
//! client learns of its end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::FlightInfo;
use parking_lot::Mutex;
use polynya_engine::QueryContext;
use tonic::{Code, Status};

use crate::quota::{self, Quota};
use crate::results::{Results, Stage};
use crate::settings::ServerSettings;
use crate::status::status;

/// Queries that can be polled at the same time, those that ended lately included.
const POLLED_MAX: usize = 10_000;

/// All queries that can be polled.
#[derive(Debug)]
pub(crate) struct Polls {
    by_ticket: Mutex<HashMap<String, Entry>>,
    results: Results,
    lifetime: Duration,
    quota: Quota,
}

/// A query that can be polled.
#[derive(Debug, Clone)]
pub(crate) struct Polled {
    /// What was answered at first; every answer repeats it.
    pub(crate) info: FlightInfo,
    /// Knows how far it is.
    pub(crate) query: Arc<QueryContext>,
    /// Whose query it is; nobody else can poll it.
    pub(crate) owner: Arc<str>,
}

#[derive(Debug)]
struct Entry {
    polled: Polled,
    used: Instant,
}

impl Polls {
    /// None yet; they are remembered for as long after their end as results wait to be fetched.
    pub(crate) fn new(results: Results, settings: &ServerSettings) -> Self {
        let quota = Quota::new(&quota::RESULTS, POLLED_MAX, settings);
        Self { by_ticket: Mutex::default(), results, lifetime: settings.result_lifetime, quota }
    }

    /// Lets a query be polled by the ticket of its result. Whether there is room for it.
    pub(crate) fn begin(&self, ticket: &str, polled: Polled) -> bool {
        if !self.has_room(&self.by_ticket.lock(), &polled.owner) {
            self.expire();
        }
        let mut by_ticket = self.by_ticket.lock();
        let room = self.has_room(&by_ticket, &polled.owner);
        if room {
            by_ticket.insert(ticket.to_owned(), Entry { polled, used: Instant::now() });
        }
        room
    }

    /// The query of a user's ticket.
    ///
    /// # Errors
    /// NOT_FOUND if it cannot be polled, any more, by this user or at all.
    pub(crate) fn get(&self, ticket: &str, user: &str) -> Result<Polled, Status> {
        let mut by_ticket = self.by_ticket.lock();
        let theirs = by_ticket.get_mut(ticket).filter(|entry| *entry.polled.owner == *user);
        let known = theirs.filter(|entry| self.is_kept(ticket, entry));
        let Some(entry) = known else {
            let message = "there is no such query to poll: its descriptor was not given by PollFlightInfo, has expired, \
                           or is of another server; run the statement again";
            return Err(status(Code::NotFound, "24000", message, None));
        };
        entry.used = Instant::now();
        Ok(entry.polled.clone())
    }

    /// Forgets queries that ended and were not asked for since.
    pub(crate) fn expire(&self) {
        self.by_ticket.lock().retain(|ticket, entry| {
            if self.results.stage(ticket) != Stage::Ended {
                entry.used = Instant::now();
            }
            self.is_kept(ticket, entry)
        });
    }

    /// How long a query that is asked for now can be asked for again, at least.
    pub(crate) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn has_room(&self, by_ticket: &HashMap<String, Entry>, user: &str) -> bool {
        let of_user = || by_ticket.values().filter(|entry| *entry.polled.owner == *user).count();
        self.quota.full(by_ticket.len(), of_user).is_none()
    }

    fn is_kept(&self, ticket: &str, entry: &Entry) -> bool {
        entry.used.elapsed() < self.lifetime || self.results.stage(ticket) != Stage::Ended
    }
}
