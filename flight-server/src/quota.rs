//! How many of the things that clients leave with the server there may be: of all users together, and of one.
//!
//! One user must not be able to fill what all share. Where nobody is asked who calls, all callers are one user, who has
//! everything.

use tonic::{Code, Status};

use crate::settings::ServerSettings;
use crate::status::status;

/// What is counted, in the words of its refusal.
#[derive(Debug)]
pub(crate) struct Kind {
    things: &'static str,
    setting: &'static str,
    advice: &'static str,
    sqlstate: &'static str,
}

/// Sessions that are kept between calls.
pub(crate) const SESSIONS: Kind =
    Kind { things: "sessions", setting: "server.sessions_max", advice: "close some", sqlstate: "53300" };
/// Prepared statements.
pub(crate) const PREPARED: Kind = Kind {
    things: "prepared statements",
    setting: "server.prepared_statements_max",
    advice: "close some",
    sqlstate: "53000",
};
/// Results that wait to be fetched.
pub(crate) const RESULTS: Kind = Kind {
    things: "results that wait to be fetched",
    setting: "server.pending_results_max",
    advice: "fetch or cancel some",
    sqlstate: "53000",
};

/// How many of one kind there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota {
    kind: &'static Kind,
    all_max: usize,
    user_max: usize,
}

/// What is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The room of all users.
    All,
    /// What one of them may have of it.
    User,
}

impl Quota {
    /// So many of all users, and of one the share that the settings give.
    pub(crate) fn new(kind: &'static Kind, all_max: usize, settings: &ServerSettings) -> Self {
        let share = settings.share_of(u64::try_from(all_max).unwrap_or(u64::MAX));
        Self { kind, all_max, user_max: usize::try_from(share).unwrap_or(usize::MAX) }
    }

    /// Whether there is no room for another one of a user.
    pub(crate) fn full(&self, of_all: usize, of_user: impl FnOnce() -> usize) -> Option<Full> {
        // The user's are among all: they are counted only where they may be too many.
        let may_be_too_many = self.user_max < self.all_max && of_all >= self.user_max;
        match may_be_too_many && of_user() >= self.user_max {
            true => Some(Full::User),
            false => (of_all >= self.all_max).then_some(Full::All),
        }
    }

    /// What a user is told for whom there is no room.
    pub(crate) fn refusal(&self, full: Full, user: &str) -> Status {
        let Kind { things, setting, advice, sqlstate } = self.kind;
        let message = match full {
            Full::All => format!(
                "the server holds {} {things}, its limit (setting {setting}): {advice}, or raise it",
                self.all_max
            ),
            Full::User => format!(
                "user {user} has {} {things}, one user's share (setting server.user_share) of {setting}: {advice}",
                self.user_max
            ),
        };
        status(Code::ResourceExhausted, sqlstate, message, None)
    }
}

#[cfg(test)]
impl Quota {
    /// What a test needs.
    pub(crate) fn for_test(all_max: usize, user_max: usize) -> Self {
        Self { kind: &RESULTS, all_max, user_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{AuthSettings, TokenSettings};

    #[test]
    fn a_user_has_a_share_where_callers_are_asked_who_they_are_and_everything_elsewhere() {
        let mut settings = ServerSettings::default();
        let quota = Quota::new(&SESSIONS, 10, &settings);
        assert_eq!(quota.full(9, || 9), None);
        assert_eq!(quota.full(10, || 10), Some(Full::All));

        let auth = AuthSettings { token: [("ann".to_owned(), TokenSettings::default())].into(), ..Default::default() };
        settings.auth = auth;
        let quota = Quota::new(&SESSIONS, 10, &settings);
        assert_eq!(quota.full(9, || 2), None);
        assert_eq!(quota.full(3, || 3), Some(Full::User));
        assert_eq!(quota.full(10, || 2), Some(Full::All));
        let refusal = quota.refusal(Full::User, "ann");
        assert!(refusal.message().contains("user ann has 3 sessions"), "{refusal:?}");
        assert_eq!(Quota::new(&SESSIONS, 1, &settings).full(0, || 0), None, "one is for everybody");
        settings.user_share = 1.0;
        assert_eq!(Quota::new(&SESSIONS, 10, &settings).full(9, || 9), None);
    }
}
