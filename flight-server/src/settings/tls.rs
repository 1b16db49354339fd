//! The `[server.tls]` section: the server's certificate, and those of clients.

use std::path::PathBuf;

use serde::Deserialize;

/// The `[server.tls]` section. The files are PEM, and are read again when they change.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The server's certificate, followed by those between it and its authority's.
    pub cert_file: PathBuf,
    /// The key of the certificate.
    pub key_file: PathBuf,
    /// The authorities whose certificates clients may show. Default: none, clients are asked for no certificate.
    #[serde(default)]
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients must show a certificate, if there is a `client_ca_file`. Default: `required`.
    #[serde(default)]
    pub client_auth: ClientAuth,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// A connection without one is refused.
    #[default]
    Required,
    /// One that is shown is checked, and stands in for the credentials that `[auth]` asks for.
    Optional,
}
