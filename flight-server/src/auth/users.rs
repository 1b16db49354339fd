//! The file of users: a line `name:hash` for each, where the hash is argon2id's as `polynya hash-password` prints it.
//!
//! Empty lines and those that begin with `#` are skipped. Checking a password is slow on purpose (tens of milliseconds,
//! 19 MiB), and takes as long for a user that there is not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use argon2::password_hash::{self, SaltString};
use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier};

/// What is checked for a user that there is not, if no user's hash can stand in: of the cost that we hash with.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The users of a file.
pub(super) struct Users {
    hashes: HashMap<String, Arc<str>>,
    decoy: Arc<str>,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, without any hash.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        Self::parse(&text).map_err(|error| format!("{}, {error}", file.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut hashes = HashMap::new();
        let mut dearest: (u64, Arc<str>) = (0, DECOY.into());
        for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line.split_once(':').ok_or_else(|| format!("line {number}: expected name:hash"))?;
            check_name(user).map_err(|why| format!("line {number}: {why}"))?;
            let cost = cost(hash).ok_or_else(|| {
                format!("line {number}: this is not an argon2id hash as `polynya hash-password` prints it")
            })?;
            let hash: Arc<str> = hash.into();
            if cost > dearest.0 {
                dearest = (cost, Arc::clone(&hash));
            }
            if hashes.insert(user.to_owned(), hash).is_some() {
                return Err(format!("line {number}: user {user} is there twice"));
            }
        }
        Ok(Self { hashes, decoy: dearest.1 })
    }

    /// The hash of a user's password.
    pub(super) fn hash_of(&self, user: &str) -> Option<Arc<str>> {
        self.hashes.get(user).cloned()
    }

    /// Checks a password, slowly. Gives the user's hash if it is right.
    pub(super) fn check(&self, user: &str, password: &str) -> Option<Arc<str>> {
        let known = self.hashes.get(user);
        let right = verify(password, known.unwrap_or(&self.decoy));
        known.filter(|_| right).cloned()
    }
}

/// Whether a text can be a user's name.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("the user's name is empty"),
        name if name.len() > super::USER_BYTES_MAX => Err("the user's name is longer than 256 bytes"),
        name if name.contains(':') => Err("a user's name has no colon"),
        name if name.chars().any(char::is_control) => Err("a user's name has no control characters"),
        name if name.trim() != name => Err("a user's name neither begins nor ends with a space"),
        _ => Ok(()),
    }
}

/// The hash of a password, with a new salt.
///
/// # Errors
/// If argon2 refuses the password, which it does beyond 4 GiB.
pub(crate) fn hash(password: &str) -> password_hash::Result<String> {
    let salt = SaltString::encode_b64(uuid::Uuid::new_v4().as_bytes())?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// What checking a password against a hash takes; none if it is no argon2id hash.
fn cost(hash: &str) -> Option<u64> {
    let parsed = PasswordHash::new(hash).ok()?;
    if parsed.algorithm != ARGON2ID_IDENT || parsed.salt.is_none() || parsed.hash.is_none() {
        return None;
    }
    let params = Params::try_from(&parsed).ok()?;
    Some(u64::from(params.m_cost()) * u64::from(params.t_cost()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        match Users::parse(text) {
            Ok(_) => panic!("this should be refused: {text}"),
            Err(error) => error,
        }
    }

    #[test]
    fn passwords_are_checked_against_the_file() {
        let text = format!("# people\n\nann:{}\nbob:{}\n", hash("hunter2").unwrap(), hash("letmein").unwrap());
        let users = Users::parse(&text).unwrap();
        assert!(users.check("ann", "hunter2").is_some());
        assert_eq!(users.check("ann", "hunter2"), users.hash_of("ann"));
        for (user, password) in [("ann", "letmein"), ("ann", ""), ("eve", "hunter2"), ("", "")] {
            assert_eq!(users.check(user, password), None, "{user}");
        }
        assert!(users.hash_of("bob").is_some() && users.hash_of("eve").is_none());
    }

    #[test]
    fn a_line_that_is_wrong_is_named_without_its_hash() {
        assert!(wrong("ann").contains("line 1: expected name:hash"));
        assert!(wrong("\n:x").contains("line 2: the user's name is empty"));
        let plain = wrong("ann:hunter2");
        assert!(plain.contains("not an argon2id hash") && !plain.contains("hunter2"), "{plain}");
        let other = "$argon2i$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(wrong(&format!("ann:{other}")).contains("not an argon2id hash"));
        assert!(wrong(&format!("ann:{DECOY}\nann:{DECOY}")).contains("line 2: user ann is there twice"));
    }

    #[test]
    fn the_decoy_is_a_hash_of_our_cost() {
        assert_eq!(cost(DECOY), cost(&hash("x").unwrap()));
        assert!(!verify("", DECOY));
    }

    #[test]
    fn two_hashes_of_a_password_differ() {
        assert_ne!(hash("same").unwrap(), hash("same").unwrap());
    }
}
