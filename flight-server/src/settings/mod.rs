//! Everything an operator may change, and where it is read from.
//!
//! In: command-line flags, the environment (`POLYNYA__SERVER__LISTEN`), `polynya.toml`, defaults, in this order of
//! precedence. Out: [`Settings`]. A key that nothing reads is an error that names it and the nearest that exists.

mod auth;
mod environment;
mod otlp;
mod source;
mod tls;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use url::Url;

use environment::Environment;

pub use auth::{AuthSettings, JwtAlgorithm, JwtSettings, TokenSettings};
pub use tls::{ClientAuth, TlsSettings};

/// The file that is read from the current folder if there is one and `--config` names none.
pub const DEFAULT_FILE: &str = "polynya.toml";

/// Everything the process can be told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The `[server]` section.
    pub server: ServerSettings,
    /// Every other section.
    pub engine: polynya_engine::Settings,
}

/// The `[server]` section: how clients reach the engine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Where to listen. Default: `127.0.0.1:50051`.
    pub listen: String,
    /// Listen on more than loopback although nobody is asked for a password, or passwords travel as they are. Default: no.
    pub allow_insecure: bool,
    /// How many connections there may be. Default: 10,000, or half of the files that the process may have open if that is less.
    pub connections_max: Option<usize>,
    /// How many connections there may be on which nobody has logged in yet; for one more the oldest of them is closed. At most
    /// half of `connections_max`. Default: 1,000.
    pub pending_logins_max: usize,
    /// How many of those may come from one address (of IPv6: from one network of 64 bits). Default: 500.
    pub pending_logins_per_address_max: usize,
    /// How long a connection is kept on which nobody logs in; where nobody is asked: on which no call comes. Default: 30 seconds.
    #[serde(deserialize_with = "polynya_engine::duration::deserialize")]
    pub login_timeout: Duration,
    /// The `[server.tls]` section. Default: none, connections are not encrypted.
    pub tls: Option<TlsSettings>,
    /// The `[auth]` section, which stands beside `[server]`. Default: nobody is asked who they are.
    #[serde(skip)]
    pub auth: AuthSettings,
    /// The catalog of names without one.
    pub default_catalog: Option<String>,
    /// The schema of names without one.
    pub default_schema: Option<String>,
    /// The largest message that is accepted, in bytes. Default: 64 MiB.
    pub max_message_bytes: ByteSize,
    /// How long an unused session, and an unused prepared statement, is kept. Default: 30 minutes.
    #[serde(deserialize_with = "polynya_engine::duration::deserialize")]
    pub session_idle_timeout: Duration,
    /// How many sessions are kept. Default: 10,000.
    pub sessions_max: usize,
    /// How many prepared statements are kept. Default: 10,000.
    pub prepared_statements_max: usize,
    /// How long a result waits to be fetched. Default: 5 minutes.
    #[serde(deserialize_with = "polynya_engine::duration::deserialize")]
    pub result_lifetime: Duration,
    /// How many results may wait to be fetched. Default: 1,000.
    pub pending_results_max: usize,
    /// The share of connections, sessions, prepared statements and waiting results that one user may have, between 0 and 1, where callers
    /// are asked who they are; one of each at least. Default: 0.25.
    #[serde(deserialize_with = "otlp::ratio")]
    pub user_share: f64,
    /// How long running statements may take to finish after SIGTERM. Default: 30 seconds.
    #[serde(deserialize_with = "polynya_engine::duration::deserialize")]
    pub drain_timeout: Duration,
    /// Where Prometheus finds `/metrics`, such as `127.0.0.1:9464`. Default: nowhere.
    pub metrics_listen: Option<String>,
    /// The collector that spans are sent to by OTLP over gRPC, such as `http://127.0.0.1:4317`. Default: none, nothing is sent.
    #[serde(deserialize_with = "otlp::endpoint")]
    pub otlp_endpoint: Option<Url>,
    /// The share of the queries whose spans are sent, between 0 and 1. Default: 1.
    #[serde(deserialize_with = "otlp::ratio")]
    pub otlp_sample_ratio: f64,
    /// How log lines look. Default: `text`.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:50051".to_owned(),
            allow_insecure: false,
            connections_max: None,
            pending_logins_max: 1000,
            pending_logins_per_address_max: 500,
            login_timeout: Duration::from_secs(30),
            tls: None,
            auth: AuthSettings::default(),
            default_catalog: None,
            default_schema: None,
            max_message_bytes: ByteSize::mib(64),
            session_idle_timeout: Duration::from_secs(30 * 60),
            sessions_max: 10_000,
            prepared_statements_max: 10_000,
            result_lifetime: Duration::from_secs(5 * 60),
            pending_results_max: 1000,
            user_share: 0.25,
            drain_timeout: Duration::from_secs(30),
            metrics_listen: None,
            otlp_endpoint: None,
            otlp_sample_ratio: 1.0,
            log_format: LogFormat::Text,
        }
    }
}

impl ServerSettings {
    /// Refuses an address that strangers could reach, unless callers are asked who they are, in a way that nobody can
    /// overhear, or the operator says that this is meant.
    pub(crate) fn check_exposure(&self, address: IpAddr) -> Result<(), Error> {
        if address.is_loopback() || self.allow_insecure {
            return Ok(());
        }
        match (self.asks_callers(), &self.tls) {
            (false, _) => Err(Error::Exposed { listen: self.listen.clone() }),
            (true, None) => Err(Error::Overheard { listen: self.listen.clone() }),
            (true, Some(_)) => Ok(()),
        }
    }

    /// Whether callers are asked who they are: by a method of `[auth]`, or for a certificate.
    pub(crate) fn asks_callers(&self) -> bool {
        !self.auth.is_none() || self.asks_for_certificates()
    }

    /// How much one user may have of what all share: everything, where nobody is asked who calls.
    pub(crate) fn share_of(&self, all: u64) -> u64 {
        match self.asks_callers() {
            true => ((all as f64 * self.user_share).ceil() as u64).clamp(1, all.max(1)),
            false => all,
        }
    }

    /// Whether clients may or must show a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca_file.is_some())
    }
}

/// Flags that take precedence over every other source.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Overrides {
    /// `--listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `--allow-insecure`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_insecure: Option<bool>,
    /// `--log-format`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_format: Option<LogFormat>,
}

impl Settings {
    /// Reads all sources. Without `file`, [`DEFAULT_FILE`] is read if it is there.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, Error> {
        Self::load_with(file, std::env::vars_os(), overrides)
    }

    fn load_with(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        if let Some(file) = file
            && !file.is_file()
        {
            return Err(Error::NoFile { file: file.to_owned() });
        }
        let file = file.or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|file| file.is_file()));
        Self::read(file, environment, overrides)
    }

    /// The settings of the environment alone: also a file in the current folder is left alone.
    ///
    /// # Errors
    /// If a key is unknown or has a bad value.
    pub fn of_environment(overrides: &Overrides) -> Result<Self, Error> {
        Self::read(None, std::env::vars_os(), overrides)
    }

    fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        let environment = Environment::read(environment);
        let (server, mut engine) = source::read(file, &environment, overrides)?;
        engine.default_catalog = server.default_catalog.clone().or(engine.default_catalog);
        engine.default_schema = server.default_schema.clone().or(engine.default_schema);
        Ok(Self { server, engine })
    }
}

/// Why the settings cannot be used. All of it is the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `--config` names a file that is not there.
    #[error("the settings file {} does not exist", file.display())]
    NoFile {
        /// The file.
        file: PathBuf,
    },
    /// A key is unknown or has a bad value; or the file is not TOML.
    #[error("{0}")]
    Bad(String),
    /// The address is reachable by others, and nobody is asked for a password.
    #[error(
        "listening on {listen} would let anyone who reaches it run SQL, because no authentication is configured. \
         Listen on 127.0.0.1, or pass --allow-insecure (setting server.allow_insecure) if the network is trusted"
    )]
    Exposed {
        /// The address.
        listen: String,
    },
    /// The address is reachable by others, and passwords would travel as they are.
    #[error(
        "listening on {listen} would send passwords and tokens over the network as they are, because TLS is not \
         configured. Write a section [server.tls] (docs/security.md), listen on 127.0.0.1, or pass --allow-insecure \
         (setting server.allow_insecure) if something before the server encrypts"
    )]
    Overheard {
        /// The address.
        listen: String,
    },
}

#[cfg(test)]
mod tests;
