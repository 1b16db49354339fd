//! What a call shows of its caller: the `authorization` header, or `auth-token-bin` of older Flight clients.

use arrow_flight::BasicAuth;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::Message;
use tonic::codegen::http::HeaderMap;
use tonic::codegen::http::header::AUTHORIZATION;

/// The header of clients that log in with a message (Flight's first form of authentication).
const TOKEN_HEADER: &str = "auth-token-bin";

/// Base64 as clients write it, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a call shows. Has no `Debug`: it holds secrets.
pub(crate) enum Credentials {
    /// Nothing.
    Nothing,
    /// A user and a password.
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Bearer(String),
    /// Something that is neither.
    Malformed(&'static str),
}

impl Credentials {
    /// What the headers of a call show.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::of_token_header(headers),
            (Some(value), None) => match value.to_str() {
                Ok(text) => Self::of_authorization(text),
                Err(_) => Self::Malformed("the authorization header is not plain text"),
            },
            (Some(_), Some(_)) => Self::Malformed("there is more than one authorization header"),
        }
    }

    /// What the message of a handshake shows: `BasicAuth`, or nothing.
    pub(crate) fn of_message(payload: &[u8]) -> Self {
        if payload.is_empty() {
            return Self::Nothing;
        }
        match BasicAuth::decode(payload) {
            Ok(basic) if !basic.username.is_empty() => Self::Basic { user: basic.username, password: basic.password },
            _ => Self::Malformed("the handshake's message is no BasicAuth"),
        }
    }

    /// The token, if there is one.
    pub(crate) fn bearer(&self) -> Option<&str> {
        match self {
            Self::Bearer(token) => Some(token),
            _ => None,
        }
    }

    fn of_authorization(text: &str) -> Self {
        let Some((scheme, rest)) = text.trim().split_once(' ') else {
            return Self::Malformed("the authorization header has no scheme");
        };
        match (scheme.to_ascii_lowercase().as_str(), rest.trim()) {
            ("bearer", token) if !token.is_empty() => Self::Bearer(token.to_owned()),
            ("basic", encoded) => Self::of_basic(encoded),
            _ => Self::Malformed("the authorization header is neither Basic nor Bearer"),
        }
    }

    fn of_basic(encoded: &str) -> Self {
        let text = BASE64.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match text.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) => Self::Basic { user: user.to_owned(), password: password.to_owned() },
            None => Self::Malformed("the Basic authorization is not user:password in Base64"),
        }
    }

    fn of_token_header(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(TOKEN_HEADER) else { return Self::Nothing };
        let token = BASE64.decode(value.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match token {
            Some(token) if !token.is_empty() => Self::Bearer(token),
            _ => Self::Malformed("the header auth-token-bin holds no token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(values: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().unwrap());
        }
        match Credentials::of(&headers) {
            Credentials::Nothing => "nothing".to_owned(),
            Credentials::Basic { user, password } => format!("{user} / {password}"),
            Credentials::Bearer(token) => token,
            Credentials::Malformed(_) => "malformed".to_owned(),
        }
    }

    #[test]
    fn every_form_of_credentials_is_read() {
        assert_eq!(shown(&[]), "nothing");
        assert_eq!(shown(&[("authorization", "Bearer abc")]), "abc");
        assert_eq!(shown(&[("authorization", "bearer  abc ")]), "abc");
        assert_eq!(shown(&[("authorization", "Basic YW5uOmE6Yg==")]), "ann / a:b");
        assert_eq!(shown(&[("authorization", "basic YW5uOmE6Yg")]), "ann / a:b");
        assert_eq!(shown(&[("auth-token-bin", "YWJj")]), "abc");
        assert_eq!(shown(&[("authorization", "Bearer abc"), ("auth-token-bin", "eHl6")]), "abc");
    }

    #[test]
    fn what_cannot_be_read_is_said_to_be() {
        for value in ["Bearer", "Bearer ", "Basic", "Basic %%%", "Basic YW5u", "Digest x", "abc"] {
            assert_eq!(shown(&[("authorization", value)]), "malformed", "{value}");
        }
        assert_eq!(shown(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]), "malformed");
        assert_eq!(shown(&[("auth-token-bin", "%")]), "malformed");
    }

    #[test]
    fn the_message_of_old_clients_is_read() {
        let message = BasicAuth { username: "ann".into(), password: "secret".into() }.encode_to_vec();
        assert!(matches!(Credentials::of_message(&message), Credentials::Basic { user, .. } if user == "ann"));
        assert!(matches!(Credentials::of_message(b""), Credentials::Nothing));
        assert!(matches!(Credentials::of_message(b"\xff\xff"), Credentials::Malformed(_)));
    }
}
