//! The secret that the processes of one cluster share.

use std::fmt::{self, Debug, Formatter};

use http::HeaderValue;
use serde::de::{Deserialize, Deserializer, Visitor};
use tonic::{Request, Status};

/// The header that carries the secret.
const HEADER: &str = "x-polynya-cluster-secret";
/// How a worker refuses a call. It tells the worker from others that refuse calls.
pub(super) const REFUSAL: &str = "the cluster's secret is missing or wrong (setting workers.secret)";
/// Shorter secrets can be guessed.
const LENGTH_MIN: usize = 16;

/// See the module. `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// Text, or the whole number that the environment's text was taken for.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(text.to_owned()))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Secret, E> {
                Ok(Secret(number.to_string()))
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Secret, E> {
                Ok(Secret(number.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

impl Debug for Secret {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "***" })
    }
}

impl Secret {
    /// One that nobody knows yet.
    pub(crate) fn random() -> Self {
        Self(format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()))
    }

    /// Whether it can be used: long enough, and text that a header takes.
    pub fn is_strong(&self) -> bool {
        self.0.len() >= LENGTH_MIN && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// For the environment of a worker.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Adds the secret to a call.
    pub(super) fn sign<B>(&self, mut call: http::Request<B>) -> http::Request<B> {
        if let Ok(mut value) = HeaderValue::from_str(&self.0) {
            value.set_sensitive(true);
            call.headers_mut().insert(HEADER, value);
        }
        call
    }

    /// Lets a call pass that knows the secret.
    pub(super) fn check(&self, call: Request<()>) -> Result<Request<()>, Status> {
        let given = call.metadata().get(HEADER).map(|value| value.as_bytes()).unwrap_or_default();
        match self.is_strong() && same(given, self.0.as_bytes()) {
            true => Ok(call),
            false => Err(Status::unauthenticated(REFUSAL)),
        }
    }
}

/// Compares in a time that does not tell where the first difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |found, (left, right)| found | (left ^ right));
    left.len() == right.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_passes_and_it_is_never_shown() {
        let secret = Secret::random();
        assert!(secret.is_strong() && !format!("{secret:?}").contains(secret.reveal()));
        let call = |value: Option<&str>| {
            let mut call = Request::new(());
            if let Some(value) = value {
                call.metadata_mut().insert(HEADER, value.parse().unwrap());
            }
            call
        };
        assert!(secret.check(call(Some(secret.reveal()))).is_ok());
        for wrong in [None, Some(""), Some("no"), Some(&secret.reveal()[1..])] {
            let refused = secret.check(call(wrong)).unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        }
        assert!(Secret::default().check(call(Some(""))).is_err(), "no secret lets nobody in");
    }

    #[test]
    fn a_secret_of_digits_is_text() {
        let read = |json: &str| serde_json::from_str::<Secret>(json).map(|secret| secret.0);
        assert_eq!(read("\"0012345678901234\"").unwrap(), "0012345678901234");
        assert_eq!(read("1234567890123456").unwrap(), "1234567890123456");
        assert!(read("[1]").is_err());
    }
}
