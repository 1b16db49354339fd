//! What an operator may say about workers: `[workers]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use url::Url;

use super::secret::Secret;
use crate::options::Execution;
use crate::{Error, Result};

/// Where a pod finds what it needs to call the API server.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Who starts workers, how many, and when queries use them.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSettings {
    /// Who starts workers. Default: none, queries run in this process.
    pub provisioner: ProvisionerKind,
    /// `static`: where the workers are. A name that stands for several addresses is several workers.
    #[serde(deserialize_with = "crate::urls::several")]
    pub urls: Vec<Url>,
    /// `local-process`, `kubernetes`: workers that are kept when nothing runs. Default: 0.
    pub min: usize,
    /// `local-process`, `kubernetes`: the most workers. Default: 4.
    pub max: usize,
    /// How long nothing must have run before workers are stopped. Default: 60 s.
    #[serde(deserialize_with = "crate::duration::deserialize")]
    pub idle_timeout: Duration,
    /// How long a query waits for workers to start. Default: 30 s.
    #[serde(deserialize_with = "crate::duration::deserialize")]
    pub start_timeout: Duration,
    /// What coordinator and workers prove to each other with each call. `local-process` makes one of its own.
    pub secret: Secret,
    /// Where queries run unless their session says otherwise (`SET polynya.execution`). Default: auto.
    pub execution: Execution,
    /// Queries whose files have no more bytes than this run in the coordinator. Default: 256 MiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub small_query_bytes: ByteSize,
    /// Bytes of files for which one worker is wanted. Default: 256 MiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub bytes_per_worker: ByteSize,
    /// Rows that are held back from the client so that a query whose worker is lost can run again unseen. Default: 64 MiB.
    #[serde(deserialize_with = "crate::sizes::size")]
    pub retry_buffer_bytes: ByteSize,
    /// How often a query is run again after it lost a worker. Default: 5.
    pub retries: usize,
    /// `local-process`: the program that is run as worker. Default: this one.
    pub program: Option<PathBuf>,
    /// `local-process`: more settings of the workers, as the environment has them. Not read from settings.
    #[serde(skip)]
    pub environment: Vec<(String, String)>,
    /// `kubernetes`: whose pods are the workers, and how the API server is called.
    pub kubernetes: KubernetesSettings,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            provisioner: ProvisionerKind::None,
            urls: Vec::new(),
            min: 0,
            max: 4,
            idle_timeout: Duration::from_secs(60),
            start_timeout: Duration::from_secs(30),
            secret: Secret::default(),
            execution: Execution::Auto,
            small_query_bytes: ByteSize::mib(256),
            bytes_per_worker: ByteSize::mib(256),
            retry_buffer_bytes: ByteSize::mib(64),
            retries: 5,
            program: None,
            environment: Vec::new(),
            kubernetes: KubernetesSettings::default(),
        }
    }
}

/// A setting that cannot work, and why.
type Wrong = (&'static str, String);

impl WorkerSettings {
    /// # Errors
    /// `Settings`, for values with which no query could run on workers.
    pub(super) fn check(&self) -> Result<()> {
        let checked = match self.provisioner {
            ProvisionerKind::None => Ok(()),
            ProvisionerKind::Static => self.check_urls(),
            ProvisionerKind::LocalProcess => self.check_numbers(),
            ProvisionerKind::Kubernetes if self.kubernetes.port == 0 => {
                Err(("workers.kubernetes.port", "is 0, which is no port".to_owned()))
            }
            ProvisionerKind::Kubernetes => self.check_numbers(),
        };
        let checked = checked.and_then(|()| match self.provisioner {
            ProvisionerKind::None => Ok(()),
            _ if self.start_timeout.is_zero() => {
                Err(("workers.start_timeout", "is 0, so that no worker could be ready in time".to_owned()))
            }
            _ => Ok(()),
        });
        checked.map_err(|(setting, message)| Error::Settings { setting: setting.to_owned(), message })
    }

    fn check_urls(&self) -> Result<(), Wrong> {
        let wrong = |message: String| Err(("workers.urls", message));
        if self.urls.is_empty() {
            return wrong("names no worker; write urls = [\"http://host:50061\"]".to_owned());
        }
        if let Some(url) = self.urls.iter().find(|url| url.scheme() != "http") {
            return wrong(format!("workers are called by http, not {}", url.scheme()));
        }
        if !self.urls.iter().all(is_bare) {
            return wrong("takes addresses such as http://host:50061, without user, password or path".to_owned());
        }
        let again = self.urls.iter().enumerate().find(|(at, url)| self.urls[..*at].contains(url));
        again.map_or(Ok(()), |(_, url)| wrong(format!("names {url} more than once")))
    }

    fn check_numbers(&self) -> Result<(), Wrong> {
        if self.max == 0 {
            let message =
                "is 0, so that no query could run on a worker; to have none, set workers.provisioner = \"none\"";
            return Err(("workers.max", message.to_owned()));
        }
        if self.min > self.max {
            return Err(("workers.min", format!("is {}, more than workers.max, which is {}", self.min, self.max)));
        }
        if self.idle_timeout.is_zero() {
            let message = format!(
                "is 0, so that workers would be stopped between any two queries; to keep them for ever, set \
                 workers.min = {}",
                self.max
            );
            return Err(("workers.idle_timeout", message));
        }
        Ok(())
    }
}

/// Whether an address is no more than a host and a port: more would be shown, or pass unseen.
fn is_bare(url: &Url) -> bool {
    url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.port() != Some(0)
}

/// Which pods are workers, and how the API server of Kubernetes is called (docs/kubernetes.md).
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesSettings {
    /// The namespace of the workload. Default: that of this process's own pod.
    pub namespace: Option<String>,
    /// What the workload is. Default: statefulset.
    pub kind: WorkloadKind,
    /// The workload's name. Required.
    pub name: String,
    /// The port on which its pods listen. Default: 50061.
    pub port: u16,
    /// Where the API server is. Default: where the environment of a pod says.
    #[serde(deserialize_with = "crate::urls::optional")]
    pub api_url: Option<Url>,
    /// The file with the token that is sent with each call. Default: that of the pod's service account.
    pub token_file: PathBuf,
    /// The certificates, in PEM, of which one must have signed the API server's; without the file, the well-known ones.
    /// Default: that of the pod's service account.
    pub ca_file: PathBuf,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            namespace: None,
            kind: WorkloadKind::default(),
            name: String::new(),
            port: 50061,
            api_url: None,
            token_file: Path::new(SERVICE_ACCOUNT).join("token"),
            ca_file: Path::new(SERVICE_ACCOUNT).join("ca.crt"),
        }
    }
}

/// The kinds of workload whose replicas can be workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// Its pods keep their names, and so the pieces of files that they have read before.
    #[default]
    StatefulSet,
    /// Each new pod has a new name.
    Deployment,
}

/// Who starts workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProvisionerKind {
    /// Nobody.
    #[default]
    None,
    /// Somebody else: they are where the settings say.
    Static,
    /// The coordinator, as processes on its own machine.
    LocalProcess,
    /// Kubernetes, as pods of a workload whose replicas the coordinator sets.
    Kubernetes,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(settings: &WorkerSettings) -> Option<String> {
        settings.check().err().map(|error| error.to_string())
    }

    #[test]
    fn settings_with_which_no_worker_could_run_are_refused_by_name() {
        let urls = |url: &str| vec![Url::parse(url).unwrap()];
        let fixed = |urls| WorkerSettings { provisioner: ProvisionerKind::Static, urls, ..WorkerSettings::default() };
        let local = |min, max| WorkerSettings {
            provisioner: ProvisionerKind::LocalProcess,
            min,
            max,
            ..WorkerSettings::default()
        };
        let wrong = [
            (fixed(Vec::new()), "workers.urls"),
            (fixed(urls("ftp://worker:50061")), "workers.urls"),
            (fixed(urls("http://user:secret@worker:50061")), "workers.urls"),
            (fixed(urls("http://worker:50061/path")), "workers.urls"),
            (fixed(urls("http://worker:50061#secret")), "workers.urls"),
            (fixed(urls("http://worker:0")), "workers.urls"),
            (
                fixed([urls("http://worker:50061"), urls("http://other:1"), urls("http://WORKER:50061/")].concat()),
                "workers.urls",
            ),
            (
                WorkerSettings { start_timeout: Duration::ZERO, ..fixed(urls("http://worker:50061")) },
                "workers.start_timeout",
            ),
            (WorkerSettings { start_timeout: Duration::ZERO, ..local(0, 1) }, "workers.start_timeout"),
            (WorkerSettings { idle_timeout: Duration::ZERO, ..local(0, 1) }, "workers.idle_timeout"),
            (
                WorkerSettings {
                    provisioner: ProvisionerKind::Kubernetes,
                    kubernetes: KubernetesSettings { port: 0, ..KubernetesSettings::default() },
                    ..WorkerSettings::default()
                },
                "workers.kubernetes.port",
            ),
            (local(0, 0), "workers.max"),
            (local(3, 2), "workers.min"),
        ];
        for (settings, name) in wrong {
            let refusal = refusal(&settings).unwrap_or_else(|| panic!("{name} was accepted"));
            assert!(refusal.contains(name) && !refusal.contains("secret"), "{refusal}");
        }
        let two = [urls("http://worker:50061"), urls("http://worker:50062")].concat();
        for right in [fixed(urls("http://worker:50061")), fixed(two), local(2, 2), WorkerSettings::default()] {
            assert_eq!(refusal(&right), None);
        }
    }
}
