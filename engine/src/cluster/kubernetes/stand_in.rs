//! A stand-in for the API server, with one StatefulSet whose pods take a moment to become ready.
//!
//! It checks what the real one does: token, media type, version of what is changed, selector. It leaves out zeros.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use url::Url;

pub(super) const SCALE: &str = "/apis/apps/v1/namespaces/analytics/statefulsets/workers/scale";
pub(super) const PODS: &str = "/api/v1/namespaces/analytics/pods";
const SELECTOR: &str = "app=polynya-worker";

/// What a pod is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Ready when its time has come.
    Well,
    /// Runs, and is never ready.
    Unready,
    /// Is ready still, and asked to end.
    Ending,
    /// No node has room for it.
    Pending,
}

#[derive(Debug)]
pub(super) struct StandInPod {
    ip: u8,
    born: Instant,
}

/// What the API server knows, and how it behaves.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) replicas: usize,
    pub(super) token: String,
    /// How long a pod takes to become ready.
    pub(super) start_time: Duration,
    /// Pods that are not well, by their number.
    pub(super) conditions: BTreeMap<usize, Condition>,
    /// A call that is refused, by method and path, and with which status.
    pub(super) refused: Option<(Method, &'static str, u16)>,
    /// What somebody else sets the replicas to right before the next change.
    pub(super) rival: Option<usize>,
    /// All calls so far: method and path.
    pub(super) calls: Vec<(Method, String)>,
    pub(super) pods: BTreeMap<usize, StandInPod>,
    pub(super) version: u64,
    /// Addresses that were given away.
    pub(super) ips: u8,
}

impl Cluster {
    pub(super) fn new(replicas: usize) -> Self {
        Self {
            replicas,
            token: "first-token".to_owned(),
            start_time: Duration::ZERO,
            conditions: BTreeMap::new(),
            refused: None,
            rival: None,
            calls: Vec::new(),
            pods: BTreeMap::new(),
            version: 1,
            ips: 0,
        }
    }

    /// A node fails, or somebody deletes the pod: another one takes its name.
    pub(super) fn delete_pod(&mut self, number: usize) {
        self.pods.remove(&number);
    }

    pub(super) fn count(&self, method: &Method, path: &str) -> usize {
        self.calls.iter().filter(|(called, at)| called == method && at == path).count()
    }

    fn set_replicas(&mut self, replicas: usize) {
        self.replicas = replicas;
        self.version += 1;
    }

    /// What the controllers do all the time.
    fn reconcile(&mut self) {
        let replicas = self.replicas;
        self.pods.retain(|number, _| *number < replicas);
        for number in 0..replicas {
            if !self.pods.contains_key(&number) {
                self.ips += 1;
                self.pods.insert(number, StandInPod { ip: self.ips, born: Instant::now() });
            }
        }
    }

    fn answer(&mut self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> (StatusCode, Value) {
        self.calls.push((method.clone(), uri.path().to_owned()));
        self.reconcile();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if header("authorization") != format!("Bearer {}", self.token) {
            return refusal(401, "Unauthorized");
        }
        if let Some((refused, path, status)) = &self.refused
            && refused == method
            && *path == uri.path()
        {
            return refusal(*status, "User \"system:serviceaccount:analytics:polynya\" cannot do that");
        }
        match (method.as_str(), uri.path()) {
            ("GET", SCALE) => (StatusCode::OK, self.scale()),
            ("PATCH", SCALE) => self.patch(header("content-type"), body),
            ("GET", PODS) if selector(uri).as_deref() == Some(SELECTOR) => (StatusCode::OK, self.list()),
            _ => refusal(404, "statefulsets.apps not found"),
        }
    }

    fn scale(&self) -> Value {
        let spec = if self.replicas == 0 { json!({}) } else { json!({ "replicas": self.replicas }) };
        json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": { "name": "workers", "namespace": "analytics", "resourceVersion": self.version.to_string() },
            "spec": spec,
            "status": { "replicas": self.pods.len(), "selector": SELECTOR },
        })
    }

    fn patch(&mut self, content_type: &str, body: &[u8]) -> (StatusCode, Value) {
        if content_type != "application/merge-patch+json" {
            return refusal(415, "the body of the request was in an unknown format");
        }
        if let Some(replicas) = self.rival.take() {
            self.set_replicas(replicas);
        }
        let patch: Value = serde_json::from_slice(body).unwrap_or_default();
        if patch["metadata"]["resourceVersion"] != json!(self.version.to_string()) {
            return refusal(409, "the object has been modified");
        }
        let Some(replicas) = patch["spec"]["replicas"].as_u64() else { return refusal(422, "no replicas") };
        self.set_replicas(replicas as usize);
        (StatusCode::OK, self.scale())
    }

    fn list(&self) -> Value {
        let items: Vec<Value> = self.pods.iter().map(|(number, pod)| self.pod(*number, pod)).collect();
        json!({ "kind": "PodList", "apiVersion": "v1", "items": items })
    }

    fn pod(&self, number: usize, pod: &StandInPod) -> Value {
        let condition = self.conditions.get(&number).copied().unwrap_or(Condition::Well);
        let name = format!("workers-{number}");
        if condition == Condition::Pending {
            return json!({ "metadata": { "name": name }, "status": { "phase": "Pending" } });
        }
        let ready = condition != Condition::Unready && pod.born.elapsed() >= self.start_time;
        let ready = if ready { "True" } else { "False" };
        let mut metadata = json!({ "name": name });
        if condition == Condition::Ending {
            metadata["deletionTimestamp"] = json!("2025-01-01T00:00:00Z");
        }
        let conditions = json!([{ "type": "Initialized", "status": "True" }, { "type": "Ready", "status": ready }]);
        let status = json!({ "phase": "Running", "podIP": format!("10.0.0.{}", pod.ip), "conditions": conditions });
        json!({ "metadata": metadata, "status": status })
    }
}

fn refusal(status: u16, message: &str) -> (StatusCode, Value) {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status });
    (StatusCode::from_u16(status).unwrap_or_default(), body)
}

fn selector(uri: &Uri) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == "labelSelector").map(|(_, value)| value.into_owned())
}

type Shared = Arc<Mutex<Cluster>>;

async fn answer(
    State(cluster): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(HeaderName, &'static str); 1], String) {
    let (status, body) = cluster.lock().answer(&method, &uri, &headers, &body);
    (status, [(CONTENT_TYPE, "application/json")], body.to_string())
}

/// The server on its port; gone when dropped.
pub(super) struct ApiServer {
    pub(super) address: SocketAddr,
    pub(super) cluster: Shared,
    task: JoinHandle<()>,
}

impl ApiServer {
    pub(super) async fn start(cluster: Cluster) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), cluster).await
    }

    pub(super) async fn start_at(address: SocketAddr, cluster: Cluster) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let cluster = Arc::new(Mutex::new(cluster));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&cluster));
        let serving = Server::builder()
            .accept_http1(true)
            .add_routes(Routes::from(router))
            .serve_with_incoming(TcpIncoming::from(listener));
        let task = tokio::spawn(async move { drop(serving.await) });
        Self { address, cluster, task }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Where an API server at this address is found.
pub(super) fn url_of(address: SocketAddr) -> Url {
    Url::parse(&format!("http://{address}")).unwrap()
}
