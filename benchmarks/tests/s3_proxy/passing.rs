//! What must not change: heads, bodies, connections that stay open.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use polynya_bench::s3_proxy::{Faults, Proxy, ProxyOptions};
use tokio::time::Instant;

use super::client::Client;
use super::stand_in::bytes;
use super::{connect, get, start};

#[tokio::test]
async fn heads_pass_byte_for_byte_in_both_directions() {
    let (server, proxy) = start(Faults::default()).await;
    let head = "GET /b/10.parquet?x-id=GetObject&a=%2F+b HTTP/1.1\r\nhOsT: bucket.s3.example:1234\r\nX-Odd:   two  spaces \r\n\
                Authorization: AWS4-HMAC-SHA256 SignedHeaders=host;x-odd\r\n\r\n";
    let answer = connect(&proxy).await.ask(head).await;
    assert_eq!(server.heads(), [head]);
    assert_eq!(answer.head, "HTTP/1.1 200 OK\r\nx-amz-Request-ID: 1\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(answer.body, bytes(0, 10));
}

#[tokio::test]
async fn both_connections_serve_many_requests() {
    let (server, proxy) = start(Faults::default()).await;
    for _ in 0..2 {
        let mut client = connect(&proxy).await;
        for length in [0, 1, 1000, 200_000] {
            assert_eq!(client.ask(&get(&format!("/b/{length}.parquet"), "")).await.body, bytes(0, length));
            let chunked = client.ask(&get(&format!("/b/chunked-{length}.parquet"), "")).await;
            assert!(chunked.body.ends_with(b"0\r\n\r\n") && chunked.body.len() as u64 > length);
            let head = client.ask("HEAD /b/77.parquet HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!((head.header("content-length"), head.body.len()), (Some("77"), 0));
        }
    }
    let counters = proxy.counters();
    assert_eq!((counters.conns, counters.upstream_conns, counters.upstream_errors), (2, 1, 0));
    assert_eq!(server.seen.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_dead_pooled_connection_is_replaced() {
    let (_server, proxy) = start(Faults::default()).await;
    let mut client = connect(&proxy).await;
    for _ in 0..5 {
        assert_eq!(client.ask(&get("/b/hangs-up", "")).await.status, 200);
    }
    assert_eq!((proxy.counters().upstream_errors, proxy.counters().conns), (0, 1));
}

#[tokio::test]
async fn uploads_pass_by_length_by_chunks_and_after_100_continue() {
    let (_server, proxy) = start(Faults::default()).await;
    let mut client = connect(&proxy).await;
    let body = bytes(0, 3_000_000);
    let sum: u64 = body.iter().map(|&byte| u64::from(byte)).sum();
    let put = |headers: &str| format!("PUT /b/up.parquet HTTP/1.1\r\nHost: x\r\n{headers}\r\n");

    client.send(put(&format!("Content-Length: {}\r\n", body.len())).as_bytes()).await;
    client.send(&body).await;
    let plain = client.answer(false).await;

    client.send(put("Transfer-Encoding: chunked\r\n").as_bytes()).await;
    for piece in body.chunks(100_000) {
        client.send(format!("{:x};chunk-signature=00\r\n", piece.len()).as_bytes()).await;
        client.send(piece).await;
        client.send(b"\r\n").await;
    }
    client.send(b"0;chunk-signature=00\r\n\r\n").await;
    let chunked = client.answer(false).await;

    client.send(put(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", body.len())).as_bytes()).await;
    assert_eq!(client.head().await.0, 100);
    client.send(&body).await;
    let expected = client.answer(false).await;

    for answer in [plain, chunked, expected] {
        let said = (answer.status, answer.header("x-bytes"), answer.header("x-sum"));
        assert_eq!(said, (200, Some("3000000"), Some(sum.to_string().as_str())));
    }
    assert_eq!((proxy.counters().puts, proxy.counters().conns, proxy.counters().upstream_conns), (3, 1, 1));
}

#[tokio::test]
async fn a_refusal_before_the_upload_reaches_the_client() {
    let (_server, proxy) = start(Faults::default()).await;
    let head = "PUT /b/denied HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n";
    let mut patient = connect(&proxy).await;
    patient.send(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes()).await;
    assert_eq!(patient.answer(false).await.status, 403);
    let (rest, end) = patient.rest().await;
    assert!(rest.is_empty() && end.is_ok());
}

#[tokio::test]
async fn an_upstream_that_is_away_is_a_bad_gateway() {
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let proxy = Proxy::start(ProxyOptions::new(upstream)).await.unwrap();
    let answer = connect(&proxy).await.ask(&get("/b/1.parquet", "")).await;
    assert_eq!((answer.status, proxy.counters().upstream_errors), (502, 1));
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let (server, proxy) = start(Faults::default()).await;
    let answer = connect(&proxy).await.ask("\u{1}\u{2} nonsense\r\n\r\n").await;
    assert_eq!((answer.status, server.heads().len()), (400, 0));
}

#[tokio::test]
async fn latency_is_added_to_each_request() {
    let (_server, proxy) = start(Faults { latency_ms: 40, ..Faults::default() }).await;
    let (mut client, begin) = (connect(&proxy).await, Instant::now());
    for _ in 0..3 {
        client.ask(&get("/b/1.json", "")).await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(120), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn bandwidth_holds_over_all_requests_of_a_connection() {
    let (_server, proxy) = start(Faults { bandwidth_bytes_per_s: 2_000_000, ..Faults::default() }).await;
    let (mut client, begin) = (connect(&proxy).await, Instant::now());
    for _ in 0..4 {
        assert_eq!(client.ask(&get("/b/200000.parquet", "")).await.body.len(), 200_000);
    }
    assert!(begin.elapsed() >= Duration::from_millis(390), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_dropped_proxy_listens_no_more() {
    let (_server, proxy) = start(Faults::default()).await;
    let (url, mut client) = (proxy.url(), connect(&proxy).await);
    client.ask(&get("/b/1.parquet", "")).await;
    proxy.stop().await;
    assert!(client.rest().await.0.is_empty());
    let address = url.strip_prefix("http://").unwrap().to_string();
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let (_server, proxy) = start(Faults::default()).await;
    let client = Client::connect(&proxy.url()).await;
    drop(proxy);
    assert!(client.rest().await.0.is_empty());
}
