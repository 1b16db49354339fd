//! Each fault as the client sees it, and as it is counted.

use std::io::ErrorKind;
use std::time::Duration;

use polynya_bench::s3_proxy::{FaultScope, Faults, Proxy};
use tokio::time::Instant;

use super::client::{Client, header};
use super::stand_in::bytes;
use super::{connect, get, start};

const ALL: Faults = Faults { faults_only_on: FaultScope::All, ..QUIET };
const QUIET: Faults = Faults {
    latency_ms: 0,
    latency_jitter_ms: 0,
    bandwidth_bytes_per_s: 0,
    fault_503: 0.0,
    fault_reset: 0.0,
    fault_truncate: 0.0,
    fault_ignore_range: 0.0,
    fault_stall: 0.0,
    stall_ms: 0,
    faults_only_on: FaultScope::Data,
    down: false,
};

/// What arrives of an answer on a connection of its own, parted into head and body, and whether the connection was reset.
async fn broken(proxy: &Proxy, target: &str) -> (String, Vec<u8>, bool) {
    let mut client = connect(proxy).await;
    client.send(get(target, "").as_bytes()).await;
    let (bytes, end) = client.rest().await;
    let reset = end.is_err_and(|error| {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        true
    });
    let head_bytes = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
    (String::from_utf8(bytes[..head_bytes].to_vec()).unwrap(), bytes[head_bytes..].to_vec(), reset)
}

#[tokio::test]
async fn a_503_is_s3s_and_keeps_the_connection() {
    let (server, proxy) = start(Faults { fault_503: 1.0, ..ALL }).await;
    let mut client = connect(&proxy).await;
    for _ in 0..2 {
        let answer = client.ask(&get("/b/9.parquet", "")).await;
        assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/xml")));
        assert!(String::from_utf8(answer.body).unwrap().contains("<Code>SlowDown</Code>"));
    }
    client.send(b"PUT /b/9.json HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!(client.answer(false).await.status, 503);
    assert_eq!(client.ask("HEAD /b/9.json HTTP/1.1\r\n\r\n").await.status, 503);
    client.send(b"PUT /b/9.json HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await;
    let answer = client.answer(false).await;
    assert_eq!((answer.status, answer.header("connection")), (503, Some("close")));
    assert_eq!((proxy.counters().fault_503, proxy.counters().requests(), server.heads().len()), (5, 5, 0));
}

#[tokio::test]
async fn a_reset_comes_before_the_head_or_within_the_body() {
    let (_server, proxy) = start(Faults { fault_reset: 1.0, ..QUIET }).await;
    let (mut before_head, mut within_body) = (0, 0);
    for _ in 0..24 {
        let (head, body, reset) = broken(&proxy, "/b/300000.parquet").await;
        assert!(reset && body.len() < 300_000, "{} bytes", body.len());
        assert_eq!(body, bytes(0, body.len() as u64));
        if head.is_empty() { before_head += 1 } else { within_body += 1 }
    }
    assert!(before_head > 0 && within_body > 0, "{before_head} before, {within_body} within");
    assert_eq!(proxy.counters().fault_reset, 24);
}

#[tokio::test]
async fn a_reset_upload_has_been_done() {
    let (server, proxy) = start(Faults { fault_reset: 1.0, ..ALL }).await;
    let mut client = connect(&proxy).await;
    client.send(b"PUT /b/9.json HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await;
    let (bytes, end) = client.rest().await;
    assert_eq!((bytes.len(), end.map_err(|error| error.kind())), (0, Err(ErrorKind::ConnectionReset)));
    assert_eq!((server.heads().len(), proxy.counters().fault_reset), (1, 1));
}

#[tokio::test]
async fn a_truncated_answer_promises_more_than_it_gives() {
    let (_server, proxy) = start(Faults { fault_truncate: 1.0, ..QUIET }).await;
    for length in [1, 100, 300_000] {
        let (head, body, reset) = broken(&proxy, &format!("/b/{length}.parquet")).await;
        assert_eq!(header(&head, "content-length"), Some(length.to_string().as_str()));
        assert!(!reset && (body.len() as u64) < length);
        assert_eq!(body, bytes(0, body.len() as u64));
    }
    let (_, body, reset) = broken(&proxy, "/b/chunked-1000.parquet").await;
    assert!(!reset && !body.ends_with(b"0\r\n\r\n"));
    assert_eq!(proxy.counters().fault_truncate, 4);
}

#[tokio::test]
async fn an_ignored_range_gives_the_whole_object() {
    let (server, proxy) = start(Faults { fault_ignore_range: 1.0, ..QUIET }).await;
    let mut client = connect(&proxy).await;
    let answer = client.ask(&get("/b/1000.parquet", "X-First: 1\r\nRange: bytes=10-19\r\nX-Last: 2\r\n")).await;
    assert_eq!((answer.status, answer.header("content-range"), &answer.body), (200, None, &bytes(0, 1000)));
    assert_eq!(server.heads(), [get("/b/1000.parquet", "X-First: 1\r\nX-Last: 2\r\n")]);
    assert_eq!(client.ask(&get("/b/1000.parquet", "")).await.body.len(), 1000);
    assert_eq!((proxy.counters().fault_ignore_range, proxy.counters().ranged_gets), (1, 1));
}

#[tokio::test]
async fn an_ignored_signed_range_gives_its_bytes_in_their_place() {
    let (server, proxy) = start(Faults { fault_ignore_range: 1.0, ..QUIET }).await;
    let mut client = connect(&proxy).await;
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host;range, Signature=0\r\n";
    for (range, from, to) in [("bytes=10-19", 10, 20), ("bytes=-5", 999_995, 1_000_000), ("bytes=0-3", 0, 4)] {
        let request = get("/b/1000000.parquet", &format!("{signed}Range: {range}\r\n"));
        let answer = client.ask(&request).await;
        assert_eq!((answer.status, answer.header("content-range")), (200, None));
        assert_eq!((answer.header("content-length"), answer.header("x-amz-request-id")), (Some("1000000"), Some("1")));
        let mut expected = vec![0; 1_000_000];
        expected[from..to].copy_from_slice(&bytes(from as u64, to as u64));
        assert!(answer.body == expected, "{range}");
        assert_eq!(server.heads().pop(), Some(request));
    }
    assert_eq!((proxy.counters().fault_ignore_range, proxy.counters().conns), (3, 1));
}

#[tokio::test]
async fn a_stalled_answer_goes_on() {
    let (_server, proxy) = start(Faults { fault_stall: 1.0, stall_ms: 150, ..ALL }).await;
    let (mut client, begin) = (connect(&proxy).await, Instant::now());
    assert_eq!(client.ask(&get("/b/200000.parquet", "")).await.body, bytes(0, 200_000));
    assert_eq!(client.ask("HEAD /b/3.parquet HTTP/1.1\r\n\r\n").await.status, 200);
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    assert_eq!((proxy.counters().fault_stall, proxy.counters().conns), (2, 1));
}

#[tokio::test]
async fn only_gets_of_data_meet_faults_unless_told_otherwise() {
    let (_server, proxy) = start(Faults { fault_503: 1.0, ..QUIET }).await;
    let mut client = connect(&proxy).await;
    let list = get("/b?list-type=2&prefix=x.parquet", "");
    for request in [get("/b/9.json", ""), get("/b/9.avro", ""), list, "HEAD /b/9.parquet HTTP/1.1\r\n\r\n".to_string()]
    {
        assert_eq!(client.ask(&request).await.status, 200, "{request}");
    }
    client.send(b"PUT /b/9.parquet HTTP/1.1\r\nContent-Length: 1\r\n\r\na").await;
    assert_eq!(client.answer(false).await.status, 200);
    assert_eq!(client.ask(&get("/b/9.parquet", "")).await.status, 503);
    assert_eq!(proxy.counters().fault_503, 1);
}

#[tokio::test]
async fn a_seed_gives_the_same_faults_again() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (_server, proxy) = start(Faults { fault_503: 0.3, fault_truncate: 0.3, ..QUIET }).await;
        let mut seen = Vec::new();
        for _ in 0..30 {
            let mut client = connect(&proxy).await;
            client.send(get("/b/1000.parquet", "Connection: close\r\n").as_bytes()).await;
            seen.push(client.rest().await.0);
        }
        let slow = seen.iter().filter(|answer| answer.starts_with(b"HTTP/1.1 503")).count() as u64;
        let counted = proxy.counters();
        assert!(counted.fault_503 == slow && slow > 3 && counted.fault_truncate > 3, "{counted:?}");
        runs.push(seen);
    }
    assert!(runs[0] == runs[1]);
}

#[tokio::test]
async fn while_s3_is_away_every_connection_ends() {
    let (server, proxy) = start(QUIET).await;
    let mut open = connect(&proxy).await;
    open.ask(&get("/b/9.parquet", "")).await;
    proxy.set_faults(Faults { down: true, ..proxy.faults() }).unwrap();
    assert!(open.rest().await.0.is_empty());
    let refused = Client::connect(&proxy.url()).await;
    assert!(refused.rest().await.0.is_empty());
    assert_eq!(proxy.counters().refused, 2);
    proxy.set_faults(QUIET).unwrap();
    assert_eq!(connect(&proxy).await.ask(&get("/b/9.parquet", "")).await.status, 200);
    assert_eq!(server.heads().len(), 2);
}
