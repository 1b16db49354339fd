//! Who calls.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use tonic::{Extensions, Status};

/// The user where nobody is asked.
const ANONYMOUS: &str = "anonymous";

/// Who calls. Only `auth` makes one, so a call that has one was let in.
#[derive(Clone)]
pub(crate) struct Identity {
    user: Arc<str>,
    shown: Shown,
}

/// What the caller has shown.
#[derive(Clone)]
enum Shown {
    /// Nothing that was checked; perhaps the name of a session.
    Unchecked { bearer: Option<Arc<str>> },
    /// A password, which fitted this hash.
    Password { hash: Arc<str> },
    /// The token of an earlier login, which is the name of a session.
    Login { token: Arc<str> },
    /// A token from elsewhere.
    Token { token: Arc<str> },
    /// A certificate.
    Certificate,
}

impl Identity {
    /// Where nobody is asked.
    pub(super) fn anonymous(bearer: Option<&str>) -> Self {
        Self { user: ANONYMOUS.into(), shown: Shown::Unchecked { bearer: bearer.map(Into::into) } }
    }

    pub(super) fn by_password(user: &str, hash: Arc<str>) -> Self {
        Self { user: user.into(), shown: Shown::Password { hash } }
    }

    pub(super) fn by_login(user: &str, token: &str) -> Self {
        Self { user: user.into(), shown: Shown::Login { token: token.into() } }
    }

    pub(super) fn by_token(user: &str, token: &str) -> Self {
        Self { user: user.into(), shown: Shown::Token { token: token.into() } }
    }

    pub(super) fn by_certificate(user: &str) -> Self {
        Self { user: user.into(), shown: Shown::Certificate }
    }

    /// The identity that the gate has put into a call.
    ///
    /// # Errors
    /// INTERNAL if it has not: then nobody checked who calls.
    pub(crate) fn of(extensions: &Extensions) -> Result<&Self, Status> {
        extensions.get::<Self>().ok_or_else(|| Status::internal("nobody checked who is calling"))
    }

    /// The user's name.
    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    /// How the user was told, for the log.
    pub(crate) fn method(&self) -> &'static str {
        match self.shown {
            Shown::Unchecked { .. } => "none",
            Shown::Password { .. } => "password",
            Shown::Login { .. } => "login",
            Shown::Token { .. } => "token",
            Shown::Certificate => "certificate",
        }
    }

    /// Whether nobody was asked.
    pub(crate) fn is_unchecked(&self) -> bool {
        matches!(self.shown, Shown::Unchecked { .. })
    }

    /// The bearer token that names a session: a login's. Where nobody is asked, any may.
    pub(crate) fn session_name(&self) -> Option<&str> {
        match &self.shown {
            Shown::Unchecked { bearer } => bearer.as_deref(),
            Shown::Login { token } => Some(token),
            Shown::Password { .. } | Shown::Token { .. } | Shown::Certificate => None,
        }
    }

    /// The hash that the caller's password fitted.
    pub(crate) fn password_hash(&self) -> Option<&Arc<str>> {
        match &self.shown {
            Shown::Password { hash } => Some(hash),
            _ => None,
        }
    }

    /// The bearer token that was checked, a login's or another.
    pub(crate) fn token(&self) -> Option<&str> {
        match &self.shown {
            Shown::Login { token } | Shown::Token { token } => Some(token),
            _ => None,
        }
    }
}

/// Shows no token and no hash.
impl Debug for Identity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("user", &self.user).field("method", &self.method()).finish()
    }
}

#[cfg(test)]
impl Identity {
    /// A user that a test needs.
    pub(crate) fn for_test(user: &str, session_name: Option<&str>) -> Self {
        let shown = match session_name {
            Some(token) => Shown::Login { token: token.into() },
            None => Shown::Certificate,
        };
        Self { user: user.into(), shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        for identity in [
            Identity::by_password("ann", "$argon2id$hidden".into()),
            Identity::by_login("ann", "hidden"),
            Identity::by_token("ann", "hidden"),
            Identity::anonymous(Some("hidden")),
        ] {
            assert!(!format!("{identity:?}").contains("hidden"));
        }
    }

    #[test]
    fn a_call_that_nobody_checked_is_an_error() {
        assert_eq!(Identity::of(&Extensions::new()).unwrap_err().code(), tonic::Code::Internal);
    }
}
