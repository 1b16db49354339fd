//! The secret that the processes of one cluster share.

use std::fmt::{self, Debug, Formatter};

use http::HeaderValue;
use tonic::{Request, Status};

/// The header that carries the secret.
const HEADER: &str = "x-polynya-cluster-secret";
/// Shorter secrets can be guessed.
const LENGTH_MIN: usize = 16;

/// See the module. `Debug` does not show it.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

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
            false => Err(Status::unauthenticated("the cluster's secret is missing or wrong (setting workers.secret)")),
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
}
