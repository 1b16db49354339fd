//! Fixed bearer tokens, of which only the SHA-256 is kept.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use super::digest::{same, sha256_hex};
use super::users::check_name;
use super::watched::Watched;
use crate::sessions::unguessable;
use crate::settings::{AuthSettings, TokenSettings};

/// Shorter tokens can be guessed.
const TOKEN_BYTES_MIN: usize = 16;

/// See the module.
pub(super) struct Tokens {
    settings: Vec<(String, TokenSettings)>,
    watched: Watched,
    entries: RwLock<Arc<[Entry]>>,
}

struct Entry {
    user: Arc<str>,
    sha256: String,
}

impl Tokens {
    /// Reads the tokens; none if the settings have none.
    ///
    /// # Errors
    /// The setting that is wrong, without the token.
    pub(super) fn new(settings: &AuthSettings) -> Result<Option<Self>, String> {
        if settings.token.is_empty() {
            return Ok(None);
        }
        let settings: Vec<_> = settings.token.iter().map(|(name, token)| (name.clone(), token.clone())).collect();
        let files: Vec<PathBuf> = settings.iter().filter_map(|(_, token)| token.file.clone()).collect();
        let watched = Watched::new(files);
        let entries = RwLock::new(entries(&settings)?);
        Ok(Some(Self { settings, watched, entries }))
    }

    /// Reads the files again if they have changed. If one is wrong, all stays as it was.
    pub(super) fn reload(&self) {
        match self.watched.read_again(|| entries(&self.settings)) {
            None => {}
            Some(Ok(entries)) => {
                *self.entries.write() = entries;
                tracing::info!("the tokens' files were read again");
            }
            Some(Err(error)) => tracing::error!(error, "a token's file cannot be read; the tokens stay as they were"),
        }
    }

    /// Whom a token stands for.
    pub(super) fn user(&self, token: &str) -> Option<Arc<str>> {
        let given = sha256_hex(token)?;
        let entries = Arc::clone(&self.entries.read());
        // All are compared, whichever fits.
        entries.iter().fold(None, |found, entry| match same(entry.sha256.as_bytes(), given.as_bytes()) {
            true => Some(Arc::clone(&entry.user)),
            false => found,
        })
    }
}

/// Settings that let in only who has a token that is made now, and the token.
pub(crate) fn one_token(user: &str) -> Option<(AuthSettings, String)> {
    let token = unguessable();
    let settings = TokenSettings { sha256: Some(sha256_hex(&token)?), ..TokenSettings::default() };
    Some((AuthSettings { token: [(user.to_owned(), settings)].into(), ..AuthSettings::default() }, token))
}

fn entries(settings: &[(String, TokenSettings)]) -> Result<Arc<[Entry]>, String> {
    settings.iter().map(|(name, token)| entry(name, token)).collect()
}

fn entry(name: &str, token: &TokenSettings) -> Result<Entry, String> {
    let wrong = |message: String| format!("setting auth.token.{name}: {message}");
    let user = token.user.as_deref().unwrap_or(name);
    check_name(user).map_err(|why| wrong(why.to_owned()))?;
    let sha256 = match (&token.sha256, &token.file, &token.env) {
        (Some(sha256), None, None) => {
            let digits = sha256.trim().to_ascii_lowercase();
            let is_hash = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hash.then_some(digits).ok_or_else(|| wrong("sha256 takes 64 hexadecimal digits".to_owned()))
        }
        (None, Some(file), None) => {
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|error| wrong(format!("cannot read {}: {error}", file.display())))?;
            digest(text.trim()).map_err(wrong)
        }
        (None, None, Some(variable)) => {
            let text = std::env::var(variable);
            let text = text.map_err(|_| wrong(format!("the environment variable {variable} is not set")))?;
            digest(text.trim()).map_err(wrong)
        }
        _ => Err(wrong("exactly one of sha256, file and env says what the token is".to_owned())),
    };
    Ok(Entry { user: user.into(), sha256: sha256? })
}

fn digest(token: &str) -> Result<String, String> {
    if token.len() < TOKEN_BYTES_MIN {
        return Err(format!("the token is shorter than {TOKEN_BYTES_MIN} characters, so that it can be guessed"));
    }
    sha256_hex(token).ok_or_else(|| "there is no SHA-256".to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const TOKEN: &str = "a-token-that-nobody-guesses";

    fn settings(token: TokenSettings) -> AuthSettings {
        AuthSettings { token: BTreeMap::from([("boards".to_owned(), token)]), ..AuthSettings::default() }
    }

    fn refused(token: TokenSettings) -> String {
        match Tokens::new(&settings(token)) {
            Ok(_) => panic!("the setting should be refused"),
            Err(error) => error,
        }
    }

    #[test]
    fn tokens_are_known_by_hash_and_by_file() {
        let sha256 = sha256_hex(TOKEN).map(|digits| digits.to_uppercase());
        let tokens = Tokens::new(&settings(TokenSettings { sha256, ..Default::default() })).unwrap().unwrap();
        assert_eq!(tokens.user(TOKEN).as_deref(), Some("boards"));
        assert_eq!(tokens.user("another-token-of-length"), None);
        assert_eq!(tokens.user(""), None);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        let token = TokenSettings { user: Some("ann".into()), file: Some(file.clone()), ..Default::default() };
        let tokens = Tokens::new(&settings(token)).unwrap().unwrap();
        assert_eq!(tokens.user(TOKEN).as_deref(), Some("ann"));
        std::fs::write(&file, "the-next-token-in-its-turn").unwrap();
        tokens.reload();
        assert_eq!(tokens.user(TOKEN), None);
        assert_eq!(tokens.user("the-next-token-in-its-turn").as_deref(), Some("ann"));
    }

    #[test]
    fn a_token_made_now_is_let_in() {
        let (settings, token) = one_token("local").unwrap();
        let tokens = Tokens::new(&settings).unwrap().unwrap();
        assert_eq!(tokens.user(&token).as_deref(), Some("local"));
    }

    #[test]
    fn wrong_settings_are_named_and_hashes_not_shown() {
        assert!(refused(TokenSettings::default()).contains("auth.token.boards"));
        let sha256 = Some("hunter2".to_owned());
        let error = refused(TokenSettings { sha256: sha256.clone(), ..Default::default() });
        assert!(error.contains("64 hexadecimal digits") && !error.contains("hunter2"), "{error}");
        let unset = TokenSettings { env: Some("POLYNYA_NO_SUCH".into()), ..Default::default() };
        assert!(refused(unset).contains("not set"));
        let shown = format!("{:?}", TokenSettings { sha256, ..Default::default() });
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(Tokens::new(&AuthSettings::default()).unwrap().is_none());
    }
}
