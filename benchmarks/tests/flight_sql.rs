//! The client and the TPC-H loader against a Flight SQL server of a few lines, in this process.

mod server;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow_flight::error::FlightError;
use futures::{StreamExt, TryStreamExt, stream};
use polynya_bench::client::{Auth, Client, Error, IngestMode, IngestTarget, Outcome};
use polynya_bench::latency::{self, LatencyError, LatencyOptions};
use polynya_bench::progress::Progress;
use polynya_bench::raw_flight::{RawAnswer, RawFlight};
use polynya_bench::scale::Scale;
use polynya_bench::tpch::query::Query;
use polynya_bench::tpch::{self, LoadOptions, OnExisting, RunOptions, TpchTable};
use server::TestServer;

async fn connected() -> (TestServer, Client) {
    let server = TestServer::start().await;
    let client = Client::connect(&server.url(), &server.auth()).await.expect("the server is there");
    (server, client)
}

fn load_options() -> LoadOptions {
    let tables = vec![TpchTable::Nation, TpchTable::Orders];
    LoadOptions { tables, progress: Progress::Hidden, ..LoadOptions::new(Scale::new(0.01).expect("a scale")) }
}

#[tokio::test]
async fn a_query_gives_schema_rows_and_the_servers_account() {
    let (_server, client) = connected().await;
    let mut rows = client.query("SELECT numbers").await.expect("the query starts");
    assert_eq!(rows.schema().field(0).name(), "n");
    let mut numbers = Vec::new();
    while let Some(batch) = rows.try_next().await.expect("rows") {
        numbers.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
    }
    assert_eq!(numbers, [1, 2, 3]);
    let stats = rows.stats().expect("the account came last");
    assert_eq!((stats.files_considered, stats.files_pruned, stats.requests()), (Some(84), Some(72), Some(12)));
}

#[tokio::test]
async fn cookies_and_the_bearer_token_are_sent_back() {
    let (server, client) = connected().await;
    client.execute_update("USE a").await.expect("the first call");
    client.execute_update("USE b").await.expect("the second call");
    let seen = server.seen();
    assert!(seen.iter().all(|call| call.authorization.as_deref() == Some("Bearer test-token")), "{seen:?}");
    let cookie = seen.last().and_then(|call| call.cookie.clone());
    assert_eq!(cookie.as_deref(), Some("polynya-session-id=s1"));
}

#[tokio::test]
async fn a_wrong_password_is_the_servers_message() {
    let server = TestServer::start().await;
    let auth = Auth { user: Some("me".into()), password: Some("wrong".into()), ..Auth::default() };
    let error = Client::connect(&server.url(), &auth).await.expect_err("the password is wrong");
    assert_eq!(error.code(), Some(tonic::Code::Unauthenticated));
    assert_eq!(error.to_string(), "wrong user or password");
}

#[tokio::test]
async fn no_server_is_told_with_the_next_step() {
    let error = Client::connect("grpc://127.0.0.1:1", &Auth::default()).await.expect_err("nobody listens there");
    let text = error.full_message();
    assert!(text.contains("grpc://127.0.0.1:1") && text.contains("polynya serve"), "{text}");
}

#[tokio::test]
async fn a_refused_statement_keeps_code_message_and_sqlstate() {
    let (_server, client) = connected().await;
    let error = client.query("SELECT nonsense").await.expect_err("refused");
    let Error::Statement { code, message, sqlstate, query_id } = error else { panic!("{error:?}") };
    assert_eq!((code, message.as_str()), (tonic::Code::InvalidArgument, "no table called nonsense"));
    assert_eq!((sqlstate.as_deref(), query_id.as_deref()), (Some("42P01"), Some("q7")));
}

#[tokio::test]
async fn a_statement_of_unknown_kind_is_prepared_first() {
    let (_server, client) = connected().await;
    let Outcome::Rows(rows) = client.execute("SELECT numbers").await.expect("a query") else { panic!("no rows") };
    assert_eq!(rows.read_all().await.expect("rows").rows(), 3);
    let Outcome::Rows(rows) = client.execute_polled("SELECT numbers").await.expect("a query") else {
        panic!("no rows")
    };
    assert_eq!(rows.poll().progress().await, None, "this server has no PollFlightInfo");
    assert_eq!(rows.read_all().await.expect("rows").rows(), 3);
    let Outcome::Updated(count) = client.execute("DELETE").await.expect("an update") else { panic!("rows") };
    assert_eq!(count, Some(4));
}

#[tokio::test]
async fn a_prepared_query_runs_with_the_values_of_each_run() {
    let (_server, client) = connected().await;
    let mut prepared = client.prepare_query("SELECT ?").await.expect("a handle");
    assert_eq!(prepared.parameters().field(0).data_type(), &DataType::Int64);
    for value in [7, 8] {
        let values: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        let values = RecordBatch::try_from_iter([("n", values)]).expect("a batch");
        let rows = prepared.run(values).await.expect("the query starts").read_all().await.expect("rows");
        assert_eq!(rows.batches[0].column(0).as_primitive::<Int64Type>().values(), &[value]);
    }
    prepared.close().await.expect("the handle is known");
}

#[tokio::test]
async fn latencies_are_of_queries_that_give_one_row() {
    let (_server, client) = connected().await;
    let options = LatencyOptions {
        query: "SELECT count(*) FROM t".into(),
        prepared: "SELECT ?".into(),
        warm_up: 2,
        rounds: 5,
        progress: Progress::Hidden,
        ..LatencyOptions::default()
    };
    let report = latency::run(&client, &options).await.expect("latencies");
    assert_eq!(report.statements.iter().map(|statement| statement.times_s.len()).collect::<Vec<_>>(), [5, 5, 5]);
    assert!(report.statements.iter().all(|statement| statement.first_rows.max_s <= statement.whole.max_s));

    let three = LatencyOptions { query: "SELECT numbers".into(), ..options };
    let error = latency::run(&client, &three).await.expect_err("three rows");
    assert!(matches!(error, LatencyError::Rows { rows: 3, .. }), "{error}");
}

#[tokio::test]
async fn the_raw_server_gives_every_query_the_same_batches() {
    let numbers = |numbers: Vec<i64>| {
        let column: ArrayRef = Arc::new(Int64Array::from(numbers));
        RecordBatch::try_from_iter([("n", column)]).expect("a batch")
    };
    let batches =
        vec![numbers((0..10_000).collect()), numbers(vec![1]).slice(0, 1), numbers((0..10).collect()).slice(3, 4)];
    let answer = RawAnswer { schema: batches[0].schema(), batches: batches.clone() };
    let server = RawFlight::start(([127, 0, 0, 1], 0).into(), answer).await.expect("a port");
    let client = Client::connect(&server.url(), &Auth::default()).await.expect("the server is there");
    for sql in ["SELECT * FROM t", "anything"] {
        let result = client.query_all(sql).await.expect("rows");
        assert_eq!((&result.schema, &result.batches), (&batches[0].schema(), &batches));
    }
    let error = client.prepare_query("SELECT 1").await.expect_err("it prepares nothing");
    assert_eq!(error.code(), Some(tonic::Code::Unimplemented), "ADBC's driver goes on without");
}

#[tokio::test]
async fn a_load_is_one_ingest_per_table_and_refuses_tables_with_rows() {
    let (server, client) = connected().await;
    let report = tpch::load(&client, &load_options()).await.expect("the load");
    assert_eq!(report.schema, "tpch_sf0_01");
    assert_eq!(report.tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [25, 15_000]);
    assert_eq!(server.ingests(), ["tpch_sf0_01.nation", "tpch_sf0_01.orders"]);

    let refused = tpch::load(&client, &load_options()).await.expect_err("the tables have rows").to_string();
    assert!(refused.contains("nation") && refused.contains("25 rows") && refused.contains("--replace"), "{refused}");

    let keep = LoadOptions { on_existing: OnExisting::Keep, ..load_options() };
    let kept = tpch::load(&client, &keep).await.expect("the tables are kept");
    assert!(kept.tables.iter().all(|table| table.kept));

    let other = LoadOptions {
        scale: Scale::new(0.02).expect("a scale"),
        schema: Some("tpch_sf0_01".into()),
        tables: vec![TpchTable::Orders],
        ..keep
    };
    let refused = tpch::load(&client, &other).await.expect_err("another scale").to_string();
    assert!(refused.contains("15000 rows, but 30000 at scale 0.02"), "{refused}");

    let replace = LoadOptions { on_existing: OnExisting::Replace, ..load_options() };
    let replaced = tpch::load(&client, &replace).await.expect("the tables are replaced");
    assert!(replaced.tables.iter().all(|table| !table.kept));
    assert_eq!(server.ingests().len(), 4);
}

#[tokio::test]
async fn an_ingest_whose_rows_fail_is_not_committed() {
    let (server, client) = connected().await;
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
    let batch = RecordBatch::try_new(schema.into(), vec![Arc::new(Int64Array::from(vec![1]))]).expect("a batch");
    let schema = batch.schema();
    let rows = stream::iter([Ok(batch), Err(FlightError::protocol("the disk is on fire"))]);
    let target = IngestTarget { catalog: None, schema: Some("s".into()), table: "t".into() };
    let error = client.ingest(&target, IngestMode::CreateAppend, schema, rows).await.expect_err("the rows failed");
    assert!(error.full_message().contains("the disk is on fire"), "{}", error.full_message());
    client.execute_update("USE a").await.expect("the connection lives");
    assert!(server.ingests().is_empty(), "the server must not take the rows so far for all");
}

#[tokio::test]
async fn dropping_a_result_cancels_the_query() {
    let (server, client) = connected().await;
    let mut rows = client.query("SELECT endless").await.expect("the query starts");
    rows.next().await.expect("a batch").expect("rows");
    drop(rows);
    server.wait_until_cancelled().await;
}

#[tokio::test]
async fn a_run_reports_right_wrong_and_failed_queries() {
    let (_server, client) = connected().await;
    let options = RunOptions {
        scale: Scale::new(0.01),
        queries: [4, 6, 17].into_iter().filter_map(Query::new).collect(),
        check: true,
        progress: Progress::Hidden,
        ..RunOptions::default()
    };
    // The server answers Q17 with the NULL that it has at this scale, Q6 with 1.00, and refuses all others.
    let report = tpch::run(&client, &options).await.expect("the run");
    assert_eq!((report.answers_right(), report.failures()), (1, 2));
    assert_eq!(report.queries[2].times_s.len(), 3);
    let text = report.render();
    assert!(text.contains("Q4 failed: no table called"), "{text}");
    assert!(text.contains("wrong answer: Q6: row 1, column revenue: expected "), "{text}");
    assert!(text.contains("1 of 3 ok"), "{text}");
}
