//! The public keys of an OpenID provider: fetched, kept, and fetched again when they change.
//!
//! One task fetches ([`Jwks::keep_fresh`]): at the start, every few minutes, and when a token names a key that is not
//! known, which callers wait for. Callers that go away, or make up names, change neither the pace nor the outcome. Keys
//! stay until the provider gives others: one that cannot be reached locks nobody out.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use url::Url;

use crate::settings::JwtSettings;
use crate::status::chain;

/// How long keys are kept before they are asked for again.
const AGE_MAX: Duration = Duration::from_secs(10 * 60);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(15);
/// How long connecting, and all of a request, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller waits for keys.
const PATIENCE: Duration = Duration::from_secs(12);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Keys that are kept of one provider.
const KEYS_MAX: usize = 100;

/// See the module.
pub(super) struct Jwks {
    http: reqwest::Client,
    issuer: String,
    /// Where the keys are, unless discovery says it.
    url: Option<Url>,
    plain_http_allowed: bool,
    refetch_interval: Duration,
    known: watch::Sender<Known>,
    wanted: Notify,
}

/// What is known of the provider.
#[derive(Clone, Default)]
struct Known {
    /// None before the first answer.
    keys: Option<Arc<[IssuerKey]>>,
    /// Counts attempts to fetch, also those that failed.
    rounds: u64,
}

/// One public key.
#[derive(Clone)]
pub(super) struct IssuerKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    /// Checks signatures.
    pub(super) key: DecodingKey,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

impl Jwks {
    /// Knows no keys yet.
    ///
    /// # Errors
    /// The setting that is wrong.
    pub(super) fn new(settings: &JwtSettings, plain_http_allowed: bool) -> Result<Self, String> {
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("polynya/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &settings.ca_file {
            let wrong = |why: String| format!("setting auth.jwt.ca_file: {}: {why}", file.display());
            let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
            http = authorities.into_iter().fold(http, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = http.build().map_err(|error| format!("no HTTP client: {error}"))?;
        let url = match &settings.jwks_url {
            Some(text) => {
                let wrong = |why: String| format!("setting auth.jwt.jwks_url: {why}");
                Some(checked_url(text, plain_http_allowed).map_err(wrong)?)
            }
            None => {
                let wrong = |why: String| format!("setting auth.jwt.issuer: {why} (jwks_url may name another address)");
                checked_url(&settings.issuer, plain_http_allowed).map_err(wrong)?;
                None
            }
        };
        Ok(Self {
            http,
            issuer: settings.issuer.clone(),
            url,
            plain_http_allowed,
            refetch_interval: settings.refetch_interval,
            known: watch::Sender::new(Known::default()),
            wanted: Notify::new(),
        })
    }

    /// Fetches keys for as long as it is polled.
    pub(super) async fn keep_fresh(&self) -> Infallible {
        loop {
            let fetched = self.fetch().await;
            let pause = if fetched.is_ok() { AGE_MAX } else { RETRY };
            if let Err(why) = &fetched {
                tracing::warn!(issuer = self.issuer, why, "the issuer's keys could not be fetched");
            }
            self.known.send_modify(|known| {
                known.rounds += 1;
                if let Ok(keys) = fetched {
                    known.keys = Some(keys);
                }
            });
            // Whoever wants a key that is not known may have it fetched, but not more often than this.
            tokio::time::sleep(self.refetch_interval).await;
            tokio::select! {
                () = self.wanted.notified() => {}
                () = tokio::time::sleep(pause.saturating_sub(self.refetch_interval)) => {}
            }
        }
    }

    /// The keys that may have signed a token; none if there is no such key, also after asking again.
    ///
    /// # Errors
    /// If no keys are known at all.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<IssuerKey>, NoKeys> {
        let mut rounds = self.known.subscribe();
        let (found, is_begun) = {
            let known = rounds.borrow_and_update();
            (known.find(id, algorithm), known.rounds > 0)
        };
        match found {
            Some(keys) if !keys.is_empty() => return Ok(keys),
            Some(_) | None if is_begun => self.wanted.notify_one(),
            // The first answer is on its way.
            Some(_) | None => {}
        }
        // A deadline that passes is not an error: what is known by then counts.
        let _ = tokio::time::timeout(PATIENCE, rounds.changed()).await;
        let found = rounds.borrow().find(id, algorithm);
        found.ok_or(NoKeys)
    }

    async fn fetch(&self) -> Result<Arc<[IssuerKey]>, String> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let set: KeySet = self.get(url).await?;
        let keys: Vec<IssuerKey> = set.keys.into_iter().take(KEYS_MAX).filter_map(issuer_key).collect();
        if keys.is_empty() {
            return Err("there is no key among them that can be used".to_owned());
        }
        Ok(keys.into())
    }

    /// Where the provider says its keys are (OpenID Connect Discovery 1.0, section 4).
    async fn discover(&self) -> Result<Url, String> {
        let text = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let found: Discovery = self.get(checked_url(&text, self.plain_http_allowed)?).await?;
        if found.issuer != self.issuer {
            return Err(format!("the provider calls itself {}, unlike auth.jwt.issuer", found.issuer));
        }
        checked_url(&found.jwks_uri, self.plain_http_allowed)
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: Url) -> Result<T, String> {
        let shown = url.to_string();
        let failed = |error: reqwest::Error| format!("{shown}: {}", chain(&error.without_url()));
        let answer = self.http.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let mut answer = answer.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!("{shown}: the answer is larger than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        serde_json::from_slice(&body).map_err(|error| format!("{shown}: the answer is not what it should be: {error}"))
    }
}

/// No keys of the issuer are known.
#[derive(Debug)]
pub(super) struct NoKeys;

impl Known {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Vec<IssuerKey>> {
        let fits = |key: &&IssuerKey| {
            // A token that names no key may be signed by any.
            key.algorithms.contains(&algorithm) && id.is_none_or(|id| key.id.as_deref() == Some(id))
        };
        Some(self.keys.as_ref()?.iter().filter(fits).cloned().collect())
    }
}

/// A key for signatures; none for others, and those of a kind that is not known.
fn issuer_key(value: serde_json::Value) -> Option<IssuerKey> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
        return None;
    }
    let mut algorithms = algorithms(&jwk.algorithm);
    if let Some(only) = &jwk.common.key_algorithm {
        let only = Algorithm::from_str(&only.to_string()).ok()?;
        algorithms.retain(|algorithm| *algorithm == only);
    }
    if algorithms.is_empty() {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(IssuerKey { id: jwk.common.key_id, algorithms, key })
}

/// The signatures that a kind of key can check; of a shared secret, none.
fn algorithms(parameters: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match parameters {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            EllipticCurve::P521 | EllipticCurve::Ed25519 => vec![],
        },
        AlgorithmParameters::OctetKeyPair(_) => vec![EdDSA],
        AlgorithmParameters::OctetKey(_) => vec![],
    }
}

/// An address from which keys can be trusted: encrypted, unless it is this machine or the operator means it.
fn checked_url(text: &str, plain_http_allowed: bool) -> Result<Url, String> {
    let wrong = |error: url::ParseError| format!("{text} is no address such as https://login.example.com: {error}");
    let url = Url::parse(text).map_err(wrong)?;
    let local = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if local || plain_http_allowed => Ok(url),
        _ => Err(format!("{text} does not begin with https://, so that anybody on the way could put in keys")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_encrypted_connections_or_from_this_machine() {
        for fine in ["https://login.example.com/keys", "http://127.0.0.1:80/", "http://localhost/", "http://[::1]/"] {
            assert!(checked_url(fine, false).is_ok(), "{fine}");
        }
        for wrong in ["http://login.example.com/keys", "ftp://127.0.0.1/", "login.example.com", "file:///keys"] {
            assert!(checked_url(wrong, false).is_err(), "{wrong}");
        }
        assert!(checked_url("http://keycloak:8080/", true).is_ok());
    }

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let key = |text: &str| issuer_key(serde_json::from_str(text).unwrap());
        let rsa = key(r#"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"a","alg":"RS256","use":"sig"}"#).unwrap();
        assert_eq!((rsa.id.as_deref(), rsa.algorithms.as_slice()), (Some("a"), [Algorithm::RS256].as_slice()));
        for other in [
            r#"{"kty":"oct","k":"c2VjcmV0","kid":"a"}"#,
            r#"{"kty":"oct","k":"c2VjcmV0","kid":"a","alg":"HS256"}"#,
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB","use":"enc"}"#,
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB","alg":"RSA-OAEP"}"#,
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB","alg":"ES256"}"#,
            r#"{"kty":"something new"}"#,
        ] {
            assert!(key(other).is_none(), "{other}");
        }
    }
}
