//! Spans as a collector gets them, from the `polynya` binary: its coordinator and its workers.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use polynya_bench::client::{Auth, Client};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::harness::text;

/// How long a process may take to start, to end, and to send what it has.
const PATIENCE: Duration = Duration::from_secs(60);

/// A span, and what kind of process sent it.
#[derive(Debug, Clone)]
struct Sent {
    role: String,
    span: Span,
}

/// Stands in for a collector, and keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Sent>>>);

#[async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for origin in request.into_inner().resource_spans {
            let role = origin.resource.as_ref().and_then(|resource| string(&resource.attributes, "polynya.role"));
            let role = role.unwrap_or_default().to_owned();
            let spans = origin.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().extend(spans.map(|span| Sent { role: role.clone(), span }));
        }
        Ok(Response::new(ExportTraceServiceResponse { partial_success: None }))
    }
}

impl Collector {
    /// Starts one; where it listens.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)),
        );
        (collector, url)
    }

    /// The spans of a query, of one name.
    fn spans(&self, query_id: &str, name: &str) -> Vec<Sent> {
        let all = self.0.lock();
        let wanted =
            |sent: &&Sent| sent.span.name == name && string(&sent.span.attributes, "query_id") == Some(query_id);
        all.iter().filter(wanted).cloned().collect()
    }

    /// The only span of a query that has this name.
    #[track_caller]
    fn only(&self, query_id: &str, name: &str) -> Sent {
        let spans = self.spans(query_id, name);
        assert_eq!(spans.len(), 1, "{name}: {:?}", self.0.lock());
        spans[0].clone()
    }
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn string<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match value(attributes, key)? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// `polynya serve`, with a catalog in memory and its files in a folder.
struct Served {
    process: Child,
    url: String,
    _stdout: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

impl Served {
    async fn start(collector: &str, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_polynya"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .env("POLYNYA__SERVER__OTLP_ENDPOINT", collector)
            .env("POLYNYA__CATALOG__LAKE__TYPE", "memory")
            .env("POLYNYA__CATALOG__LAKE__WAREHOUSE", format!("file://{}/warehouse", folder.path().display()))
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = tokio::time::timeout(PATIENCE, stdout.next_line()).await.expect("the server starts");
        let ready = ready.unwrap().expect("the server did not end at once");
        let url = ready.split_whitespace().find(|word| word.starts_with("grpc://")).unwrap().to_owned();
        Self { process, url, _stdout: stdout, _folder: folder }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.url, &Auth::default()).await.unwrap()
    }

    /// Asks the server to end, and waits for it.
    async fn stop(mut self) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("the server ends");
        assert!(ended.unwrap().success());
    }
}

/// Runs a query, whose text holds no quote; its id.
async fn run(client: &Client, sql: &str) -> String {
    client.query_all(sql).await.unwrap();
    let log = format!("SELECT query_id FROM system.queries WHERE statement = '{sql}'");
    let ids = text(&client.query_all(&log).await.unwrap().batches);
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_a_span_and_its_planning_is_below() {
    let (collector, url) = Collector::start().await;
    let served = Served::start(&url, &[]).await;
    let client = served.client().await;
    let query_id = run(&client, "SELECT 1 AS swordfish").await;
    drop(client);
    // What was not sent yet is sent at the end.
    served.stop().await;

    let query = collector.only(&query_id, "query");
    assert_eq!(query.role, "coordinator");
    assert!(query.span.parent_span_id.iter().all(|byte| *byte == 0));
    assert_eq!(string(&query.span.attributes, "statement"), Some("QUERY"));
    assert_eq!(string(&query.span.attributes, "state"), Some("FINISHED"));
    assert_eq!(string(&query.span.attributes, "tenant"), Some("default"));
    assert_eq!(value(&query.span.attributes, "rows"), Some(&Value::IntValue(1)));
    for name in ["pin", "plan"] {
        let below = collector.only(&query_id, name).span;
        assert_eq!(below.parent_span_id, query.span.span_id, "{name}");
        assert_eq!(below.trace_id, query.span.trace_id, "{name}");
        assert!(below.end_time_unix_nano <= query.span.end_time_unix_nano, "{name}");
    }
    assert!(collector.spans(&query_id, "attempt").is_empty());
    let all = collector.0.lock();
    assert!(!format!("{all:?}").contains("swordfish"), "a span holds the text of a statement");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_on_workers_are_below_their_attempt() {
    let (collector, url) = Collector::start().await;
    let workers = [
        ("POLYNYA__WORKERS__PROVISIONER", "local-process"),
        ("POLYNYA__WORKERS__MAX", "2"),
        ("POLYNYA__WORKERS__BYTES_PER_WORKER", "1KiB"),
        ("POLYNYA__WORKERS__EXECUTION", "distributed"),
        ("POLYNYA__WORKERS__START_TIMEOUT", "60s"),
        ("POLYNYA__EXECUTION__TARGET_PARTITIONS", "4"),
    ];
    let served = Served::start(&url, &workers).await;
    let client = served.client().await;
    client.execute_update("CREATE SCHEMA s").await.unwrap();
    client.execute_update("CREATE TABLE s.t (id BIGINT, name VARCHAR)").await.unwrap();
    for _ in 0..4 {
        client.execute_update("INSERT INTO s.t VALUES (1, 'one'), (2, 'two')").await.unwrap();
    }
    let query_id = run(&client, "SELECT name, count(*) FROM s.t GROUP BY name").await;
    let log = format!("SELECT count(*) FROM system.tasks WHERE query_id = '{query_id}'");
    let tasks: usize = text(&client.query_all(&log).await.unwrap().batches)[0].parse().unwrap();
    assert!(tasks > 1, "the query did not run on workers");
    // Workers are not waited for when the server ends.
    let all_sent = async {
        while collector.spans(&query_id, "task").len() < tasks {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_sent).await.expect("workers send their spans");
    drop(client);
    served.stop().await;

    let query = collector.only(&query_id, "query").span;
    let attempt = collector.only(&query_id, "attempt");
    assert_eq!(attempt.role, "coordinator");
    assert_eq!(attempt.span.parent_span_id, query.span_id);
    assert_eq!(value(&attempt.span.attributes, "number"), Some(&Value::IntValue(1)));
    for task in collector.spans(&query_id, "task") {
        assert_eq!(task.role, "worker");
        assert_eq!(task.span.trace_id, query.trace_id);
        assert_eq!(task.span.parent_span_id, attempt.span.span_id);
        for number in ["stage", "number"] {
            let number = value(&task.span.attributes, number);
            assert!(matches!(number, Some(Value::IntValue(_))), "{number:?}");
        }
    }
}
