//! The provisioner against a stand-in for the API server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use axum::http::Method;
use tempfile::TempDir;
use tokio::time::timeout;

use super::stand_in::{ApiServer, Cluster, Condition, PODS, SCALE, url_of};
use super::*;
use crate::cluster::{KubernetesSettings, ProvisionerKind, WorkloadKind};
use crate::{Error, Settings};

/// How long a pod takes where that matters.
const START_TIME: Duration = Duration::from_millis(500);

/// Settings and a file with the token; the file is there as long as this is.
struct Setup {
    settings: WorkerSettings,
    folder: TempDir,
}

impl Setup {
    fn new(api: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubernetes = KubernetesSettings {
            namespace: Some("analytics".to_owned()),
            name: "workers".to_owned(),
            api_url: Some(url_of(api)),
            token_file: folder.path().join("token"),
            ca_file: folder.path().join("ca.crt"),
            ..KubernetesSettings::default()
        };
        let setup = Self { settings: WorkerSettings { max: 4, kubernetes, ..WorkerSettings::default() }, folder };
        setup.write("token", "first-token\n");
        setup
    }

    fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(file);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn provisioner(&self) -> Kubernetes {
        Kubernetes::new(&self.settings).unwrap()
    }
}

fn names(workers: &[Worker]) -> Vec<&str> {
    workers.iter().map(|worker| &*worker.id).collect()
}

fn hosts(workers: &[Worker]) -> Vec<&str> {
    workers.iter().map(|worker| worker.url.host_str().unwrap()).collect()
}

#[tokio::test]
async fn pods_are_started_from_none_and_waited_for() {
    let api = ApiServer::start(Cluster { start_time: START_TIME, ..Cluster::new(0) }).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    assert!(workers.running().await.is_empty());
    let began = Instant::now();
    let started = workers.workers(3).await.unwrap();
    assert!(began.elapsed() >= START_TIME, "{:?}", began.elapsed());
    assert_eq!(names(&started), ["workers-0", "workers-1", "workers-2"]);
    assert_eq!(started[2].url.as_str(), "http://10.0.0.3:50061/");
    assert_eq!(workers.running().await, started);
    let cluster = api.cluster.lock();
    assert_eq!((cluster.replicas, cluster.count(&Method::PATCH, SCALE)), (3, 1));
}

#[tokio::test]
async fn replicas_stay_within_their_bounds_and_are_not_lowered_for_a_query() {
    let api = ApiServer::start(Cluster::new(0)).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    assert_eq!(workers.workers(usize::MAX).await.unwrap().len(), 4);
    // Others may use them: a smaller query gets all of them, too.
    assert_eq!(workers.workers(1).await.unwrap().len(), 4);
    let cluster = api.cluster.lock();
    assert_eq!((cluster.replicas, cluster.count(&Method::PATCH, SCALE)), (4, 1));
}

#[tokio::test]
async fn queries_at_the_same_time_get_what_the_largest_wants() {
    let api = ApiServer::start(Cluster { start_time: START_TIME, ..Cluster::new(0) }).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    let (large, small) = tokio::join!(workers.workers(4), workers.workers(2));
    assert_eq!(large.unwrap().len(), 4);
    assert!(small.unwrap().len() >= 2);
    assert_eq!(api.cluster.lock().replicas, 4);
}

#[tokio::test]
async fn idle_replicas_are_lowered_to_the_minimum_and_then_left_alone() {
    let api = ApiServer::start(Cluster::new(3)).await;
    let mut setup = Setup::new(api.address);
    setup.settings.min = 1;
    let workers = setup.provisioner();
    workers.idle().await;
    assert_eq!(names(&workers.running().await), ["workers-0"]);
    let calls = || api.cluster.lock().calls.len();
    let before = calls();
    workers.idle().await;
    assert_eq!(calls(), before, "nothing has run since: nothing is asked");
    assert_eq!(workers.workers(2).await.unwrap().len(), 2);
    workers.idle().await;
    assert_eq!(api.cluster.lock().replicas, 1);
}

#[tokio::test]
async fn a_pod_that_is_replaced_keeps_its_name_and_is_found_at_its_new_address() {
    let api = ApiServer::start(Cluster { start_time: START_TIME, ..Cluster::new(2) }).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    let before = workers.workers(2).await.unwrap();
    assert_eq!(hosts(&before), ["10.0.0.1", "10.0.0.2"]);
    api.cluster.lock().delete_pod(0);
    assert_eq!(names(&workers.running().await), ["workers-1"], "the other pod is not ready yet");
    let after = workers.workers(2).await.unwrap();
    assert_eq!(names(&after), names(&before));
    assert_eq!(hosts(&after), ["10.0.0.3", "10.0.0.2"]);
    assert_eq!(workers.running().await, after);
}

#[tokio::test]
async fn a_lost_worker_is_left_alone_until_its_pod_is_replaced() {
    let api = ApiServer::start(Cluster::new(2)).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    let before = workers.workers(2).await.unwrap();
    workers.lost(&before[0].url, Loss::Silent);
    assert_eq!(workers.workers(2).await.unwrap(), before[1..]);
    workers.lost(&before[1].url, Loss::Silent);
    let nobody = timeout(Duration::from_millis(600), workers.workers(2)).await;
    assert!(nobody.is_err(), "a query waits rather than run on workers that it has just lost");
    api.cluster.lock().delete_pod(1);
    assert_eq!(hosts(&workers.workers(2).await.unwrap()), ["10.0.0.3"]);
}

#[tokio::test]
async fn pods_that_are_not_ready_or_about_to_end_are_not_used() {
    let conditions = BTreeMap::from([
        (0, Condition::Unready),
        (1, Condition::Ending),
        (2, Condition::Pending),
        (3, Condition::Well),
    ]);
    let api = ApiServer::start(Cluster { conditions, ..Cluster::new(4) }).await;
    let mut setup = Setup::new(api.address);
    setup.settings.start_timeout = Duration::from_millis(600);
    let workers = setup.provisioner();
    assert_eq!(names(&workers.running().await), ["workers-3"]);
    assert_eq!(names(&workers.workers(4).await.unwrap()), ["workers-3"]);
}

#[tokio::test]
async fn a_query_runs_on_fewer_workers_when_its_patience_ends() {
    let conditions = BTreeMap::from([(1, Condition::Pending), (2, Condition::Pending)]);
    let api = ApiServer::start(Cluster { conditions, ..Cluster::new(0) }).await;
    let mut setup = Setup::new(api.address);
    setup.settings.start_timeout = Duration::from_secs(2);
    let workers = setup.provisioner();
    let began = Instant::now();
    assert_eq!(names(&workers.workers(3).await.unwrap()), ["workers-0"]);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(api.cluster.lock().replicas, 3, "they may come for the next query");
}

#[tokio::test]
async fn without_any_ready_pod_the_caller_decides_how_long_to_wait() {
    let conditions = BTreeMap::from([(0, Condition::Pending)]);
    let api = ApiServer::start(Cluster { conditions, ..Cluster::new(0) }).await;
    let mut setup = Setup::new(api.address);
    setup.settings.start_timeout = Duration::from_millis(400);
    let workers = setup.provisioner();
    assert!(timeout(Duration::from_secs(1), workers.workers(1)).await.is_err());
    api.cluster.lock().conditions.clear();
    assert_eq!(workers.workers(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_change_by_somebody_else_is_seen_before_ours_is_made() {
    let api = ApiServer::start(Cluster { rival: Some(3), ..Cluster::new(0) }).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    assert_eq!(workers.workers(2).await.unwrap().len(), 3);
    api.cluster.lock().rival = Some(1);
    assert_eq!(workers.workers(4).await.unwrap().len(), 4);
    let cluster = api.cluster.lock();
    // The first change was refused and not needed any more; the second was refused and made again.
    assert_eq!((cluster.replicas, cluster.count(&Method::PATCH, SCALE)), (4, 3));
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let api = ApiServer::start(Cluster::new(0)).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    let cases = [
        (Method::GET, SCALE, "get statefulsets/scale"),
        (Method::PATCH, SCALE, "patch statefulsets/scale"),
        (Method::GET, PODS, "list pods"),
    ];
    for (method, path, right) in cases {
        api.cluster.lock().refused = Some((method, path, 403));
        let error = workers.workers(1).await.unwrap_err();
        assert!(matches!(error, Error::NoWorkers(_)), "{error:?}");
        let error = error.to_string();
        for part in
            ["StatefulSet analytics/workers", right, "namespace analytics", "403", "docs/kubernetes.md", "polynya\""]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("first-token"), "{error}");
    }
    assert!(workers.running().await.is_empty());
}

#[tokio::test]
async fn a_workload_that_does_not_exist_is_an_error_that_names_its_settings() {
    let api = ApiServer::start(Cluster::new(0)).await;
    let mut setup = Setup::new(api.address);
    setup.settings.kubernetes.name = "wrokers".to_owned();
    let workers = setup.provisioner();
    let error = workers.workers(1).await.unwrap_err().to_string();
    for part in ["StatefulSet analytics/wrokers", "does not exist", "workers.kubernetes.name"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(workers.running().await.is_empty());
    assert_eq!(api.cluster.lock().calls.len(), 2, "it is not tried again");
}

#[tokio::test]
async fn an_api_server_that_comes_back_is_found_again() {
    // A port that nobody listens on.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = Setup::new(address);
    let mut workers = setup.provisioner();
    assert!(workers.running().await.is_empty());

    workers.retry_timeout = Duration::from_millis(500);
    let began = Instant::now();
    let error = workers.workers(1).await.unwrap_err().to_string();
    assert!(began.elapsed() >= Duration::from_millis(500), "it is tried again for a while");
    for part in ["StatefulSet analytics/workers", "does not answer", "workers.kubernetes.api_url", "refused"] {
        assert!(error.contains(part), "{part}: {error}");
    }

    workers.retry_timeout = RETRY_TIMEOUT;
    let later = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        ApiServer::start_at(address, Cluster::new(0)).await
    };
    let (started, api) = tokio::join!(workers.workers(2), later);
    assert_eq!(started.unwrap().len(), 2);
    assert_eq!(api.cluster.lock().replicas, 2);
}

#[tokio::test]
async fn an_overloaded_api_server_is_asked_again() {
    let api = ApiServer::start(Cluster { refused: Some((Method::GET, PODS, 503)), ..Cluster::new(1) }).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    let later = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        api.cluster.lock().refused = None;
    };
    let (found, ()) = tokio::join!(workers.workers(1), later);
    assert_eq!(found.unwrap().len(), 1);
    assert!(api.cluster.lock().count(&Method::GET, PODS) >= 2);
}

#[tokio::test]
async fn each_call_reads_the_token_anew() {
    let api = ApiServer::start(Cluster::new(1)).await;
    let setup = Setup::new(api.address);
    let workers = setup.provisioner();
    assert_eq!(workers.workers(1).await.unwrap().len(), 1);

    api.cluster.lock().token = "second-token".to_owned();
    let error = workers.workers(1).await.unwrap_err().to_string();
    for part in ["401", "does not accept the token", "get statefulsets/scale", "docs/kubernetes.md"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("first-token"), "{error}");

    let file = setup.write("token", "second-token");
    assert_eq!(workers.workers(1).await.unwrap().len(), 1);

    std::fs::remove_file(file).unwrap();
    let error = workers.workers(1).await.unwrap_err().to_string();
    assert!(error.contains("workers.kubernetes.token_file"), "{error}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_the_start() {
    let setup = Setup::new(SocketAddr::from(([127, 0, 0, 1], 1)));
    let refused = |change: fn(&mut WorkerSettings)| {
        let mut workers = WorkerSettings { provisioner: ProvisionerKind::Kubernetes, ..setup.settings.clone() };
        workers.secret = serde_json::from_str("\"0123456789abcdef\"").unwrap();
        change(&mut workers);
        let settings = Settings { workers, ..Settings::default() };
        crate::cluster::Cluster::new(&settings).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(|_| {}), "");
    assert!(refused(|workers| workers.secret = Default::default()).contains("workers.secret"));
    assert!(refused(|workers| workers.kubernetes.name.clear()).contains("workers.kubernetes.name"));
    setup.write("ca.crt", "no certificate");
    assert!(refused(|_| {}).contains("workers.kubernetes.ca_file"));
}

#[test]
fn settings_have_defaults_and_unknown_keys_are_errors() {
    let read = |json: &str| serde_json::from_str::<WorkerSettings>(json);
    let settings = read(r#"{"provisioner": "kubernetes", "kubernetes": {"name": "w", "kind": "deployment"}}"#).unwrap();
    assert_eq!(settings.provisioner, ProvisionerKind::Kubernetes);
    let KubernetesSettings { namespace, kind, name, port, api_url, token_file, ca_file } = settings.kubernetes;
    assert_eq!((namespace, kind, name.as_str(), port, api_url), (None, WorkloadKind::Deployment, "w", 50061, None));
    let folder = std::path::Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!((token_file, ca_file), (folder.join("token"), folder.join("ca.crt")));
    assert_eq!(read("{}").unwrap().kubernetes.kind, WorkloadKind::StatefulSet);
    assert_eq!(read(r#"{"kubernetes": {"kind": "statefulset"}}"#).unwrap().kubernetes.kind, WorkloadKind::StatefulSet);
    assert!(read(r#"{"kubernetes": {"replicas": 3}}"#).is_err());
}
