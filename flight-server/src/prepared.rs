//! Statements that clients have prepared, by unguessable handles.
//!
//! A statement runs in the session it was prepared in, so that clients without cookies find their catalog and schema
//! again. It belongs to that session's user: to others its handle is unknown. Handles are bounded in number and expire
//! when they are not used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use polynya_engine::{Description, Parameters, Session};
use tonic::{Code, Status};

use crate::quota::{self, Quota};
use crate::sessions::unguessable;
use crate::settings::ServerSettings;
use crate::status::status;

/// One prepared statement.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The text.
    pub(crate) sql: String,
    /// What it is, as of when it was prepared.
    pub(crate) description: Description,
    /// The session it runs in.
    pub(crate) session: Arc<Session>,
    /// The values that were bound to it last: whoever runs it sees all of them, or all of those before.
    pub(crate) bound: Parameters,
}

/// Once there is no room for a user, a statement that was not run for so long makes way for another one of theirs.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// Statements, and when each was used last.
type ByHandle = HashMap<String, (Prepared, Instant)>;

/// All prepared statements.
#[derive(Debug)]
pub(crate) struct PreparedStatements {
    by_handle: Mutex<ByHandle>,
    idle_timeout: Duration,
    quota: Quota,
    bound_bytes_max: u64,
    bound_bytes_of_user_max: u64,
}

/// What all statements together may hold of values, in bindings as large as one may be.
const BINDINGS_MAX: u64 = 16;

impl PreparedStatements {
    /// None yet.
    pub(crate) fn new(settings: &ServerSettings) -> Self {
        let binding_bytes_max = settings.max_message_bytes.as_u64();
        let bound_bytes_max = binding_bytes_max.saturating_mul(BINDINGS_MAX);
        Self {
            by_handle: Mutex::default(),
            idle_timeout: settings.session_idle_timeout,
            quota: Quota::new(&quota::PREPARED, settings.prepared_statements_max, settings),
            bound_bytes_max,
            bound_bytes_of_user_max: settings.share_of(bound_bytes_max).max(binding_bytes_max),
        }
    }

    /// Keeps a statement under a new handle.
    pub(crate) fn insert(&self, prepared: Prepared) -> Result<String, Status> {
        let mut by_handle = self.by_handle.lock();
        let user = prepared.session.user();
        let full = |kept: &ByHandle| self.quota.full(kept.len(), || of_user(kept, user).count());
        if full(&by_handle).is_some() {
            by_handle.retain(|_, (_, used)| used.elapsed() < self.idle_timeout);
        }
        if full(&by_handle).is_some() {
            make_room(&mut by_handle, user);
        }
        if let Some(full) = full(&by_handle) {
            return Err(self.quota.refusal(full, user));
        }
        let handle = unguessable();
        by_handle.insert(handle.clone(), (prepared, Instant::now()));
        Ok(handle)
    }

    /// The statement of a user's handle.
    pub(crate) fn get(&self, handle: &[u8], user: &str) -> Result<Prepared, Status> {
        let mut by_handle = self.by_handle.lock();
        let found = std::str::from_utf8(handle).ok().and_then(|handle| by_handle.get_mut(handle));
        let found = found.filter(|(prepared, _)| prepared.session.user() == user);
        let Some((prepared, used)) = found.filter(|(_, used)| used.elapsed() < self.idle_timeout) else {
            return Err(unknown());
        };
        *used = Instant::now();
        Ok(prepared.clone())
    }

    /// Keeps values for the statement's next runs, in place of those before.
    pub(crate) fn bind(&self, handle: &[u8], values: Parameters) -> Result<(), Status> {
        let mut by_handle = self.by_handle.lock();
        let name = std::str::from_utf8(handle).map_err(|_| unknown())?;
        let (statement, _) = by_handle.get(name).ok_or_else(unknown)?;
        let user = statement.session.user();
        let (mut of_all, mut of_user) = (values.bytes() as u64, values.bytes() as u64);
        for (_, (other, _)) in by_handle.iter().filter(|(other, _)| *other != name) {
            let bytes = other.bound.bytes() as u64;
            of_all += bytes;
            of_user += if other.session.user() == user { bytes } else { 0 };
        }
        if values.is_bound()
            && self.bound_bytes_of_user_max < self.bound_bytes_max
            && of_user > self.bound_bytes_of_user_max
        {
            let message = format!(
                "the prepared statements of user {user} hold too many values, more than one user's share (setting \
                 server.user_share): close some, or bind fewer rows"
            );
            return Err(status(Code::ResourceExhausted, "53000", message, None));
        }
        if values.is_bound() && of_all > self.bound_bytes_max {
            let message = "the prepared statements of this server hold too many values: close some, or bind fewer rows";
            return Err(status(Code::ResourceExhausted, "53000", message, None));
        }
        if let Some((prepared, used)) = by_handle.get_mut(name) {
            prepared.bound = values;
            *used = Instant::now();
        }
        Ok(())
    }

    /// Forgets a user's statement. An unknown handle is fine.
    pub(crate) fn close(&self, handle: &[u8], user: &str) {
        let Ok(handle) = std::str::from_utf8(handle) else { return };
        let mut by_handle = self.by_handle.lock();
        if by_handle.get(handle).is_some_and(|(prepared, _)| prepared.session.user() == user) {
            by_handle.remove(handle);
        }
    }

    /// Forgets the statements of a session.
    pub(crate) fn close_all_of(&self, session: &Arc<Session>) {
        self.by_handle.lock().retain(|_, (prepared, _)| !Arc::ptr_eq(&prepared.session, session));
    }

    /// Forgets statements that were not used for too long.
    pub(crate) fn expire(&self) {
        self.by_handle.lock().retain(|_, (_, used)| used.elapsed() < self.idle_timeout);
    }
}

/// Forgets the statement that a user has not run for the longest time: some drivers forget to close theirs. Those of
/// others stay.
fn make_room(by_handle: &mut ByHandle, user: &str) {
    let forgotten = of_user(by_handle, user).filter(|(_, (_, used))| used.elapsed() >= FORGOTTEN);
    let oldest = forgotten.min_by_key(|(_, (_, used))| *used).map(|(handle, _)| handle.clone());
    if let Some(oldest) = oldest {
        by_handle.remove(&oldest);
    }
}

fn of_user<'a>(kept: &'a ByHandle, user: &'a str) -> impl Iterator<Item = (&'a String, &'a (Prepared, Instant))> {
    kept.iter().filter(move |(_, (prepared, _))| prepared.session.user() == user)
}

fn unknown() -> Status {
    let message = "this prepared statement is unknown: it was closed, has expired, or is of another server; \
                   prepare it again";
    status(Code::NotFound, "26000", message, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(user: &str) -> Prepared {
        let session = Arc::new(Session::new("tenant", user, None, None));
        Prepared { sql: String::new(), description: Description::update(), session, bound: Parameters::none() }
    }

    #[test]
    fn a_user_fills_a_share_and_leaves_the_rest_to_others() {
        let quota = Quota::for_test(4, 2);
        let statements = PreparedStatements { quota, ..PreparedStatements::new(&ServerSettings::default()) };
        let first = statements.insert(statement("ann")).unwrap();
        let second = statements.insert(statement("ann")).unwrap();
        let eves = statements.insert(statement("eve")).unwrap();
        let refused = statements.insert(statement("ann")).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("user ann"), "{refused:?}");
        for handle in [&first, &eves] {
            statements.by_handle.lock().get_mut(handle).unwrap().1 = Instant::now() - FORGOTTEN * 2;
        }
        statements.insert(statement("ann")).unwrap();
        assert!(statements.get(first.as_bytes(), "ann").is_err());
        assert!(statements.get(second.as_bytes(), "ann").is_ok());
        assert!(statements.get(eves.as_bytes(), "eve").is_ok());
    }
}
