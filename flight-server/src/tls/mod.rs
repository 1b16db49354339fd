//! The server's side of TLS: its certificate, and those of clients.
//!
//! The certificate, its key and the clients' authorities are read again when their files change; connections that are
//! open stay as they are.

mod certificate;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

pub(crate) use certificate::name_in;

use crate::auth::Watched;
use crate::settings::{ClientAuth, Error, TlsSettings};

/// How often files are looked at for changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// The server's side of TLS.
pub(crate) struct Tls {
    settings: TlsSettings,
    watched: Watched,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// The setting that is wrong, or the file.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Arc<Self>, Error> {
        if settings.client_auth == ClientAuth::Optional && settings.client_ca_file.is_none() {
            let message = "setting server.tls.client_auth: clients' certificates are checked only with client_ca_file";
            return Err(Error::Bad(message.to_owned()));
        }
        let own = [settings.cert_file.clone(), settings.key_file.clone()];
        let watched = Watched::new(own.into_iter().chain(settings.client_ca_file.clone()));
        let config = RwLock::new(Arc::new(config(settings).map_err(Error::Bad)?));
        Ok(Arc::new(Self { settings: settings.clone(), watched, config }))
    }

    /// What the next connection is made with.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read())
    }

    /// Reads the files again when they change, for as long as it is polled.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let tls = Arc::clone(&self);
            // Files may be slow. A panic in reading them must not stop this.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }

    /// Files that do not fit together, such as a new certificate whose key is still to come, change nothing.
    fn reload(&self) {
        match self.watched.read_again(|| config(&self.settings)) {
            None => {}
            Some(Ok(config)) => {
                *self.config.write() = Arc::new(config);
                tracing::info!("the certificate was read again");
            }
            Some(Err(error)) => tracing::error!(error, "the certificate stays as it was"),
        }
    }
}

fn config(settings: &TlsSettings) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let certificates = certificates("cert_file", &settings.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key_file);
    let key = key.map_err(|error| wrong("key_file", &settings.key_file, &error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let builder = match &settings.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut authorities = RootCertStore::empty();
            for certificate in self::certificates("client_ca_file", file)? {
                let added = authorities.add(certificate);
                added.map_err(|error| wrong("client_ca_file", file, &error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            let verifier = match settings.client_auth {
                ClientAuth::Required => verifier,
                ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build();
            builder
                .with_client_cert_verifier(verifier.map_err(|error| wrong("client_ca_file", file, &error.to_string()))?)
        }
    };
    let config = builder.with_single_cert(certificates, key);
    let mut config = config.map_err(|error| wrong("cert_file", &settings.cert_file, &error.to_string()))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| wrong(setting, file, &error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong(setting, file, "there is no certificate in it"));
    }
    Ok(certificates)
}

fn wrong(setting: &str, file: &Path, why: &str) -> String {
    format!("setting server.tls.{setting}: {}: {why}", file.display())
}

#[cfg(test)]
mod tests;
