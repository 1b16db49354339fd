//! Why a caller is turned away: little for the caller, more for the log.

use std::time::Duration;

use tonic::{Code, Status};

use crate::door::TooMany;
use crate::status::status;

/// Why a caller is turned away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing was shown.
    Nothing,
    /// What was shown cannot be read.
    Malformed(&'static str),
    /// The server does not take this kind.
    NotTaken(&'static str),
    /// The password is wrong, or there is no such user.
    WrongPassword {
        /// Who the caller says to be.
        user: String,
    },
    /// The token is not one that the server takes, for a reason that only the log gets.
    WrongToken(&'static str),
    /// Too many passwords were wrong.
    Wait {
        /// Who the caller says to be.
        user: String,
        /// What is left of the pause.
        pause: Duration,
    },
    /// Too many callers log in at the same time.
    Busy,
    /// The user has as many connections as one may.
    Connections {
        /// Who.
        user: String,
        /// How many.
        limit: usize,
    },
    /// The issuer's keys are not known yet.
    NoKeys,
}

impl Refusal {
    /// The user has as many connections as one may.
    pub(crate) fn connections(user: &str, TooMany { limit }: TooMany) -> Self {
        Self::Connections { user: user.to_owned(), limit }
    }

    /// What the caller learns.
    pub(crate) fn status(&self) -> Status {
        let unauthenticated = |sqlstate, message: String| status(Code::Unauthenticated, sqlstate, message, None);
        match self {
            Self::Nothing => unauthenticated(
                "28000",
                "this server asks who is calling: log in with a user and a password, or send a bearer token".to_owned(),
            ),
            Self::Malformed(what) => unauthenticated("28000", format!("the credentials cannot be read: {what}")),
            Self::NotTaken(what) => unauthenticated("28000", format!("this server does not take {what}")),
            Self::WrongPassword { .. } => {
                unauthenticated("28P01", "the user's name or the password is wrong".to_owned())
            }
            Self::WrongToken(_) => unauthenticated(
                "28000",
                "the token is not valid here: it is unknown, has expired, or is meant for another server".to_owned(),
            ),
            Self::Wait { pause, .. } => {
                let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
                let message = format!("too many logins of this user have failed: wait {seconds} s before the next");
                status(Code::ResourceExhausted, "28000", message, None)
            }
            Self::Busy => {
                status(Code::Unavailable, "53300", "too many logins at the same time: try again in a moment", None)
            }
            Self::Connections { user, limit } => {
                let message = format!(
                    "user {user} has {limit} connections, one user's share (setting server.user_share) of server.connections_max: close some"
                );
                status(Code::ResourceExhausted, "53300", message, None)
            }
            Self::NoKeys => status(
                Code::Unavailable,
                "28000",
                "tokens cannot be checked now: their issuer has not given its keys; try again in a moment",
                None,
            ),
        }
    }

    /// What the log says.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Nothing => "no credentials",
            Self::Malformed(what) | Self::NotTaken(what) | Self::WrongToken(what) => what,
            Self::WrongPassword { .. } => "wrong password or unknown user",
            Self::Wait { .. } => "too many failures",
            Self::Busy => "too many logins at the same time",
            Self::Connections { .. } => "too many connections of this user",
            Self::NoKeys => "the issuer's keys are not known",
        }
    }

    /// Who the caller says to be, if that was said.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::WrongPassword { user } | Self::Wait { user, .. } | Self::Connections { user, .. } => Some(user),
            _ => None,
        }
    }
}
