//! Users who show a password: looked up in the users' file, checked slowly, remembered for a short while.
//!
//! Checking costs a core tens of milliseconds, so it runs on blocking threads, few at a time, and clients that send the
//! password with every call are known again by a fingerprint of it. After failures callers wait (`backoff.rs`). That is
//! looked at again once a check's turn has come: guesses sent at once gain nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use super::backoff::Backoff;
use super::digest::KeyedDigest;
use super::refusal::Refusal;
use super::users::Users;
use super::watched::Watched;
use super::{PASSWORD_BYTES_MAX, USER_BYTES_MAX};

/// How long a password that was right is known again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Passwords that are known again.
const REMEMBERED_MAX: usize = 10_000;
/// Checks at the same time.
const CHECKS_MAX: usize = 4;
/// How long a check waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Passwords {
    file: PathBuf,
    watched: Watched,
    turns: Arc<Semaphore>,
    known: Arc<Known>,
}

/// What checks share, also those whose callers have gone.
struct Known {
    users: RwLock<Arc<Users>>,
    remembered: Mutex<HashMap<String, Remembered>>,
    digest: KeyedDigest,
    backoff: Backoff,
}

struct Remembered {
    /// The user's hash that the password fitted.
    hash: Arc<str>,
    since: Instant,
}

impl Passwords {
    /// Reads the file of users.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn new(file: &Path) -> Result<Self, String> {
        let watched = Watched::new([file.to_owned()]);
        let users = RwLock::new(Arc::new(Users::read(file)?));
        let checks = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(CHECKS_MAX));
        let known =
            Known { users, remembered: Mutex::default(), digest: KeyedDigest::new(), backoff: Backoff::default() };
        Ok(Self { file: file.to_owned(), watched, turns: Arc::new(Semaphore::new(checks)), known: Arc::new(known) })
    }

    /// Reads the file again if it has changed. One that is wrong changes nothing.
    pub(super) fn reload(&self) {
        match self.watched.read_again(|| Users::read(&self.file)) {
            None => {}
            Some(Ok(users)) => {
                *self.known.users.write() = Arc::new(users);
                tracing::info!(file = %self.file.display(), "the users' file was read again");
            }
            Some(Err(error)) => tracing::error!(error, "the users' file cannot be read; the users stay as they were"),
        }
    }

    /// Whether this hash is still the user's: neither password nor user is gone.
    pub(super) fn is_current(&self, user: &str, hash: &str) -> bool {
        self.known.users().hash_of(user).is_some_and(|current| *current == *hash)
    }

    /// Checks a password; gives the user's hash that it fits.
    pub(super) async fn verify(&self, user: &str, password: &str, peer: Option<IpAddr>) -> Result<Arc<str>, Refusal> {
        if user.len() > USER_BYTES_MAX || password.len() > PASSWORD_BYTES_MAX {
            return Err(Refusal::WrongPassword { user: user.chars().take(64).collect() });
        }
        let fingerprint = self.known.digest.of(user, password).ok_or(Refusal::Busy)?;
        if let Some(known) = self.known.settled(&fingerprint, user, peer)? {
            return Ok(known);
        }
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refusal::Busy) };
        if let Some(known) = self.known.settled(&fingerprint, user, peer)? {
            return Ok(known);
        }
        let (known, user, password) = (Arc::clone(&self.known), user.to_owned(), password.to_owned());
        // The turn ends with the check, not with the caller's patience.
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            known.check(fingerprint, user, &password, peer)
        });
        checked.await.unwrap_or(Err(Refusal::Busy))
    }
}

impl Known {
    fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read())
    }

    /// What is known without a check: that the password is right, or that the caller must wait.
    fn settled(&self, fingerprint: &str, user: &str, peer: Option<IpAddr>) -> Result<Option<Arc<str>>, Refusal> {
        let fresh = |known: &Remembered| known.is_fresh().then(|| Arc::clone(&known.hash));
        let remembered = self.remembered.lock().get(fingerprint).and_then(fresh);
        if let Some(hash) = remembered
            && self.users().hash_of(user).as_ref() == Some(&hash)
        {
            return Ok(Some(hash));
        }
        match self.backoff.pause(user, peer, Instant::now()) {
            Some(pause) => Err(Refusal::Wait { user: user.to_owned(), pause }),
            None => Ok(None),
        }
    }

    fn check(
        &self,
        fingerprint: String,
        user: String,
        password: &str,
        peer: Option<IpAddr>,
    ) -> Result<Arc<str>, Refusal> {
        let Some(hash) = self.users().check(&user, password) else {
            self.backoff.failed(&user, peer, Instant::now());
            return Err(Refusal::WrongPassword { user });
        };
        self.backoff.succeeded(&user, peer, Instant::now());
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, known| known.is_fresh());
        }
        if remembered.len() < REMEMBERED_MAX {
            remembered.insert(fingerprint, Remembered { hash: Arc::clone(&hash), since: Instant::now() });
        }
        Ok(hash)
    }
}

impl Remembered {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::users::hash;

    fn passwords(folder: &Path) -> Passwords {
        let file = folder.join("users");
        std::fs::write(&file, format!("ann:{}\n", hash("hunter2").unwrap())).unwrap();
        Passwords::new(&file).unwrap()
    }

    #[tokio::test]
    async fn a_right_password_passes_at_once_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let passwords = passwords(folder.path());
        let hash = passwords.verify("ann", "hunter2", None).await.unwrap();
        assert!(passwords.is_current("ann", &hash));
        // Nobody has a turn any more, and none is needed.
        passwords.turns.close();
        assert!(passwords.verify("ann", "hunter2", None).await.is_ok());
        assert!(matches!(passwords.verify("ann", "hunter3", None).await, Err(Refusal::Busy)));
    }

    #[tokio::test]
    async fn wrong_passwords_and_unknown_users_are_refused_alike_and_then_made_to_wait() {
        let folder = tempfile::tempdir().unwrap();
        let passwords = passwords(folder.path());
        for user in ["ann", "eve"] {
            for _ in 0..4 {
                let refused = passwords.verify(user, "guess", None).await;
                assert!(matches!(refused, Err(Refusal::WrongPassword { .. })));
            }
            assert!(matches!(passwords.verify(user, "guess", None).await, Err(Refusal::Wait { .. })));
        }
        let away = Some("10.1.1.1".parse().unwrap());
        assert!(passwords.verify("ann", "hunter2", away).await.is_ok());
    }

    #[tokio::test]
    async fn guesses_sent_at_once_are_few() {
        let folder = tempfile::tempdir().unwrap();
        let passwords = passwords(folder.path());
        let texts: Vec<String> = (0..40).map(|number| format!("guess {number}")).collect();
        let guesses = texts.iter().map(|guess| passwords.verify("ann", guess, None));
        let refused = futures::future::join_all(guesses).await;
        let checked = refused.iter().filter(|refused| matches!(refused, Err(Refusal::WrongPassword { .. }))).count();
        assert!(checked <= 4 + CHECKS_MAX, "{checked} of 40 guesses were looked at");
    }

    #[tokio::test]
    async fn a_changed_file_counts_at_once_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let passwords = passwords(folder.path());
        let old = passwords.verify("ann", "hunter2", None).await.unwrap();
        std::fs::write(folder.path().join("users"), "nonsense, and longer than before or shorter").unwrap();
        passwords.reload();
        assert!(passwords.verify("ann", "hunter2", None).await.is_ok());
        std::fs::write(folder.path().join("users"), format!("ann:{}\n", hash("new").unwrap())).unwrap();
        passwords.reload();
        assert!(!passwords.is_current("ann", &old));
        assert!(matches!(passwords.verify("ann", "hunter2", None).await, Err(Refusal::WrongPassword { .. })));
        assert!(passwords.verify("ann", "new", None).await.is_ok());
    }
}
