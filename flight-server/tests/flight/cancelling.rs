//! Queries stop when their client stops caring.

use std::time::Duration;

use arrow_flight::{CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus};
use prost::Message;
use tonic::Code;

use crate::harness::{Harness, assert_refused, eventually, ticket};

/// A query that would run for hours.
pub(crate) const ENDLESS: &str =
    "SELECT a.value, b.value FROM generate_series(1, 1000) a CROSS JOIN generate_series(1, 1000000000) b";

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_stops_its_query() {
    let mut harness = Harness::start().await;
    let info = harness.info(ENDLESS).await.unwrap();
    assert_eq!(harness.server.running(), 0, "nothing runs before the rows are fetched");
    let mut stream = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner();
    for _ in 0..3 {
        stream.message().await.unwrap().unwrap();
    }
    assert_eq!(harness.server.running(), 1);
    drop(stream);
    eventually("the query has stopped", || harness.server.running() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_has_given_nothing_yet_stops_too() {
    let mut harness = Harness::start().await;
    let info = harness.info("SELECT sum(value % 7) FROM generate_series(1, 1000000000000)").await.unwrap();
    let mut stream = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner();
    stream.message().await.unwrap().expect("the schema comes first");
    let waited = tokio::time::timeout(Duration::from_millis(200), stream.message()).await;
    assert!(waited.is_err(), "there is no row yet");
    drop(stream);
    eventually("the query has stopped", || harness.server.running() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_flight_info_stops_a_running_query_and_forgets_a_waiting_one() {
    let mut harness = Harness::start().await;
    let running = harness.info(ENDLESS).await.unwrap();
    let mut stream = harness.raw.do_get(ticket(&running)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();

    let cancel = |info: &arrow_flight::FlightInfo| CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
    let result = harness.action("CancelFlightInfo", cancel(&running)).await.unwrap();
    let result = CancelFlightInfoResult::decode(result[0].clone()).unwrap();
    assert_eq!(result.status(), CancelStatus::Cancelled);
    let ended = tokio::time::timeout(Duration::from_secs(2), async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a cancelled query must not look finished"),
                Err(status) => break status,
            }
        }
    });
    assert_eq!(ended.await.unwrap().code(), Code::Cancelled);
    eventually("the query has stopped", || harness.server.running() == 0).await;
    assert_refused(harness.action("CancelFlightInfo", cancel(&running)).await, Code::NotFound, "has ended");

    let waiting = harness.info("SELECT 1").await.unwrap();
    harness.action("CancelFlightInfo", cancel(&waiting)).await.unwrap();
    assert_refused(harness.fetch(&waiting).await, Code::NotFound, "ticket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_query_gives_back_what_it_holds_though_nobody_reads_its_rows() {
    let mut harness = Harness::start().await;
    let sql = "SELECT value, repeat('x', 1000) AS unread FROM generate_series(1, 5000000)";
    let info = harness.info(sql).await.unwrap();
    let mut stream = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    // By now the server waits for the client.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(harness.server.running(), 1);
    let cancel = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
    harness.action("CancelFlightInfo", cancel).await.unwrap();
    eventually("the query has stopped", || harness.server.running() == 0).await;
    let states = harness.rows("SELECT state FROM system.queries WHERE statement LIKE 'SELECT value, repeat%'").await;
    assert_eq!(states, ["CANCELLED"]);
    let told = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a cancelled query must not look finished"),
            Err(status) => break status,
        }
    };
    assert_eq!(told.code(), Code::Cancelled);
}
