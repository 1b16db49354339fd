//! Adds the session to every call: the authorization header, and the cookies that the server has set.
//!
//! A layer around tonic's channel, because responses of every kind may set a cookie, which interceptors do not see.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tonic::body::Body;
use tonic::codegen::http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::transport::Channel;

/// A channel with a session. Clones share the session.
#[derive(Debug, Clone)]
pub(crate) struct SessionChannel {
    channel: Channel,
    session: Arc<Mutex<SessionHeaders>>,
    is_encrypted: bool,
    /// Whether anything came back so far.
    has_answered: Arc<AtomicBool>,
}

/// A call that ended without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the call was not answered")]
pub(crate) struct CallError {
    is_encrypted: bool,
    has_answered: bool,
    #[source]
    source: tonic::transport::Error,
}

impl CallError {
    /// What to look at next. What never answered may speak in another way than it was spoken to.
    pub(super) fn hint(&self) -> &'static str {
        match (self.has_answered, self.is_encrypted) {
            (true, _) => "is it still running?",
            (false, false) => "it answered nothing. If its connections are encrypted, write grpc+tls:// in the URL",
            (false, true) => "it answered nothing. It may want to see a certificate (--tls-cert, --tls-key)",
        }
    }
}

/// What every request of a session carries.
#[derive(Default)]
struct SessionHeaders {
    authorization: Option<HeaderValue>,
    cookies: BTreeMap<String, String>,
}

impl std::fmt::Debug for SessionHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionHeaders").field("cookies", &self.cookies.keys()).finish_non_exhaustive()
    }
}

impl SessionChannel {
    pub(crate) fn new(channel: Channel, is_encrypted: bool) -> Self {
        Self { channel, session: Arc::default(), is_encrypted, has_answered: Arc::default() }
    }

    fn unanswered(&self) -> impl FnOnce(tonic::transport::Error) -> CallError + use<> {
        let (is_encrypted, has_answered) = (self.is_encrypted, Arc::clone(&self.has_answered));
        move |source| CallError { is_encrypted, has_answered: has_answered.load(Ordering::Relaxed), source }
    }

    /// Sets the authorization header of all later calls. A value that is no header (a line break in it) sends none.
    pub(crate) fn set_authorization(&self, value: String) {
        self.lock().authorization = HeaderValue::try_from(value).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        });
    }

    fn lock(&self) -> MutexGuard<'_, SessionHeaders> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionHeaders {
    fn apply(&self, headers: &mut HeaderMap) {
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        if self.cookies.is_empty() {
            return;
        }
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if let Ok(value) = HeaderValue::try_from(pairs.join("; ")) {
            headers.insert(COOKIE, value);
        }
    }

    /// Takes over `set-cookie` headers; a cookie with Max-Age of zero or less is forgotten.
    fn learn(&mut self, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let Ok(text) = header.to_str() else { continue };
            let mut parts = text.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let expired = parts.any(|attribute| {
                attribute.split_once('=').is_some_and(|(key, age)| {
                    key.eq_ignore_ascii_case("max-age") && age.trim().parse::<i64>().is_ok_and(|age| age <= 0)
                })
            });
            if expired {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_string(), value.to_string());
            }
        }
    }
}

impl Service<Request<Body>> for SessionChannel {
    type Response = Response<Body>;
    type Error = CallError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.channel.poll_ready(cx).map_err(self.unanswered())
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.lock().apply(request.headers_mut());
        let response = self.channel.call(request);
        let (session, has_answered, unanswered) = (self.session.clone(), self.has_answered.clone(), self.unanswered());
        Box::pin(async move {
            let response = response.await.map_err(unanswered)?;
            has_answered.store(true, Ordering::Relaxed);
            session.lock().unwrap_or_else(PoisonError::into_inner).learn(response.headers());
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_cookie(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static(value))])
    }

    #[test]
    fn cookies_are_echoed_until_they_expire() {
        let mut session = SessionHeaders::default();
        session.learn(&set_cookie("polynya-session-id=abc; Path=/; HttpOnly"));
        session.learn(&set_cookie("other=1; Max-Age=60"));
        let mut headers = HeaderMap::new();
        session.apply(&mut headers);
        assert_eq!(headers[COOKIE], "other=1; polynya-session-id=abc");

        session.learn(&set_cookie("other=; Max-Age=0"));
        let mut headers = HeaderMap::new();
        session.apply(&mut headers);
        assert_eq!(headers[COOKIE], "polynya-session-id=abc");
    }

    #[test]
    fn the_authorization_is_sent_and_never_printed() {
        let authorization = Some(HeaderValue::from_static("Bearer hidden"));
        let session = SessionHeaders { authorization, ..SessionHeaders::default() };
        let mut headers = HeaderMap::new();
        session.apply(&mut headers);
        assert_eq!(headers[AUTHORIZATION], "Bearer hidden");
        assert!(!format!("{session:?}").contains("hidden"));
    }
}
