//! Bearer tokens that an OpenID provider signed (RFC 7519), and whom they stand for.
//!
//! The token's own words about how to check it are not trusted: its `alg` must be one of the settings', its `kid` only
//! chooses among the provider's keys, and keys or addresses inside the token are not looked at. A token whose header names
//! extensions that must be understood (`crit`, RFC 7515 section 4.1.11) is refused: none are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::jwks::Jwks;
use super::refusal::Refusal;
use super::users::check_name;
use crate::settings::{JwtAlgorithm, JwtSettings};

/// Keys that are tried for one token.
const KEYS_TRIED_MAX: usize = 8;

/// See the module.
pub(super) struct Jwt {
    algorithms: Vec<Algorithm>,
    validation: Validation,
    user_claim: String,
    keys: Jwks,
}

impl Jwt {
    /// Checks the settings.
    ///
    /// # Errors
    /// The setting that is wrong.
    pub(super) fn new(settings: &JwtSettings, plain_http_allowed: bool) -> Result<Self, String> {
        let given = |texts: &[String]| !texts.is_empty() && texts.iter().all(|text| !text.is_empty());
        match () {
            () if settings.issuer.is_empty() => return Err("setting auth.jwt.issuer is empty".to_owned()),
            () if !given(&settings.audience) => return Err("setting auth.jwt.audience is empty".to_owned()),
            () if settings.algorithms.is_empty() => return Err("setting auth.jwt.algorithms is empty".to_owned()),
            () => {}
        }
        let algorithms: Vec<Algorithm> = settings.algorithms.iter().map(|algorithm| of(*algorithm)).collect();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = settings.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&settings.audience);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let keys = Jwks::new(settings, plain_http_allowed)?;
        Ok(Self { algorithms, validation, user_claim: settings.user_claim.clone(), keys })
    }

    /// Fetches the provider's keys for as long as it is polled.
    pub(super) async fn keep_fresh(&self) -> std::convert::Infallible {
        self.keys.keep_fresh().await
    }

    /// Whether a token looks like one of these.
    pub(super) fn is_one(token: &str) -> bool {
        token.split('.').count() == 3
    }

    /// Whom a token stands for.
    pub(super) async fn user(&self, token: &str) -> Result<String, Refusal> {
        let header = decode_header(token).map_err(|error| Refusal::WrongToken(reason(error.kind())))?;
        // Also in front of the keys: a token with `none` or a shared secret gets no further.
        if !self.algorithms.contains(&header.alg) {
            return Err(Refusal::WrongToken("signed in a way that is not accepted"));
        }
        check_extensions(token).map_err(Refusal::WrongToken)?;
        let keys = self.keys.find(header.kid.as_deref(), header.alg).await.map_err(|_| Refusal::NoKeys)?;
        let mut validation = self.validation.clone();
        validation.algorithms = vec![header.alg];
        let mut why = "signed with a key that the issuer does not have";
        for candidate in keys.iter().take(KEYS_TRIED_MAX) {
            match decode::<Map<String, Value>>(token, &candidate.key, &validation) {
                Ok(token) => {
                    check_times(&token.claims).map_err(Refusal::WrongToken)?;
                    return self.named(&token.claims);
                }
                Err(error) => why = reason(error.kind()),
            }
        }
        Err(Refusal::WrongToken(why))
    }

    fn named(&self, claims: &Map<String, Value>) -> Result<String, Refusal> {
        let name = claims.get(&self.user_claim).and_then(Value::as_str);
        let name = name.ok_or(Refusal::WrongToken("the claim with the user's name is missing"))?;
        check_name(name).map_err(Refusal::WrongToken)?;
        Ok(name.to_owned())
    }
}

/// Refuses headers that ask for an extension. What is signed with `b64: false` (RFC 7797) are other bytes than ours.
fn check_extensions(token: &str) -> Result<(), &'static str> {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|bytes| serde_json::from_slice::<Map<String, Value>>(&bytes).ok());
    let header = header.ok_or("not a token of this kind")?;
    match header.contains_key("crit") || header.get("b64").is_some_and(|encoded| *encoded != Value::Bool(true)) {
        true => Err("its header asks for an extension that is not understood here"),
        false => Ok(()),
    }
}

/// Refuses times that are no numbers: the library takes such an `nbf` for none.
fn check_times(claims: &Map<String, Value>) -> Result<(), &'static str> {
    match claims.get("nbf").is_none_or(|time| time.as_f64().is_some_and(|seconds| seconds >= 0.0)) {
        true => Ok(()),
        false => Err("the claim nbf is not a time"),
    }
}

fn of(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// What is wrong, without anything of the token.
fn reason(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "expired",
        ErrorKind::ImmatureSignature => "not valid yet",
        ErrorKind::InvalidIssuer => "of another issuer",
        ErrorKind::InvalidAudience => "for another audience",
        ErrorKind::InvalidSignature => "the signature is wrong",
        ErrorKind::InvalidAlgorithm => "signed in another way than the key is for",
        ErrorKind::MissingRequiredClaim(_) => "a claim is missing: exp, iss or aud",
        _ => "not a token of this kind",
    }
}

#[cfg(test)]
mod tests;
