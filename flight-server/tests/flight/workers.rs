//! Worker processes, from the `polynya` binary, as whoever starts them meets them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use arrow_flight::decode::FlightRecordBatchStream;
use futures::TryStreamExt;
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::Settings;
use polynya_flight_server::ServerSettings;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tonic::{Code, Request, Status};

use crate::harness::{Harness, assert_refused, statement, text, ticket};

/// How long a process may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

const SECRET: &str = "a-secret-of-this-test";

/// A worker that is ready, and what it is told through.
async fn worker(spill_dir: &Path) -> (Child, ChildStdin) {
    let (process, stdin, _url) = worker_at(spill_dir).await;
    (process, stdin)
}

/// The same, and where it listens.
async fn worker_at(spill_dir: &Path) -> (Child, ChildStdin, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_polynya"))
        .args(["worker", "--listen", "127.0.0.1:0", "--child"])
        .env("POLYNYA__WORKERS__SECRET", SECRET)
        .env("POLYNYA__MEMORY__SPILL_DIR", spill_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdin = process.stdin.take().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
    let ready = tokio::time::timeout(PATIENCE, stdout.next_line()).await.expect("the worker starts");
    let ready = ready.unwrap().expect("it did not end at once");
    let url = ready.split_whitespace().find(|word| word.starts_with("http://")).expect(&ready).to_owned();
    (process, stdin, url)
}

/// A coordinator of these workers, with a table in a folder.
async fn coordinator(folder: &Path, urls: &[&str], secret: &str) -> Harness {
    let workers = json!({ "provisioner": "static", "urls": urls, "secret": secret, "small_query_bytes": 0 });
    let lake = CatalogSettings::new(CatalogType::Memory).with_warehouse(format!("file://{}/lake", folder.display()));
    let settings = Settings {
        workers: serde_json::from_value(workers).unwrap(),
        catalog: BTreeMap::from([("lake".to_owned(), lake)]),
        ..Settings::default()
    };
    let mut harness = Harness::start_engine(settings, ServerSettings::default()).await;
    for sql in ["CREATE SCHEMA s", "CREATE TABLE s.n AS SELECT value FROM generate_series(1, 1000)"] {
        harness.update(sql).await;
    }
    harness
}

const SUM: &str = "SELECT sum(value) FROM s.n";

/// What a query gives that runs on workers, or where they are of use.
async fn sum(harness: &Harness, execution: &str) -> Result<Vec<String>, Status> {
    let mut raw = harness.raw.clone();
    let mut call = Request::new(statement(SUM));
    call.metadata_mut().insert("polynya.execution", execution.parse().unwrap());
    let info = raw.get_flight_info(call).await?.into_inner();
    let messages = raw.do_get(ticket(&info)).await?.into_inner();
    let stream = FlightRecordBatchStream::new_from_flight_data(messages.map_err(Into::into));
    Ok(text(&stream.try_collect::<Vec<_>>().await.map_err(Status::from)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_secret_is_no_lost_worker() {
    let folder = tempfile::tempdir().unwrap();
    let (_process, _stdin, url) = worker_at(folder.path()).await;
    let mut harness = coordinator(folder.path(), &[&url], "another-secret-of-this-test").await;
    let status = assert_refused(sum(&harness, "distributed").await, Code::FailedPrecondition, "workers.secret");
    assert!(status.message().contains("must be the same") && status.message().contains(&url), "{status:?}");
    let seen =
        "SELECT workers_lost, state FROM system.queries WHERE statement LIKE '%sum%' AND statement NOT LIKE '%system%'";
    assert_eq!(harness.rows(seen).await, ["0|FAILED"]);
    assert_eq!(harness.rows("SELECT state FROM system.workers").await, ["WRONG_SECRET"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_worker_is_told_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let other = Harness::start().await;
    let other = format!("http://{}", other.server.address());
    let mut harness = coordinator(folder.path(), &[&other], SECRET).await;
    assert_refused(sum(&harness, "distributed").await, Code::FailedPrecondition, "is no worker of Polynya");
    assert_eq!(harness.rows("SELECT state FROM system.workers").await, ["NO_WORKER"]);

    let (_process, _stdin, url) = worker_at(folder.path()).await;
    let mut harness = coordinator(folder.path(), &[&url, &other], SECRET).await;
    assert_eq!(sum(&harness, "distributed").await.unwrap(), ["500500"]);
    let states = "SELECT state FROM system.workers ORDER BY state";
    assert_eq!(harness.rows(states).await, ["NO_WORKER", "READY"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_query_runs_here_where_no_worker_is_fit() {
    let folder = tempfile::tempdir().unwrap();
    let (_process, _stdin, url) = worker_at(folder.path()).await;
    let harness = coordinator(folder.path(), &[&url], "another-secret-of-this-test").await;
    assert_eq!(sum(&harness, "auto").await.unwrap(), ["500500"]);
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_worker_leaves_no_folder_to_spill_into_and_removes_those_of_killed_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (mut killed, _stdin) = worker(folder.path()).await;
    let left = entries(folder.path());
    assert_eq!(left.len(), 2, "a folder and its lock: {left:?}");
    killed.kill().await.unwrap();
    assert_eq!(entries(folder.path()), left);

    let (mut drained, mut stdin) = worker(folder.path()).await;
    let (mut orphan, lifeline) = worker(folder.path()).await;
    let now = entries(folder.path());
    assert!(now.len() == 4 && left.iter().all(|name| !now.contains(name)), "{now:?}");
    stdin.write_all(b"drain\n").await.unwrap();
    assert!(tokio::time::timeout(PATIENCE, drained.wait()).await.expect("it ends").unwrap().success());
    assert_eq!(entries(folder.path()).len(), 2);
    drop(lifeline);
    assert!(tokio::time::timeout(PATIENCE, orphan.wait()).await.expect("it ends").unwrap().success());
    assert_eq!(entries(folder.path()), [""; 0]);
}
