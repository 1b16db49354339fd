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

use crate::sessions::unguessable;
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

/// Once there is no room, a statement that was not run for so long makes way for another one of its user.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// All prepared statements.
#[derive(Debug)]
pub(crate) struct PreparedStatements {
    by_handle: Mutex<HashMap<String, (Prepared, Instant)>>,
    idle_timeout: Duration,
    count_max: usize,
    bound_bytes_max: u64,
}

/// What all statements together may hold of values, in bindings as large as one may be.
const BINDINGS_MAX: u64 = 16;

impl PreparedStatements {
    /// None yet. `binding_bytes_max` is what one binding may have.
    pub(crate) fn new(idle_timeout: Duration, count_max: usize, binding_bytes_max: u64) -> Self {
        let bound_bytes_max = binding_bytes_max.saturating_mul(BINDINGS_MAX);
        Self { by_handle: Mutex::default(), idle_timeout, count_max, bound_bytes_max }
    }

    /// Keeps a statement under a new handle.
    pub(crate) fn insert(&self, prepared: Prepared) -> Result<String, Status> {
        let mut by_handle = self.by_handle.lock();
        if by_handle.len() >= self.count_max {
            by_handle.retain(|_, (_, used)| used.elapsed() < self.idle_timeout);
            make_room(&mut by_handle, prepared.session.user(), self.count_max);
        }
        if by_handle.len() >= self.count_max {
            let message = format!(
                "the server holds {} prepared statements, its limit (setting server.prepared_statements_max): close some",
                by_handle.len()
            );
            return Err(status(Code::ResourceExhausted, "53000", message, None));
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
        let Some(name) = std::str::from_utf8(handle).ok().filter(|name| by_handle.contains_key(*name)) else {
            return Err(unknown());
        };
        let others = by_handle.iter().filter(|(other, _)| *other != name);
        let held = others.fold(values.bytes() as u64, |bytes, (_, (other, _))| bytes + other.bound.bytes() as u64);
        if values.is_bound() && held > self.bound_bytes_max {
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
fn make_room(by_handle: &mut HashMap<String, (Prepared, Instant)>, user: &str, count_max: usize) {
    if by_handle.len() < count_max {
        return;
    }
    let own = by_handle.iter().filter(|(_, (other, used))| other.session.user() == user && used.elapsed() >= FORGOTTEN);
    let oldest = own.min_by_key(|(_, (_, used))| *used).map(|(handle, _)| handle.clone());
    if let Some(oldest) = oldest {
        by_handle.remove(&oldest);
    }
}

fn unknown() -> Status {
    let message = "this prepared statement is unknown: it was closed, has expired, or is of another server; \
                   prepare it again";
    status(Code::NotFound, "26000", message, None)
}
