//! Worker processes, from the `polynya` binary, as whoever starts them meets them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::Settings;
use polynya_flight_server::ServerSettings;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Endpoint;
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
    ask(harness, SUM, execution).await
}

async fn ask(harness: &Harness, sql: &str, execution: &str) -> Result<Vec<String>, Status> {
    let mut raw = harness.raw.clone();
    let mut call = Request::new(statement(sql));
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

/// Puts other bytes in the place of some that are in the last file of a table once. Gives the file's name.
fn damage_a_file(folder: &Path, table: &str, some: &[u8], other: &[u8]) -> String {
    let data = folder.join("lake/s").join(table).join("data");
    let mut files: Vec<_> = std::fs::read_dir(data).unwrap().map(|file| file.unwrap()).collect();
    files.sort_by_key(std::fs::DirEntry::file_name);
    let file = files.last().unwrap();
    let mut bytes = std::fs::read(file.path()).unwrap();
    let at: Vec<usize> = (0..bytes.len() - some.len()).filter(|at| bytes[*at..].starts_with(some)).collect();
    let [at] = at[..] else { panic!("the file is laid out in another way: {at:?}") };
    bytes[at..at + other.len()].copy_from_slice(other);
    std::fs::write(file.path(), bytes).unwrap();
    file.file_name().into_string().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_that_panics_is_a_damaged_file_everywhere_and_never_fewer_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (_one, _stdin, first) = worker_at(folder.path()).await;
    let (_two, _stdin, second) = worker_at(folder.path()).await;
    let mut harness = coordinator(folder.path(), &[&first, &second], SECRET).await;
    harness
        .update("CREATE TABLE s.d (k bigint NOT NULL, w varchar NOT NULL) WITH (\"write.parquet.compression-codec\" = 'uncompressed')")
        .await;
    for first in [0, 8] {
        let row = |row: u32| format!("({}, '{}')", first + row, ["a", "b", "c", "d"][row as usize % 4]);
        let rows: Vec<String> = (0..8).map(row).collect();
        harness.update(&format!("INSERT INTO s.d VALUES {}", rows.join(", "))).await;
    }
    // The width of an index into the dictionary, 2 bits; a run of 8 packed indexes: 0, 1, 2, 3, 0, 1, 2, 3. The decoder panics at
    // other widths.
    let file = damage_a_file(folder.path(), "d", &[2, 3, 0xE4, 0xE4], &[0xFF]);
    harness.rows("CALL system.evict()").await;
    assert_eq!(
        ask(&harness, "SELECT sum(k) FROM s.d", "distributed").await.unwrap(),
        ["120"],
        "other columns are well"
    );
    for sql in [
        "SELECT w FROM s.d",
        "SELECT count(w) FROM s.d WHERE w <> 'x'",
        "SELECT w, count(*) FROM s.d GROUP BY w",
        "SELECT w FROM s.d LIMIT 12",
        "SELECT w FROM s.d ORDER BY w, k LIMIT 3",
        "SELECT n.value, d.w FROM s.n JOIN s.d ON n.value = d.k",
        "SELECT count(*) FROM s.n LEFT JOIN s.d ON n.value = d.k WHERE d.w IS NULL",
        "SELECT k, row_number() OVER (PARTITION BY w ORDER BY k) FROM s.d",
        "SELECT value FROM s.n WHERE value NOT IN (SELECT k FROM s.d WHERE w = 'a')",
    ] {
        let mut told = Vec::new();
        for execution in ["local", "distributed"] {
            let status = match ask(&harness, sql, execution).await {
                Err(status) => status,
                Ok(rows) => panic!("{sql} ({execution}): {} rows and no error", rows.len()),
            };
            let message = status.message();
            assert_eq!(status.code(), Code::DataLoss, "{sql} ({execution}): {message}");
            assert!(message.contains(&file) && !message.contains("panick"), "{sql} ({execution}): {message}");
            let sqlstate = status.metadata().get("polynya-sqlstate").unwrap().to_str().unwrap().to_owned();
            told.push((sqlstate, message.split("under id").next().unwrap().to_owned()));
        }
        assert_eq!(told[0], told[1], "{sql}: the same fault is told in two ways");
    }
    let finished = "SELECT count(*) FROM system.queries WHERE state = 'FINISHED' AND statement LIKE '%w%FROM s.d%' \
                    AND statement NOT LIKE '%system%'";
    assert_eq!(harness.rows(finished).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_decodes_to_other_than_its_rows_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (_one, _stdin, first) = worker_at(folder.path()).await;
    let (_two, _stdin, second) = worker_at(folder.path()).await;
    let mut harness = coordinator(folder.path(), &[&first, &second], SECRET).await;
    harness
        .update("CREATE TABLE s.l (l array<bigint>) WITH (\"write.parquet.compression-codec\" = 'uncompressed')")
        .await;
    harness.update("INSERT INTO s.l VALUES ([1, 2]), ([3, 4])").await;
    harness.update("INSERT INTO s.l VALUES ([1, 2]), ([3, 4]), ([5, 6]), ([7, 8])").await;
    // Which values begin a list, a bit each: one more does.
    let file = damage_a_file(folder.path(), "l", &[3, 0xAA], &[3, 0xA2]);
    harness.rows("CALL system.evict()").await;
    for (sql, execution) in ["SELECT l FROM s.l", "SELECT count(l) FROM s.l", "SELECT count(*) FROM s.l WHERE l[1] > 0"]
        .into_iter()
        .flat_map(|sql| [(sql, "local"), (sql, "distributed")])
    {
        assert_refused(ask(&harness, sql, execution).await, Code::DataLoss, &file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_values_have_the_same_code_on_workers() {
    let folder = tempfile::tempdir().unwrap();
    let (_one, _stdin, first) = worker_at(folder.path()).await;
    let (_two, _stdin, second) = worker_at(folder.path()).await;
    let mut harness = coordinator(folder.path(), &[&first, &second], SECRET).await;
    harness.update("INSERT INTO s.n SELECT value FROM generate_series(1001, 2000)").await;
    for (sql, sqlstate) in [
        ("SELECT sum(value / (value - 1500)) FROM s.n", "22012"),
        ("SELECT max(CAST(CASE WHEN value = 1500 THEN 'x' ELSE '1' END AS int)) FROM s.n", "22018"),
        ("SELECT sum(CASE WHEN value = 1500 THEN value * 9223372036854775807 ELSE 0 END) FROM s.n", "22003"),
        ("SELECT count(*) FROM s.n WHERE 'a' ~ CASE WHEN value = 1500 THEN '(' ELSE 'a' END", "2201B"),
        (
            "SELECT a.value, b.value FROM s.n a JOIN s.n b ON a.value = b.value WHERE a.value / (b.value - 7) > 0",
            "22012",
        ),
    ] {
        let mut told = Vec::new();
        for execution in ["local", "distributed"] {
            let status = ask(&harness, sql, execution).await.expect_err(sql);
            assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), sqlstate, "{sql} ({execution}): {status:?}");
            told.push((status.code(), status.message().to_owned()));
        }
        assert_eq!(told[0], told[1], "{sql}");
    }
}

/// Stops a process, or lets it go on.
fn signal(process: &Child, name: &str) {
    let id = process.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_runs_on_the_one_worker_that_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let (_good, _stdin, good) = worker_at(folder.path()).await;
    let mut hang = Vec::new();
    for _ in 0..3 {
        hang.push(worker_at(folder.path()).await);
    }
    let urls: Vec<&str> = hang.iter().map(|(_, _, url)| url.as_str()).chain([good.as_str()]).collect();
    let harness = coordinator(folder.path(), &urls, SECRET).await;
    assert_eq!(sum(&harness, "distributed").await.unwrap(), ["500500"]);
    hang.iter().for_each(|(process, _, _)| signal(process, "STOP"));
    for _ in 0..3 {
        assert_eq!(sum(&harness, "distributed").await.unwrap(), ["500500"]);
    }
    hang.iter().for_each(|(process, _, _)| signal(process, "CONT"));
    assert_eq!(sum(&harness, "distributed").await.unwrap(), ["500500"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_worker_answers_an_ordinary_query_runs_here_and_another_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut harness = coordinator(folder.path(), &[&url], SECRET).await;
    assert_eq!(sum(&harness, "auto").await.unwrap(), ["500500"]);
    assert_eq!(sum(&harness, "auto").await.unwrap(), ["500500"]);
    assert_refused(sum(&harness, "distributed").await, Code::Unavailable, &url);
    assert_eq!(harness.rows("SELECT state FROM system.workers").await, ["LOST"]);
}

/// Whether a process is there and has not ended.
fn runs(id: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(id).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_program_that_never_gets_ready_ends_with_a_coordinator_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let script = format!("#!/bin/sh\necho $$ > {0}.new\nmv {0}.new {0}\nsleep 600\n", at("id").display());
    std::fs::write(at("script"), script).unwrap();
    // Made by another process: what a process of ours has open for writing, while it forks, cannot be run.
    let install = ["-m", "700", at("script").to_str().unwrap(), at("program").to_str().unwrap()].map(ToOwned::to_owned);
    assert!(std::process::Command::new("install").args(install).status().unwrap().success());
    let settings = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\ndefault_catalog = \"lake\"\n[catalog.lake]\ntype = \"memory\"\n\
         warehouse = \"file://{}\"\n[workers]\nprovisioner = \"local-process\"\nexecution = \"distributed\"\nprogram = \"{}\"\n",
        at("lake").display(),
        at("program").display(),
    );
    std::fs::write(at("polynya.toml"), settings).unwrap();
    let mut coordinator = Command::new(env!("CARGO_BIN_EXE_polynya"))
        .args(["serve", "--config", at("polynya.toml").to_str().unwrap()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(coordinator.stdout.take().unwrap()).lines();
    let ready = tokio::time::timeout(PATIENCE, stdout.next_line()).await.expect("it starts").unwrap().unwrap();
    let address = ready.split_whitespace().find_map(|word| word.strip_prefix("grpc://")).expect(&ready);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut sql = FlightSqlServiceClient::new(channel);
    for statement in ["CREATE SCHEMA s", "CREATE TABLE s.n AS SELECT value FROM generate_series(1, 1000)"] {
        sql.execute_update(statement.to_owned(), None).await.unwrap();
    }
    let info = sql.execute(SUM.to_owned(), None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let _asked = AbortOnDropHandle::new(tokio::spawn(async move { sql.do_get(ticket).await.is_ok() }));
    let until = |what: &'static str, is: Box<dyn Fn() -> bool>| async move {
        for _ in 0..6000 {
            if is() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    };
    let file = at("id");
    until("a worker is started", Box::new(move || file.exists())).await;
    let id = std::fs::read_to_string(at("id")).unwrap().trim().to_owned();
    assert!(runs(&id));
    coordinator.kill().await.unwrap();
    until("it ends", Box::new(move || !runs(&id))).await;
}
