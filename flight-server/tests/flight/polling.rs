//! PollFlightInfo: a query's result at once, and how far the query is while it is fetched.

use arrow_flight::sql::{CommandGetCatalogs, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{FlightDescriptor, PollInfo};
use polynya_engine::{ExecutionSettings, Settings};
use polynya_flight_server::ServerSettings;
use prost::Message;
use tonic::{Code, Status};

use crate::harness::{Harness, assert_refused, eventually, info_schema, statement, text, ticket};

/// Reads thirty files one after the other, and gives a megabyte for each: more than fits between server and client.
const LONG: &str = "SELECT id, repeat('x', 1000000) FROM s.many";

async fn with_many_files() -> Harness {
    let execution = ExecutionSettings { target_partitions: Some(1), ..ExecutionSettings::default() };
    let engine = Settings { execution, ..Settings::default() };
    let mut harness = Harness::start_engine(engine, ServerSettings::default()).await;
    harness.update("CREATE SCHEMA s").await;
    harness.update("CREATE TABLE s.many (id BIGINT) PARTITIONED BY (id)").await;
    harness.update("INSERT INTO s.many SELECT value FROM generate_series(1, 30)").await;
    harness
}

async fn poll(harness: &mut Harness, descriptor: FlightDescriptor) -> Result<PollInfo, Status> {
    Ok(harness.raw.poll_flight_info(descriptor).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_tells_how_far_it_is_while_it_is_fetched() {
    let mut harness = with_many_files().await;
    let first = poll(&mut harness, statement(LONG)).await.unwrap();
    assert_eq!(first.progress, Some(0.0));
    assert!(first.expiration_time.is_some());
    let info = first.info.unwrap();
    assert_eq!(info_schema(&info).fields().len(), 2);

    let mut stream = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner();
    for _ in 0..2 {
        stream.message().await.unwrap().expect("the schema, and the first rows");
    }
    let midway = poll(&mut harness, first.flight_descriptor.unwrap()).await.unwrap();
    let progress = midway.progress.unwrap();
    assert!(progress > 0.0 && progress < 1.0, "{progress}");
    assert_eq!(midway.info.as_ref(), Some(&info));

    while stream.message().await.unwrap().is_some() {}
    let end = poll(&mut harness, midway.flight_descriptor.unwrap()).await.unwrap();
    assert_eq!((end.flight_descriptor, end.progress), (None, Some(1.0)));
    assert_eq!(end.info, Some(info));
}

#[tokio::test]
async fn a_client_that_polls_to_the_end_before_it_fetches_is_let_fetch() {
    let mut harness = with_many_files().await;
    let first = poll(&mut harness, statement("SELECT count(*) FROM s.many WHERE id % 2 = 0")).await.unwrap();
    let second = poll(&mut harness, first.flight_descriptor.unwrap()).await.unwrap();
    assert_eq!((second.flight_descriptor, second.progress), (None, Some(0.0)));
    let rows = harness.fetch(&second.info.unwrap()).await.unwrap().1;
    assert_eq!(text(&rows), ["15"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_query_is_over_but_not_finished() {
    let mut harness = with_many_files().await;
    let first = poll(&mut harness, statement(LONG)).await.unwrap();
    let mut stream = harness.raw.do_get(ticket(&first.info.unwrap())).await.unwrap().into_inner();
    for _ in 0..2 {
        stream.message().await.unwrap().expect("the schema, and the first rows");
    }
    drop(stream);
    eventually("the query has stopped", || harness.server.running() == 0).await;
    let end = poll(&mut harness, first.flight_descriptor.unwrap()).await.unwrap();
    assert_eq!(end.flight_descriptor, None);
    assert!(end.progress.is_some_and(|progress| progress < 1.0), "{:?}", end.progress);
}

#[tokio::test]
async fn updates_and_metadata_are_complete_at_once() {
    let mut harness = Harness::start().await;
    let update = poll(&mut harness, statement("INSERT INTO s.t VALUES (4, 'four')")).await.unwrap();
    assert_eq!((update.flight_descriptor, update.progress), (None, Some(1.0)));
    assert_eq!(update.info.unwrap().total_records, 1);
    assert_eq!(harness.rows("SELECT count(*) FROM s.t").await, ["4"]);

    let catalogs = FlightDescriptor::new_cmd(CommandGetCatalogs {}.as_any().encode_to_vec());
    let metadata = poll(&mut harness, catalogs).await.unwrap();
    assert_eq!((metadata.flight_descriptor, metadata.progress), (None, Some(1.0)));
    assert_eq!(text(&harness.fetch(&metadata.info.unwrap()).await.unwrap().1), ["lake"]);
}

#[tokio::test]
async fn an_unknown_descriptor_is_refused() {
    let mut harness = Harness::start().await;
    let guess = TicketStatementQuery { statement_handle: "a guess".into() }.as_any().encode_to_vec();
    let refused = poll(&mut harness, FlightDescriptor::new_cmd(guess)).await;
    assert_refused(refused, Code::NotFound, "no such query to poll");
    let info = harness.info("SELECT 1").await.unwrap();
    let never_polled = FlightDescriptor::new_cmd(ticket(&info).ticket);
    assert_refused(poll(&mut harness, never_polled).await, Code::NotFound, "not given by PollFlightInfo");
    let garbage = FlightDescriptor::new_cmd(&b"\xff\xff\xff"[..]);
    assert_refused(poll(&mut harness, garbage).await, Code::InvalidArgument, "not a valid");
    assert_refused(poll(&mut harness, statement("SELEC 1")).await, Code::InvalidArgument, "SELEC");
}
