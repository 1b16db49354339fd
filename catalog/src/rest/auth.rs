//! How requests to a REST catalog are authorised: not at all, by a token given, or by OAuth2 client credentials.
//!
//! Tokens are got once for all callers, again before they expire, and again when the service refuses one. While a new
//! one cannot be had, the old one is used for as long as it is valid.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::wire::{TokenError, TokenResponse};
use crate::{Error, Result};

/// How long a token is used whose answer does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);
/// How long before its end a token is renewed, at most.
const RENEW_AHEAD_MAX: Duration = Duration::from_secs(60);

/// Where the bearer token of each request comes from.
pub(super) enum Auth {
    /// Requests carry none.
    None,
    /// Always the same.
    Token(String),
    /// From a token endpoint.
    OAuth2(OAuth2),
}

/// OAuth2 client credentials (RFC 6749, section 4.4).
pub(super) struct OAuth2 {
    endpoint: String,
    form: Vec<(&'static str, String)>,
    secret: String,
    http: reqwest::Client,
    current: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    value: String,
    renew_at: Instant,
    ends_at: Instant,
}

impl Auth {
    /// From `token`, or `credential` with `oauth2-server-uri`, `scope`, `audience`, `resource`. A token and a credential
    /// together mean that the token is only the first: services hand such tokens out in their configuration.
    pub(super) fn new(properties: &HashMap<String, String>, uri: &str, http: &reqwest::Client) -> Self {
        let token = properties.get("token").filter(|token| !token.is_empty());
        let Some(credential) = properties.get("credential").filter(|credential| !credential.is_empty()) else {
            return token.map_or(Self::None, |token| Self::Token(token.clone()));
        };
        let (client, secret) = match credential.split_once(':') {
            Some((client, secret)) => (Some(client), secret),
            None => (None, credential.as_str()),
        };
        let own_endpoint = || format!("{}/v1/oauth/tokens", uri.trim_end_matches('/'));
        let scope = properties.get("scope").map_or("catalog", String::as_str);
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        form.extend(client.map(|client| ("client_id", client.to_owned())));
        form.push(("client_secret", secret.to_owned()));
        form.push(("scope", scope.to_owned()));
        for key in ["audience", "resource"] {
            form.extend(properties.get(key).map(|value| (key, value.clone())));
        }
        Self::OAuth2(OAuth2 {
            endpoint: properties.get("oauth2-server-uri").cloned().unwrap_or_else(own_endpoint),
            form,
            secret: secret.to_owned(),
            http: http.clone(),
            current: Mutex::new(token.map(|token| Token::lasting(token.clone(), DEFAULT_LIFETIME))),
        })
    }

    /// The token to send now.
    pub(super) async fn bearer(&self) -> Result<Option<String>> {
        match self {
            Self::None => Ok(None),
            Self::Token(token) => Ok(Some(token.clone())),
            Self::OAuth2(oauth2) => oauth2.bearer().await.map(Some),
        }
    }

    /// Says that the service refused this token; whether asking for another may help.
    pub(super) async fn refused(&self, token: Option<&str>) -> bool {
        let Self::OAuth2(oauth2) = self else { return false };
        let mut current = oauth2.current.lock().await;
        if current.as_ref().map(|current| current.value.as_str()) == token {
            *current = None;
        }
        true
    }
}

impl Token {
    fn lasting(value: String, lifetime: Duration) -> Self {
        let now = Instant::now();
        let ahead = (lifetime / 5).min(RENEW_AHEAD_MAX);
        Self { value, renew_at: now + lifetime.saturating_sub(ahead), ends_at: now + lifetime }
    }
}

impl OAuth2 {
    async fn bearer(&self) -> Result<String> {
        // Held while asking, so that many queries at once ask once.
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(token) = current.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.value.clone());
        }
        match self.ask().await {
            Ok(token) => {
                *current = Some(token.clone());
                Ok(token.value)
            }
            Err(error) => match current.as_ref().filter(|token| now < token.ends_at) {
                Some(token) => {
                    tracing::warn!(%error, "the catalog's token could not be renewed yet");
                    Ok(token.value.clone())
                }
                None => Err(error),
            },
        }
    }

    async fn ask(&self) -> Result<Token> {
        let service = || format!("token endpoint {}", crate::settings::without_password(&self.endpoint));
        let action = || "getting a token".to_owned();
        let unavailable = |error: reqwest::Error| Error::Unavailable {
            service: service(),
            action: action(),
            source: Box::new(error.without_url()),
        };
        let response = self.http.post(&self.endpoint).form(&self.form).send().await.map_err(unavailable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unavailable)?;
        if status.is_success() {
            let answer: TokenResponse = serde_json::from_slice(&body).map_err(|error| Error::Malformed {
                location: format!("the answer of {}", service()),
                kind: "OAuth2 token response",
                source: Box::new(error),
            })?;
            let lifetime = answer.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            return Ok(Token::lasting(
                answer.access_token,
                lifetime.unwrap_or(DEFAULT_LIFETIME).min(DEFAULT_LIFETIME * 24),
            ));
        }
        let reason = self.reason(&body, status);
        if matches!(status.as_u16(), 400 | 401 | 403) {
            return Err(Error::AccessDenied { service: service(), action: action(), source: Some(reason.into()) });
        }
        Err(Error::Unavailable { service: service(), action: action(), source: reason.into() })
    }

    /// What the endpoint says, should it repeat the secret without that.
    fn reason(&self, body: &[u8], status: reqwest::StatusCode) -> String {
        let TokenError { error, error_description } = serde_json::from_slice(body).unwrap_or_default();
        let said = match (error, error_description) {
            (serde_json::Value::String(error), Some(description)) => format!("{error}: {description}"),
            (serde_json::Value::String(error), None) => error,
            (serde_json::Value::Object(error), _) => {
                error.get("message").and_then(|message| message.as_str()).unwrap_or("no message").to_owned()
            }
            _ => "no message".to_owned(),
        };
        let said = if self.secret.is_empty() { said } else { said.replace(&self.secret, crate::settings::HIDDEN) };
        format!("HTTP {}: {said}", status.as_u16())
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token(***)",
            Self::OAuth2(_) => "OAuth2(***)",
        })
    }
}
