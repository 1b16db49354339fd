//! `polynya.statement_timeout` ends a query that has not begun yet, although its client waits for the first row.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::{AdmissionSettings, Execution, ProvisionerKind, Settings, WorkerSettings};
use polynya_flight_server::ServerSettings;
use tonic::{Code, Status};

use crate::harness::{Harness, assert_refused, ticket};

const TIMEOUT: Duration = Duration::from_millis(1500);
/// How much later than it should a busy machine may say so.
const LATENESS: Duration = Duration::from_secs(8);
/// What is to be too late.
const SUM: &str = "SELECT sum(id) FROM s.t";

async fn with_table(engine: Settings) -> Harness {
    let mut harness = Harness::start_engine(engine, ServerSettings::default()).await;
    harness.update("CREATE SCHEMA s").await;
    harness.update("CREATE TABLE s.t (id BIGINT)").await;
    harness.update("INSERT INTO s.t VALUES (1), (2), (3)").await;
    harness
}

/// Asks for the sum with a timeout, and looks on while its client waits for the first row.
async fn too_late(harness: &mut Harness, state: &str) -> Result<String, Status> {
    harness.sql.handshake("anyone", "anything").await.unwrap();
    harness.update(&format!("SET polynya.statement_timeout = '{}ms'", TIMEOUT.as_millis())).await;
    let began = Instant::now();
    let info = harness.sql.execute(SUM.to_owned(), None).await.unwrap();
    let mut raw = harness.raw.clone();
    let fetching = tokio::spawn(async move {
        let mut messages = raw.do_get(ticket(&info)).await?.into_inner();
        let mut count = 0;
        while messages.message().await?.is_some() {
            count += 1;
        }
        Ok(format!("{count} messages came"))
    });
    let states = format!("SELECT state FROM system.queries WHERE statement = '{SUM}'");
    while harness.rows(&states).await != [state] {
        assert!(!fetching.is_finished(), "it ended before it was {state}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who asks for what runs is not made to wait, whatever else does.
    let asked = tokio::time::timeout(LATENESS, harness.rows("SELECT count(*) FROM system.workers")).await;
    assert_eq!(asked.expect("system.workers waited"), ["0"]);
    let ended = tokio::time::timeout(TIMEOUT + LATENESS, fetching).await.expect("it ends in time").unwrap();
    assert!(began.elapsed() >= TIMEOUT, "{:?}", began.elapsed());
    assert_eq!(harness.rows(&states).await, ["FAILED"]);
    ended
}

#[track_caller]
fn assert_too_late(ended: Result<String, Status>) {
    let status = assert_refused(ended, Code::DeadlineExceeded, "polynya.statement_timeout");
    assert_eq!(status.metadata().get("polynya-sqlstate").unwrap(), "57014");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_waits_for_its_turn_ends_in_time() {
    let admission = AdmissionSettings { max_running: NonZeroUsize::MIN, ..AdmissionSettings::default() };
    let mut harness = with_table(Settings { admission, ..Settings::default() }).await;
    let endless = "SELECT t.id, repeat('x', 1000) FROM s.t t CROSS JOIN generate_series(1, 1000000000)";
    let holds = harness.info(endless).await.unwrap();
    let mut held = harness.raw.do_get(ticket(&holds)).await.unwrap().into_inner();
    for _ in 0..2 {
        held.message().await.unwrap().expect("the schema, and the first rows");
    }
    assert_too_late(too_late(&mut harness, "QUEUED").await);
    drop(held);
    // Its place is free again.
    assert_eq!(harness.rows("SELECT max(id) FROM s.t").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_waits_for_workers_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("never-ready");
    // Written by another process: what this one has open for writing, while it forks, cannot be run.
    let write = "printf '#!/bin/sh\\nexec sleep 600\\n' > \"$0\" && chmod 700 \"$0\"";
    assert!(std::process::Command::new("sh").args(["-c", write]).arg(&program).status().unwrap().success());
    let workers = WorkerSettings {
        provisioner: ProvisionerKind::LocalProcess,
        program: Some(program),
        execution: Execution::Distributed,
        start_timeout: Duration::from_secs(60),
        ..WorkerSettings::default()
    };
    let warehouse = format!("file://{}/warehouse", folder.path().display());
    let lake = CatalogSettings::new(CatalogType::Memory).with_warehouse(warehouse);
    let catalog = [("lake".to_owned(), lake)].into();
    let mut harness = with_table(Settings { workers, catalog, ..Settings::default() }).await;
    assert_too_late(too_late(&mut harness, "STARTING").await);
}
