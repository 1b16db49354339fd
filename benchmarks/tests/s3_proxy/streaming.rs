//! Large bodies: the proxy holds a buffer of them, never more.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use polynya_bench::s3_proxy::Faults;
use tokio::io::AsyncWriteExt;

use super::stand_in::bytes;
use super::{connect, get, start};

/// More than the sockets' buffers on the way can hold, and far less than the bodies.
const HELD_BYTES_MAX: u64 = 100_000_000;
const BODY_BYTES: u64 = 1 << 30;
/// What stood still for so long stands still.
const STANDSTILL: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_server_back() {
    let (server, proxy) = start(Faults::default()).await;
    let mut client = connect(&proxy).await;
    client.send(get(&format!("/b/{BODY_BYTES}.parquet"), "").as_bytes()).await;
    client.head().await;
    let written = || server.seen.body_bytes_written.load(SeqCst);
    let mut before = u64::MAX;
    while written() != before {
        before = written();
        tokio::time::sleep(STANDSTILL).await;
    }
    assert!(before < HELD_BYTES_MAX, "{before}");
    drop(client);
    let mut client = connect(&proxy).await;
    assert_eq!(client.ask(&get("/b/10.parquet", "")).await.status, 200);
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_the_client_back() {
    let (_server, proxy) = start(Faults::default()).await;
    let mut client = connect(&proxy).await;
    client.send(format!("PUT /b/never-read HTTP/1.1\r\nContent-Length: {BODY_BYTES}\r\n\r\n").as_bytes()).await;
    let (piece, mut sent) = (vec![1; 1 << 16], 0);
    while let Ok(written) = tokio::time::timeout(STANDSTILL, client.stream.write(&piece)).await {
        sent += written.unwrap() as u64;
        assert!(sent < HELD_BYTES_MAX, "{sent}");
    }
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let (_server, proxy) = start(Faults::default()).await;
    let answer = connect(&proxy).await.ask(&get("/b/16000000.parquet", "")).await;
    assert!(answer.body == bytes(0, 16_000_000));
    assert_eq!(proxy.counters().data.body_bytes_down, 16_000_000);
}
