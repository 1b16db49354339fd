//! Which session a call belongs to, and how long sessions live.
//!
//! A session belongs to a user. It is found by the cookie `polynya-session-id`, else by a bearer token that a handshake
//! gave out, if it is the caller's; else it is a fresh one that lives for the call. Another user's cookie names nothing. A
//! fresh session is kept, and its cookie sent, only once there is something to remember (an option was set, `USE`, `SET`):
//! clients without cookies would otherwise leave one behind per call.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use polynya_engine::Session;
use tonic::Status;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::auth::Identity;
use crate::quota::Quota;

/// Once there is no room for a user, a session that was not used for so long makes way for another one of theirs.
const FORGOTTEN: Duration = Duration::from_secs(300);

const COOKIE_NAME: &str = "polynya-session-id";

/// The sessions that clients hold on to.
pub(crate) struct Sessions {
    kept: Mutex<HashMap<String, Kept>>,
    fresh: Box<dyn Fn(&str) -> Session + Send + Sync>,
    idle_timeout: Duration,
    quota: Quota,
}

struct Kept {
    session: Arc<Session>,
    used: Instant,
    /// The hash that the user's password fitted, if the session began with one; its id is then a bearer token.
    login: Option<Arc<str>>,
}

/// A call's session. Has no `Debug`: the id may be a bearer token.
#[derive(Clone)]
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
    /// Whose session it is.
    pub(crate) fn user(&self) -> &str {
        self.session.user()
    }

    /// What the session looks like now is what the call found: only what differs at its end is worth keeping it for.
    pub(crate) fn begins_as_it_is(&mut self) {
        if !self.kept {
            self.before = Some(chosen(&self.session));
        }
    }

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
    /// No session yet; `fresh` makes one of a user, as clients first find it.
    pub(crate) fn new(
        fresh: impl Fn(&str) -> Session + Send + Sync + 'static,
        idle_timeout: Duration,
        quota: Quota,
    ) -> Self {
        Self { kept: Mutex::default(), fresh: Box::new(fresh), idle_timeout, quota }
    }

    /// The session that a call names and that is its caller's, or a fresh one.
    pub(crate) fn resolve(&self, headers: &MetadataMap, identity: &Identity) -> Caller {
        let candidates = [cookie(headers), identity.session_name().map(str::to_owned)];
        let mut kept = self.kept.lock();
        for id in candidates.into_iter().flatten() {
            if let Some(entry) = kept.get_mut(&id)
                && entry.used.elapsed() < self.idle_timeout
                && entry.session.user() == identity.user()
            {
                entry.used = Instant::now();
                return Caller { session: Arc::clone(&entry.session), id, before: None, kept: true };
            }
        }
        drop(kept);
        let session = (self.fresh)(identity.user());
        let before = Some(chosen(&session));
        Caller { session: Arc::new(session), id: unguessable(), before, kept: false }
    }

    /// Begins a session for a user whose password fitted a hash. Its id is the bearer token of later calls.
    pub(crate) fn log_in(&self, user: &str, hash: &Arc<str>) -> Result<String, Status> {
        let session = Arc::new((self.fresh)(user));
        let caller = Caller { session, id: unguessable(), before: None, kept: false };
        self.keep_as(&caller, Some(Arc::clone(hash)))
    }

    /// Who has logged in with a bearer token, and the hash that the password fitted.
    pub(crate) fn login(&self, token: &str) -> Option<(String, Arc<str>)> {
        let mut kept = self.kept.lock();
        let entry = kept.get_mut(token).filter(|entry| entry.used.elapsed() < self.idle_timeout)?;
        let hash = entry.login.clone()?;
        entry.used = Instant::now();
        Some((entry.session.user().to_owned(), hash))
    }

    /// Forgets the session of a bearer token.
    pub(crate) fn forget(&self, token: &str) {
        self.kept.lock().remove(token);
    }

    /// Keeps a fresh session for later calls and gives its id; the id of a kept one is given as it is.
    pub(crate) fn keep(&self, caller: &Caller) -> Result<String, Status> {
        self.keep_as(caller, None)
    }

    fn keep_as(&self, caller: &Caller, login: Option<Arc<str>>) -> Result<String, Status> {
        let mut kept = self.kept.lock();
        if !kept.contains_key(&caller.id) {
            let user = caller.session.user();
            let full = |kept: &HashMap<String, Kept>| self.quota.full(kept.len(), || of_user(kept, user).count());
            if full(&kept).is_some() {
                kept.retain(|_, entry| entry.used.elapsed() < self.idle_timeout);
            }
            if full(&kept).is_some() {
                make_room(&mut kept, user);
            }
            if let Some(full) = full(&kept) {
                return Err(self.quota.refusal(full, user));
            }
            let session = Arc::clone(&caller.session);
            kept.insert(caller.id.clone(), Kept { session, used: Instant::now(), login });
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

/// Forgets the session that a user has not used for the longest time: many drivers never close theirs. Those of others
/// stay.
fn make_room(kept: &mut HashMap<String, Kept>, user: &str) {
    let forgotten = of_user(kept, user).filter(|(_, entry)| entry.used.elapsed() >= FORGOTTEN);
    let oldest = forgotten.min_by_key(|(_, entry)| entry.used).map(|(id, _)| id.clone());
    if let Some(oldest) = oldest {
        kept.remove(&oldest);
    }
}

fn of_user<'a>(kept: &'a HashMap<String, Kept>, user: &'a str) -> impl Iterator<Item = (&'a String, &'a Kept)> {
    kept.iter().filter(move |(_, entry)| entry.session.user() == user)
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

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn sessions() -> Sessions {
        let fresh = |user: &str| Session::new("tenant", user, Some("lake".into()), None);
        Sessions::new(fresh, Duration::from_secs(60), Quota::for_test(2, 2))
    }

    fn with_cookie(id: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert("cookie", format!("other=1; {COOKIE_NAME}={id}").parse().unwrap());
        headers
    }

    fn ann() -> Identity {
        Identity::for_test("ann", None)
    }

    #[test]
    fn a_session_is_found_by_cookie_and_by_token_once_it_is_kept() {
        let sessions = sessions();
        let caller = sessions.resolve(&MetadataMap::new(), &ann());
        assert_eq!(caller.session.catalog().as_deref(), Some("lake"));
        assert!(sessions.keep_if_changed(&caller).unwrap().is_none());
        caller.session.set_schema("s");
        let cookie = sessions.keep_if_changed(&caller).unwrap().unwrap();
        let id = cookie.to_str().unwrap().split_once('=').unwrap().1.split(';').next().unwrap().to_owned();

        let again = sessions.resolve(&with_cookie(&id), &ann());
        assert_eq!((again.session.schema().as_deref(), again.user()), (Some("s"), "ann"));
        let again = sessions.resolve(&MetadataMap::new(), &Identity::for_test("ann", Some(&id)));
        assert_eq!(again.session.schema().as_deref(), Some("s"));
        assert!(sessions.close(&again));
        assert_eq!(sessions.resolve(&with_cookie(&id), &ann()).session.schema(), None);
    }

    #[test]
    fn the_cookie_of_another_user_names_nothing() {
        let sessions = sessions();
        let caller = sessions.resolve(&MetadataMap::new(), &ann());
        caller.session.set_schema("s");
        let id = sessions.keep(&caller).unwrap();
        let eve = sessions.resolve(&with_cookie(&id), &Identity::for_test("eve", None));
        assert_eq!((eve.user(), eve.session.schema()), ("eve", None));
        let eve = sessions.resolve(&MetadataMap::new(), &Identity::for_test("eve", Some(&id)));
        assert_eq!((eve.user(), eve.session.schema()), ("eve", None));
        assert_eq!(sessions.login(&id), None, "a session that began without a password is no login");
    }

    #[test]
    fn a_login_is_known_by_its_token_until_it_is_forgotten() {
        let sessions = sessions();
        let hash: Arc<str> = "hash".into();
        let token = sessions.log_in("ann", &hash).unwrap();
        assert_eq!(sessions.login(&token), Some(("ann".to_owned(), hash)));
        sessions.forget(&token);
        assert_eq!(sessions.login(&token), None);
    }

    #[test]
    fn a_token_that_we_did_not_give_out_names_no_session() {
        let sessions = sessions();
        let caller = sessions.resolve(&MetadataMap::new(), &Identity::for_test("ann", Some("mine")));
        assert_ne!(caller.id, "mine");
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let sessions = sessions();
        let fresh = || sessions.resolve(&MetadataMap::new(), &ann());
        for _ in 0..2 {
            sessions.keep(&fresh()).unwrap();
        }
        assert_eq!(sessions.keep(&fresh()).unwrap_err().code(), Code::ResourceExhausted);
    }

    #[test]
    fn a_user_fills_a_share_and_leaves_the_rest_to_others() {
        let fresh = |user: &str| Session::new("tenant", user, Some("lake".into()), None);
        let sessions = Sessions::new(fresh, FORGOTTEN * 10, Quota::for_test(4, 2));
        let hash: Arc<str> = "hash".into();
        let first = sessions.log_in("ann", &hash).unwrap();
        sessions.log_in("ann", &hash).unwrap();
        let refused = sessions.log_in("ann", &hash).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("user ann"), "{refused:?}");
        let eves = sessions.log_in("eve", &hash).unwrap();
        for token in [&first, &eves] {
            sessions.kept.lock().get_mut(token).unwrap().used = Instant::now() - FORGOTTEN * 2;
        }
        sessions.log_in("ann", &hash).unwrap();
        assert_eq!([&first, &eves].map(|token| sessions.login(token).is_some()), [false, true]);
    }

    #[test]
    fn a_forgotten_session_makes_way_for_another_of_its_user_alone() {
        let fresh = |user: &str| Session::new("tenant", user, Some("lake".into()), None);
        let sessions = Sessions::new(fresh, FORGOTTEN * 10, Quota::for_test(2, 2));
        let hash: Arc<str> = "hash".into();
        let [first, second] = [0, 1].map(|_| sessions.log_in("ann", &hash).unwrap());
        for token in [&first, &second] {
            sessions.kept.lock().get_mut(token).unwrap().used = Instant::now() - FORGOTTEN * 2;
        }
        assert!(sessions.login(&second).is_some());
        assert!(sessions.log_in("eve", &hash).is_err());
        let third = sessions.log_in("ann", &hash).unwrap();
        assert_eq!([&first, &second, &third].map(|token| sessions.login(token).is_some()), [false, true, true]);
    }
}
