//! Who calls: told from a password, a token or a certificate, as `[auth]` and `[server.tls]` say (docs/security.md).
//!
//! ```text
//! connection ─► Gate: credentials ─► Authenticator ─► Identity ─► Flight service: session, handles, tickets of that user
//! ```
//! What a user may do is not decided here.

mod audit;
mod backoff;
mod credentials;
mod digest;
mod gate;
mod identity;
mod jwks;
mod jwt;
mod passwords;
mod refusal;
mod tokens;
mod users;
mod watched;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use audit::{logged_in, refused};
pub(crate) use backoff::network;
pub(crate) use credentials::Credentials;
pub(crate) use gate::Gate;
pub(crate) use identity::Identity;
pub(crate) use refusal::Refusal;
pub(crate) use tokens::one_token;
pub(crate) use users::{check_name, hash as hash_password};
pub(crate) use watched::Watched;

use self::jwt::Jwt;
use self::passwords::Passwords;
use self::tokens::Tokens;
use crate::door::Peer;
use crate::sessions::Sessions;
use crate::settings::{ClientAuth, Error, ServerSettings};

/// The longest user name and password, in bytes.
const USER_BYTES_MAX: usize = 256;
pub(crate) const PASSWORD_BYTES_MAX: usize = 4096;
/// How often files are looked at for changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Tells who calls.
pub(crate) struct Authenticator {
    passwords: Option<Passwords>,
    tokens: Option<Tokens>,
    jwt: Option<Jwt>,
    /// Whether a certificate alone says who calls.
    certificates: bool,
}

impl Authenticator {
    /// Reads what the settings name.
    ///
    /// # Errors
    /// The setting or file that is wrong, without any secret.
    pub(crate) fn new(settings: &ServerSettings) -> Result<Self, Error> {
        let auth = &settings.auth;
        let users = |why| Error::Bad(format!("setting auth.users_file: {why}"));
        let passwords = auth.users_file.as_deref().map(Passwords::new).transpose().map_err(users)?;
        let tokens = Tokens::new(auth).map_err(Error::Bad)?;
        let jwt =
            auth.jwt.as_ref().map(|jwt| Jwt::new(jwt, settings.allow_insecure)).transpose().map_err(Error::Bad)?;
        let is_optional = settings.tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::Optional);
        let certificates = settings.asks_for_certificates() && (auth.is_none() || is_optional);
        Ok(Self { passwords, tokens, jwt, certificates })
    }

    /// Whether nobody is asked.
    pub(crate) fn is_open(&self) -> bool {
        self.methods().is_empty()
    }

    /// The methods that are on, in words.
    pub(crate) fn methods(&self) -> Vec<&'static str> {
        let methods = [
            (self.passwords.is_some(), "passwords"),
            (self.tokens.is_some(), "tokens"),
            (self.jwt.is_some(), "JWT"),
            (self.certificates, "certificates"),
        ];
        methods.into_iter().filter(|(is_on, _)| *is_on).map(|(_, method)| method).collect()
    }

    /// Tells who calls, or why the caller is turned away.
    pub(crate) async fn identify(
        &self,
        credentials: Credentials,
        peer: &Peer,
        sessions: &Sessions,
    ) -> Result<Identity, Refusal> {
        if self.is_open() {
            return Ok(Identity::anonymous(credentials.bearer()));
        }
        match credentials {
            Credentials::Basic { user, password } => self.by_password(&user, &password, peer).await,
            Credentials::Bearer(token) => self.by_token(&token, sessions).await,
            Credentials::Nothing => match peer.user() {
                Some(user) if self.certificates => Ok(Identity::by_certificate(user)),
                _ => Err(Refusal::Nothing),
            },
            Credentials::Malformed(what) => Err(Refusal::Malformed(what)),
        }
    }

    async fn by_password(&self, user: &str, password: &str, peer: &Peer) -> Result<Identity, Refusal> {
        let Some(passwords) = &self.passwords else { return Err(Refusal::NotTaken("passwords")) };
        let hash = passwords.verify(user, password, peer.ip()).await?;
        Ok(Identity::by_password(user, hash))
    }

    async fn by_token(&self, token: &str, sessions: &Sessions) -> Result<Identity, Refusal> {
        if let Some((user, hash)) = sessions.login(token) {
            if self.passwords.as_ref().is_some_and(|passwords| passwords.is_current(&user, &hash)) {
                return Ok(Identity::by_login(&user, token));
            }
            sessions.forget(token);
            return Err(Refusal::WrongToken("a login with a password that has changed, or of a user who is gone"));
        }
        if let Some(user) = self.tokens.as_ref().and_then(|tokens| tokens.user(token)) {
            return Ok(Identity::by_token(&user, token));
        }
        match &self.jwt {
            Some(jwt) if Jwt::is_one(token) => Ok(Identity::by_token(&jwt.user(token).await?, token)),
            _ => Err(Refusal::WrongToken("unknown, or a login that has expired")),
        }
    }

    /// Reads files and keys again when they change, for as long as it is polled.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        let keys = async {
            if let Some(jwt) = &self.jwt {
                jwt.keep_fresh().await;
            }
        };
        let _ = tokio::join!(self.keep_files_fresh(), keys);
    }

    async fn keep_files_fresh(self: &Arc<Self>) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let auth = Arc::clone(self);
            // Files may be slow. A panic in reading them must not stop this.
            let _ = tokio::task::spawn_blocking(move || auth.reload()).await;
        }
    }

    fn reload(&self) {
        if let Some(passwords) = &self.passwords {
            passwords.reload();
        }
        if let Some(tokens) = &self.tokens {
            tokens.reload();
        }
    }
}
