//! Fingerprints of secrets: what is kept and compared in their place.

use jsonwebtoken::{Algorithm, EncodingKey};
use tokio_rustls::rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

/// The SHA-256 of a text that is a secret, as lower-case hexadecimal digits.
///
/// It is the hash of a TLS cipher suite: the server has no other SHA-256 of its own.
pub(super) fn sha256_hex(text: &str) -> Option<String> {
    let suite = TLS13_AES_128_GCM_SHA256.tls13()?;
    let hash = suite.common.hash_provider.hash(text.as_bytes());
    Some(hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Compares in a time that does not tell where the first difference is.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |found, (left, right)| found | (left ^ right));
    left.len() == right.len() && std::hint::black_box(differences) == 0
}

/// Fingerprints that only this process can make, so that they give nothing away where they are kept.
pub(super) struct KeyedDigest(EncodingKey);

impl KeyedDigest {
    /// A key that nobody knows.
    pub(super) fn new() -> Self {
        let key = [uuid::Uuid::new_v4().into_bytes(), uuid::Uuid::new_v4().into_bytes()].concat();
        Self(EncodingKey::from_secret(&key))
    }

    /// The fingerprint (HMAC-SHA-256) of a user and a password.
    pub(super) fn of(&self, user: &str, password: &str) -> Option<String> {
        // The length parts the two: no other pair makes the same message.
        let message = format!("{}:{user}{password}", user.len());
        jsonwebtoken::crypto::sign(message.as_bytes(), &self.0, Algorithm::HS256).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_that_of_sha256sum() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex("abc").unwrap(), expected);
    }

    #[test]
    fn only_equal_texts_are_the_same() {
        assert!(same(b"abc", b"abc") && same(b"", b""));
        assert!(!same(b"abc", b"abd") && !same(b"abc", b"ab") && !same(b"", b"a"));
    }

    #[test]
    fn a_fingerprint_tells_users_and_passwords_and_keys_apart() {
        let digest = KeyedDigest::new();
        assert_eq!(digest.of("ann", "secret"), digest.of("ann", "secret"));
        assert_ne!(digest.of("ann", "secret"), digest.of("an", "nsecret"));
        assert_ne!(digest.of("ann", "secret"), KeyedDigest::new().of("ann", "secret"));
    }
}
