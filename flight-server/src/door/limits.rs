//! How many connections there may be, told from the settings and from what the system gives the process.

use std::time::Duration;

use crate::settings::ServerSettings;

/// Connections at most, where the settings say nothing and descriptors are plenty.
const CONNECTIONS_MAX: usize = 10_000;
/// Descriptors where the system does not tell how many there may be.
const DESCRIPTORS_ASSUMED: u64 = 1024;

/// What strangers and clients may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Connections, with a login or without.
    pub(super) connections_max: usize,
    /// Those of one user.
    pub(super) connections_per_user_max: usize,
    /// Those of them without a login.
    pub(super) pending_logins_max: usize,
    /// Those of one network.
    pub(super) pending_logins_per_address_max: usize,
    /// The time from a connection to its first call that is let in.
    pub(super) login_timeout: Duration,
}

impl Limits {
    /// The limits in force for a process that may have so many files open. Half of them are for what queries need: data files,
    /// spill files, connections to stores.
    pub(crate) fn new(settings: &ServerSettings, descriptors: u64) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let possible = (descriptors / 2).max(2);
        let connections_max = settings.connections_max.unwrap_or(CONNECTIONS_MAX).clamp(2, possible);
        if settings.connections_max.is_some_and(|wanted| wanted > possible) {
            tracing::warn!(
                connections_max,
                descriptors,
                "server.connections_max is more than half of the files that the process may have open (ulimit -n)"
            );
        }
        let pending_logins_max = settings.pending_logins_max.clamp(1, connections_max / 2);
        let share = settings.share_of(u64::try_from(connections_max).unwrap_or(u64::MAX));
        let connections_per_user_max = usize::try_from(share).unwrap_or(usize::MAX);
        Self {
            connections_max,
            connections_per_user_max,
            pending_logins_max,
            pending_logins_per_address_max: settings.pending_logins_per_address_max.clamp(1, pending_logins_max),
            login_timeout: settings.login_timeout,
        }
    }
}

/// Asks the system for as many open files as the process may have; how many it has now.
pub(crate) fn raise_descriptors() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the number of open files (ulimit -n) could not be raised");
        rlimit::Resource::NOFILE.get_soft().unwrap_or(DESCRIPTORS_ASSUMED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{AuthSettings, TokenSettings};

    #[test]
    fn few_descriptors_leave_room_for_queries_and_for_those_who_log_in() {
        let limits = |settings: &ServerSettings, descriptors| {
            let limits = Limits::new(settings, descriptors);
            let strangers = (limits.pending_logins_max, limits.pending_logins_per_address_max);
            (limits.connections_max, limits.connections_per_user_max, strangers)
        };
        let settings = ServerSettings::default();
        assert_eq!(limits(&settings, 200), (100, 100, (50, 50)));
        assert_eq!(limits(&settings, 1 << 20), (10_000, 10_000, (1000, 500)));
        assert_eq!(limits(&settings, 0), (2, 2, (1, 1)));
        let settings = ServerSettings { connections_max: Some(50), pending_logins_max: 0, ..settings };
        assert_eq!(limits(&settings, 1 << 20), (50, 50, (1, 1)));
        assert_eq!(limits(&settings, 60), (30, 30, (1, 1)));
        // Where callers are asked who they are, one of them has a share.
        let auth = AuthSettings { token: [("ann".to_owned(), TokenSettings::default())].into(), ..Default::default() };
        assert_eq!(limits(&ServerSettings { auth, ..settings }, 80), (40, 10, (1, 1)));
    }
}
