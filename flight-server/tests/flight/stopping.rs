//! A server that is asked to stop lets running queries finish, within its deadline.

use std::time::{Duration, Instant};

use polynya_flight_server::ServerSettings;
use tonic::Code;

use crate::harness::{Harness, assert_refused, connect, statement, text, ticket};

#[tokio::test(flavor = "multi_thread")]
async fn draining_lets_running_queries_finish_and_refuses_new_ones() {
    let mut harness = Harness::start().await;
    let sql = "SELECT value, repeat('x', 200) FROM generate_series(1, 2000000)";
    let running = harness.info(sql).await.unwrap();
    let promised = harness.info("SELECT count(*) FROM s.t").await.unwrap();
    let mut stream = harness.raw.do_get(ticket(&running)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();

    let Harness { server, raw, .. } = harness;
    let mut late = raw.clone();
    let mut fetching = raw.clone();
    let draining = tokio::spawn(server.drain());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_refused(late.get_flight_info(statement("SELECT 1")).await, Code::Unavailable, "shutting down");

    let messages = fetching.do_get(ticket(&promised)).await.unwrap().into_inner();
    let rows = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(futures::TryStreamExt::map_err(
        messages,
        Into::into,
    ));
    let batches: Vec<_> = futures::TryStreamExt::try_collect(rows).await.unwrap();
    assert_eq!(text(&batches), ["3"]);

    let mut messages = 0;
    while stream.message().await.unwrap().is_some() {
        messages += 1;
    }
    assert!(messages > 50, "{messages}");
    assert_eq!(draining.await.unwrap(), 0, "nothing was cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_ends_at_its_deadline() {
    let settings = ServerSettings { drain_timeout: Duration::from_millis(300), ..ServerSettings::default() };
    let mut harness = Harness::start_with(settings).await;
    let sql = "SELECT b.value FROM generate_series(1, 1000) a CROSS JOIN generate_series(1, 1000000000) b";
    let info = harness.info(sql).await.unwrap();
    let mut stream = harness.raw.do_get(ticket(&info)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let began = Instant::now();
    assert_eq!(harness.server.drain().await, 1);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_server_stops_at_once_and_frees_its_port() {
    let harness = Harness::start_empty(ServerSettings::default()).await;
    let address = harness.server.address();
    let _idle_connection = connect(&harness.server).await;
    let began = Instant::now();
    harness.server.drain().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    tokio::net::TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn an_address_that_strangers_reach_is_refused() {
    let settings = polynya_engine::Settings::default();
    let engine = polynya_engine::Engine::start(settings).await.unwrap();
    let exposed = ServerSettings { listen: "0.0.0.0:0".into(), ..ServerSettings::default() };
    let error = polynya_flight_server::Server::bind(engine, &exposed).await.unwrap_err();
    assert!(error.to_string().contains("--allow-insecure"), "{error}");
}
