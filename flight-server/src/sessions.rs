//! Which session a call belongs to, and how long sessions live.
//!
//! A session is found by the cookie `polynya-session-id`, else by a bearer token that a handshake gave out, else it is a
//! fresh one that lives for the call. A fresh session is kept, and its cookie sent, only once there is something to
//! remember (an option was set, `USE`, `SET`): clients without cookies would otherwise leave one behind per call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use polynya_engine::Session;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::status::status;

const COOKIE_NAME: &str = "polynya-session-id";

/// The sessions that clients hold on to.
pub(crate) struct Sessions {
    kept: Mutex<HashMap<String, Kept>>,
    fresh: Box<dyn Fn() -> Session + Send + Sync>,
    idle_timeout: Duration,
    count_max: usize,
}

#[derive(Debug)]
struct Kept {
    session: Arc<Session>,
    used: Instant,
}

/// A call's session.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The engine's session.
    pub(crate) session: Arc<Session>,
    id: String,
    /// What the session looked like when the call came.
    before: Option<Chosen>,
    kept: bool,
}

/// What a client has chosen, to see whether a statement changed it.
type Chosen = (Option<String>, Option<String>, std::collections::BTreeMap<String, String>);

fn chosen(session: &Session) -> Chosen {
    (session.catalog(), session.schema(), session.settings())
}

impl Caller {
    /// Works in the session of a prepared statement, unless the call named one of its own: what the statement changes is
    /// then kept, and the client told, as if the call itself had changed it.
    pub(crate) fn adopt(&mut self, session: &Arc<Session>) {
        if !self.kept {
            self.before = Some(chosen(session));
            self.session = Arc::clone(session);
        }
    }
}

impl Sessions {
    /// No session yet; `fresh` makes one as clients first find it.
    pub(crate) fn new(
        fresh: impl Fn() -> Session + Send + Sync + 'static,
        idle_timeout: Duration,
        count_max: usize,
    ) -> Self {
        Self { kept: Mutex::default(), fresh: Box::new(fresh), idle_timeout, count_max }
    }

    /// The session that a call's headers name, or a fresh one.
    pub(crate) fn resolve(&self, headers: &MetadataMap) -> Caller {
        let candidates = [cookie(headers), bearer(headers)];
        let mut kept = self.kept.lock();
        for id in candidates.into_iter().flatten() {
            if let Some(entry) = kept.get_mut(&id)
                && entry.used.elapsed() < self.idle_timeout
            {
                entry.used = Instant::now();
                return Caller { session: Arc::clone(&entry.session), id, before: None, kept: true };
            }
        }
        drop(kept);
        let session = (self.fresh)();
        let before = Some(chosen(&session));
        Caller { session: Arc::new(session), id: unguessable(), before, kept: false }
    }

    /// Keeps a fresh session for later calls and gives its id; the id of a kept one is given as it is.
    pub(crate) fn keep(&self, caller: &Caller) -> Result<String, Status> {
        let mut kept = self.kept.lock();
        if !kept.contains_key(&caller.id) {
            if kept.len() >= self.count_max {
                kept.retain(|_, entry| entry.used.elapsed() < self.idle_timeout);
            }
            if kept.len() >= self.count_max {
                let message = format!(
                    "the server holds {} sessions, its limit (setting server.sessions_max): close some, or raise it",
                    kept.len()
                );
                return Err(status(Code::ResourceExhausted, "53300", message, None));
            }
            kept.insert(caller.id.clone(), Kept { session: Arc::clone(&caller.session), used: Instant::now() });
        }
        Ok(caller.id.clone())
    }

    /// Keeps a fresh session if the call changed it, and gives the cookie that the client must send from now on.
    pub(crate) fn keep_if_changed(
        &self,
        caller: &Caller,
    ) -> Result<Option<MetadataValue<tonic::metadata::Ascii>>, Status> {
        match &caller.before {
            Some(before) if !caller.kept && *before != chosen(&caller.session) => {
                let id = self.keep(caller)?;
                Ok(set_cookie(&id))
            }
            _ => Ok(None),
        }
    }

    /// Forgets a session; whether there was one.
    pub(crate) fn close(&self, caller: &Caller) -> bool {
        self.kept.lock().remove(&caller.id).is_some()
    }

    /// Forgets sessions that were not used for too long.
    pub(crate) fn expire(&self) {
        self.kept.lock().retain(|_, entry| entry.used.elapsed() < self.idle_timeout);
    }
}

/// A name that nobody can guess: 244 random bits.
pub(crate) fn unguessable() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

/// The header that gives a session to a client.
pub(crate) fn set_cookie(id: &str) -> Option<MetadataValue<tonic::metadata::Ascii>> {
    MetadataValue::try_from(format!("{COOKIE_NAME}={id}; Path=/")).ok()
}

/// The header that takes a session from a client.
pub(crate) fn expired_cookie() -> MetadataValue<tonic::metadata::Ascii> {
    MetadataValue::from_static("polynya-session-id=; Path=/; Max-Age=0")
}

fn cookie(headers: &MetadataMap) -> Option<String> {
    headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok()).find_map(|line| {
        line.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE_NAME).then(|| value.trim_matches('"').to_owned())
        })
    })
}

fn bearer(headers: &MetadataMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        let fresh = || Session::new("tenant", "user", Some("lake".into()), None);
        Sessions::new(fresh, Duration::from_secs(60), 2)
    }

    fn with(name: &'static str, value: String) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_session_is_found_by_cookie_and_by_token_once_it_is_kept() {
        let sessions = sessions();
        let caller = sessions.resolve(&MetadataMap::new());
        assert_eq!(caller.session.catalog().as_deref(), Some("lake"));
        assert!(sessions.keep_if_changed(&caller).unwrap().is_none());
        caller.session.set_schema("s");
        let cookie = sessions.keep_if_changed(&caller).unwrap().unwrap();
        let id = cookie.to_str().unwrap().split_once('=').unwrap().1.split(';').next().unwrap().to_owned();

        let again = sessions.resolve(&with("cookie", format!("other=1; polynya-session-id={id}")));
        assert_eq!(again.session.schema().as_deref(), Some("s"));
        let again = sessions.resolve(&with("authorization", format!("Bearer {id}")));
        assert_eq!(again.session.schema().as_deref(), Some("s"));
        assert!(sessions.close(&again));
        assert_eq!(sessions.resolve(&with("cookie", format!("polynya-session-id={id}"))).session.schema(), None);
    }

    #[test]
    fn a_token_that_we_did_not_give_out_names_no_session() {
        let sessions = sessions();
        let caller = sessions.resolve(&with("authorization", "Bearer mine".into()));
        assert_ne!(caller.id, "mine");
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let sessions = sessions();
        for _ in 0..2 {
            sessions.keep(&sessions.resolve(&MetadataMap::new())).unwrap();
        }
        let refused = sessions.keep(&sessions.resolve(&MetadataMap::new())).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
    }
}
