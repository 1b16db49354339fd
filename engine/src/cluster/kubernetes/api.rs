//! The calls to the API server: a workload's scale is read and changed, its pods are listed.
//!
//! Each call is sent once, with a deadline, and with the token that its file holds then, since Kubernetes renews it. A
//! failure says what to do about it, and whether the same call may succeed in a moment. No message holds the token.

use std::error::Error as StdError;
use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Url;

use super::super::settings::{KubernetesSettings, SERVICE_ACCOUNT, WorkloadKind};
use super::wire::{Pod, PodList, Scale, Status};
use crate::{Error, Result};

/// How long a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    /// Whether the same call may succeed in a moment.
    pub(super) may_pass: bool,
}

/// What is scaled.
#[derive(Debug)]
pub(super) struct Workload {
    kind: WorkloadKind,
    namespace: String,
    name: String,
}

impl Display for Workload {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::Deployment => "Deployment",
        };
        write!(f, "{kind} {}/{}", self.namespace, self.name)
    }
}

/// What is asked of the API server; the service account needs the right to each.
#[derive(Debug, Clone, Copy)]
enum Call {
    GetScale,
    PatchScale,
    ListPods,
}

impl Call {
    /// As a Role names it.
    fn verb(self) -> &'static str {
        match self {
            Self::GetScale => "get",
            Self::PatchScale => "patch",
            Self::ListPods => "list",
        }
    }
}

/// The API server, as far as one workload is concerned.
#[derive(Debug)]
pub(super) struct Api {
    http: Client,
    workload: Workload,
    scale: Url,
    pods: Url,
    token_file: PathBuf,
}

impl Api {
    /// # Errors
    /// `Settings`, where they name no workload, or nothing says where the API server is.
    pub(super) fn new(settings: &KubernetesSettings) -> Result<Self> {
        if settings.name.is_empty() {
            return Err(wrong("name", "names no workload; write name = \"polynya-worker\""));
        }
        let base = settings.api_url.clone().or_else(|| {
            let variable = |name: &str| std::env::var(name).ok();
            in_cluster(variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"))
        });
        let base = base.ok_or_else(|| {
            wrong(
                "api_url",
                "is not set, and KUBERNETES_SERVICE_HOST and _PORT name no server: this process is in no pod",
            )
        })?;
        let workload = Workload { kind: settings.kind, namespace: namespace(settings)?, name: settings.name.clone() };
        let (namespace, name) = (workload.namespace.as_str(), workload.name.as_str());
        Ok(Self {
            http: client(&settings.ca_file)?,
            scale: below(
                &base,
                &["apis", "apps", "v1", "namespaces", namespace, plural(settings.kind), name, "scale"],
            )?,
            pods: below(&base, &["api", "v1", "namespaces", namespace, "pods"])?,
            workload,
            token_file: settings.token_file.clone(),
        })
    }

    pub(super) fn workload(&self) -> &Workload {
        &self.workload
    }

    /// How many replicas there should be, and how their pods are found.
    pub(super) async fn scale(&self) -> Result<Scale, Failed> {
        let scale: Scale = self.send(Call::GetScale, self.http.get(self.scale.clone())).await?;
        // Without one, all pods of the namespace would be listed.
        if scale.status.selector.is_empty() {
            return Err(self.failed("its scale has no selector for its pods".to_owned(), false));
        }
        Ok(scale)
    }

    /// Sets the replicas. A conflict, which may pass, if the workload was changed since its scale was read.
    pub(super) async fn set_replicas(&self, scale: &Scale, replicas: usize) -> Result<(), Failed> {
        let version = &scale.metadata.resource_version;
        let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "replicas": replicas } });
        let request = self.http.patch(self.scale.clone());
        let request = request.header(CONTENT_TYPE, "application/merge-patch+json").body(patch.to_string());
        self.send::<Scale>(Call::PatchScale, request).await.map(drop)
    }

    /// The pods that a selector finds.
    pub(super) async fn pods(&self, selector: &str) -> Result<Vec<Pod>, Failed> {
        let request = self.http.get(self.pods.clone()).query(&[("labelSelector", selector)]);
        let list: PodList = self.send(Call::ListPods, request).await?;
        Ok(list.items.unwrap_or_default())
    }

    async fn send<T: DeserializeOwned>(&self, call: Call, request: RequestBuilder) -> Result<T, Failed> {
        let token = tokio::fs::read_to_string(&self.token_file).await.map_err(|error| {
            let file = self.token_file.display();
            let message =
                format!("the token cannot be read from {file} (setting workers.kubernetes.token_file): {error}");
            self.failed(message, false)
        })?;
        let sent = request.bearer_auth(token.trim()).send().await;
        let response = sent.map_err(|error| self.no_answer(call, error))?;
        let status = response.status();
        let body = response.bytes().await;
        if !status.is_success() {
            // The status of a refusal says enough without its body.
            return Err(self.refused(call, status, &body.unwrap_or_default()));
        }
        let body = body.map_err(|error| self.no_answer(call, error))?;
        serde_json::from_slice(&body).map_err(|error| {
            let right = self.right(call);
            self.failed(format!("the API server's answer ({right}) is not understood: {error}"), false)
        })
    }

    /// What a call needs, as verb and resource of a Role.
    fn right(&self, call: Call) -> String {
        let resource = match call {
            Call::GetScale | Call::PatchScale => format!("{}/scale", plural(self.workload.kind)),
            Call::ListPods => "pods".to_owned(),
        };
        format!("{} {resource}", call.verb())
    }

    /// No answer, or none that could be read to its end.
    fn no_answer(&self, call: Call, error: reqwest::Error) -> Failed {
        let may_pass = !error.is_builder();
        let (right, reason) = (self.right(call), reason(&error.without_url()));
        let settings = "settings workers.kubernetes.api_url and ca_file";
        self.failed(format!("the API server does not answer ({right}; {settings}): {reason}"), may_pass)
    }

    /// An answer that is not a success.
    fn refused(&self, call: Call, status: StatusCode, body: &[u8]) -> Failed {
        let Status { message } = serde_json::from_slice(body).unwrap_or_default();
        let message = if message.is_empty() { status.canonical_reason().unwrap_or("no message") } else { &message };
        let answer = format!("HTTP {}: {message}", status.as_u16());
        let (right, namespace) = (self.right(call), &self.workload.namespace);
        match status.as_u16() {
            401 => {
                let file = self.token_file.display();
                let message = format!(
                    "the API server does not accept the token in {file} ({answer}). It must be that of a service \
                     account that may {right} in namespace {namespace}: docs/kubernetes.md"
                );
                self.failed(message, false)
            }
            403 => {
                let message = format!(
                    "the service account lacks the right to {right} in namespace {namespace} ({answer}). Give it a \
                     Role with that verb on that resource: docs/kubernetes.md"
                );
                self.failed(message, false)
            }
            404 => {
                let message = format!(
                    "it does not exist ({answer}). Create it, or correct the settings workers.kubernetes.name, kind \
                     and namespace"
                );
                self.failed(message, false)
            }
            409 => self.failed(format!("it was changed by somebody else at the same time ({answer})"), true),
            408 | 429 | 500..=599 => self.failed(format!("the API server could not {right} ({answer})"), true),
            _ => self.failed(format!("the API server refused to {right} ({answer})"), false),
        }
    }

    fn failed(&self, message: String, may_pass: bool) -> Failed {
        Failed { error: Error::NoWorkers(format!("{}: {message}", self.workload)), may_pass }
    }
}

fn wrong(key: &str, message: impl Into<String>) -> Error {
    Error::Settings { setting: format!("workers.kubernetes.{key}"), message: message.into() }
}

/// The kind's name in addresses and Roles.
fn plural(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::StatefulSet => "statefulsets",
        WorkloadKind::Deployment => "deployments",
    }
}

/// Where the environment of a pod says that the API server is.
fn in_cluster(host: Option<String>, port: Option<String>) -> Option<Url> {
    let (host, port) = (host?, port?);
    let host = if host.parse::<Ipv6Addr>().is_ok() { format!("[{host}]") } else { host };
    Url::parse(&format!("https://{host}:{port}/")).ok()
}

fn namespace(settings: &KubernetesSettings) -> Result<String> {
    if let Some(namespace) = settings.namespace.as_ref().filter(|namespace| !namespace.is_empty()) {
        return Ok(namespace.clone());
    }
    let file = Path::new(SERVICE_ACCOUNT).join("namespace");
    let read = std::fs::read_to_string(&file).map_err(|error| {
        wrong("namespace", format!("is not set, and cannot be read from {}: {error}", file.display()))
    })?;
    Ok(read.trim().to_owned())
}

/// An address below another one.
fn below(base: &Url, path: &[&str]) -> Result<Url> {
    let has_user = !base.username().is_empty() || base.password().is_some();
    if !matches!(base.scheme(), "http" | "https") || has_user {
        return Err(wrong("api_url", "is no address of an API server; write api_url = \"https://host:port\""));
    }
    let mut url = base.clone();
    url.path_segments_mut().map_err(|()| wrong("api_url", "cannot have a path"))?.pop_if_empty().extend(path);
    Ok(url)
}

/// HTTP/1.1, so that a call that was given up takes its connection with it. A proxy of the environment is not used.
fn client(ca_file: &Path) -> Result<Client> {
    let mut builder = Client::builder()
        .user_agent(concat!("polynya/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only();
    if ca_file.exists() {
        let failed =
            |error: &(dyn StdError + 'static)| wrong("ca_file", format!("{}: {}", ca_file.display(), reason(error)));
        let pem = std::fs::read(ca_file).map_err(|error| failed(&error))?;
        let roots = Certificate::from_pem_bundle(&pem).map_err(|error| failed(&error))?;
        if roots.is_empty() {
            return Err(wrong("ca_file", format!("{} holds no certificate", ca_file.display())));
        }
        builder = roots.into_iter().fold(builder.tls_built_in_root_certs(false), ClientBuilder::add_root_certificate);
    }
    builder.build().map_err(|error| Error::Internal(format!("no HTTP client: {}", reason(&error))))
}

/// An error with what lies below it.
fn reason(error: &(dyn StdError + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error: &&(dyn StdError + 'static)| (*error).source());
    chain.map(|error| error.to_string()).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_a_pod_names_the_api_server() {
        let url =
            |host: &str, port: &str| in_cluster(Some(host.to_owned()), Some(port.to_owned())).unwrap().to_string();
        assert_eq!(url("10.96.0.1", "443"), "https://10.96.0.1/");
        assert_eq!(url("10.96.0.1", "6443"), "https://10.96.0.1:6443/");
        assert_eq!(url("fd00::1", "6443"), "https://[fd00::1]:6443/");
        assert_eq!(in_cluster(Some("10.96.0.1".to_owned()), None), None);
        assert_eq!(in_cluster(None, None), None);
    }

    #[test]
    fn addresses_lie_below_the_api_servers_own() {
        let at = |base: &str| {
            let settings = KubernetesSettings {
                namespace: Some("analytics".to_owned()),
                kind: WorkloadKind::Deployment,
                name: "w".to_owned(),
                api_url: Some(Url::parse(base).unwrap()),
                ca_file: PathBuf::from("does/not/exist"),
                ..KubernetesSettings::default()
            };
            Api::new(&settings).map(|api| (api.scale.to_string(), api.pods.to_string(), api.workload.to_string()))
        };
        let (scale, pods, workload) = at("https://10.0.0.1:6443").unwrap();
        assert_eq!(scale, "https://10.0.0.1:6443/apis/apps/v1/namespaces/analytics/deployments/w/scale");
        assert_eq!(pods, "https://10.0.0.1:6443/api/v1/namespaces/analytics/pods");
        assert_eq!(workload, "Deployment analytics/w");
        let (scale, ..) = at("https://proxy/k8s/clusters/c-1/").unwrap();
        assert!(scale.starts_with("https://proxy/k8s/clusters/c-1/apis/apps/v1/"), "{scale}");
        for wrong in ["ftp://10.0.0.1", "https://user:hunter2@10.0.0.1", "mailto:user"] {
            let error = at(wrong).unwrap_err().to_string();
            assert!(error.contains("workers.kubernetes.api_url") && !error.contains("hunter2"), "{error}");
        }
    }
}
