//! The `[auth]` section: who may call, and how they show who they are.
//!
//! A method is on if it is configured, and several may be. With none, everybody is the user `anonymous`.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// The `[auth]` section.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// The file of users and of the hashes of their passwords (docs/security.md). Default: none, no passwords.
    pub users_file: Option<PathBuf>,
    /// Fixed bearer tokens, by names that only the operator uses: `[auth.token.dashboards]`.
    pub token: BTreeMap<String, TokenSettings>,
    /// Bearer tokens that an OpenID provider signs. Default: none.
    pub jwt: Option<JwtSettings>,
}

/// One fixed bearer token: exactly one of `sha256`, `file` and `env` says which.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenSettings {
    /// Whom the token stands for. Default: the token's name.
    pub user: Option<String>,
    /// The SHA-256 of the token, as 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// A file that holds the token, and is read again when it changes.
    pub file: Option<PathBuf>,
    /// The environment variable that holds the token.
    pub env: Option<String>,
}

/// Bearer tokens that an OpenID provider signs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// The `iss` that tokens must have; also where the provider's keys are asked for, unless `jwks_url` says.
    pub issuer: String,
    /// The `aud` that tokens must have; of a list, one is enough.
    #[serde(deserialize_with = "one_or_many")]
    pub audience: Vec<String>,
    /// Where the provider's keys are. Default: what `{issuer}/.well-known/openid-configuration` says.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// The signatures that are accepted. Default: RS256 and ES256.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<JwtAlgorithm>,
    /// How far the provider's clock may be off. Default: 30 seconds.
    #[serde(default = "default_leeway", deserialize_with = "polynya_engine::duration::deserialize")]
    pub leeway: Duration,
    /// The claim that is the user's name. Default: `sub`.
    #[serde(default = "default_user_claim")]
    pub user_claim: String,
    /// How often, at most, keys are asked for because a token names one that is not known. Default: 10 seconds.
    #[serde(default = "default_refetch", deserialize_with = "polynya_engine::duration::deserialize")]
    pub refetch_interval: Duration,
    /// PEM file of the authority that signed the provider's certificate. Default: the public ones.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// A signature that tokens may have. There is neither `none` nor one with a shared secret (HS256).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum JwtAlgorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    #[serde(rename = "RS384")]
    Rs384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    #[serde(rename = "RS512")]
    Rs512,
    /// RSA, PSS, SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// RSA, PSS, SHA-384.
    #[serde(rename = "PS384")]
    Ps384,
    /// RSA, PSS, SHA-512.
    #[serde(rename = "PS512")]
    Ps512,
    /// ECDSA on P-256, SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384, SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl AuthSettings {
    /// Whether nobody is asked who they are.
    pub fn is_none(&self) -> bool {
        self.users_file.is_none() && self.token.is_empty() && self.jwt.is_none()
    }
}

/// The hash of a weak token gives the token away.
impl Debug for TokenSettings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSettings")
            .field("user", &self.user)
            .field("sha256", &self.sha256.as_ref().map(|_| "***"))
            .field("file", &self.file)
            .field("env", &self.env)
            .finish()
    }
}

fn default_algorithms() -> Vec<JwtAlgorithm> {
    vec![JwtAlgorithm::Rs256, JwtAlgorithm::Es256]
}

fn default_leeway() -> Duration {
    Duration::from_secs(30)
}

fn default_user_claim() -> String {
    "sub".to_owned()
}

fn default_refetch() -> Duration {
    Duration::from_secs(10)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    match Written::deserialize(deserializer) {
        Ok(Written::One(text)) => Ok(vec![text]),
        Ok(Written::Many(texts)) => Ok(texts),
        Err(_) => Err(serde::de::Error::custom("expected a text, or a list of texts")),
    }
}
