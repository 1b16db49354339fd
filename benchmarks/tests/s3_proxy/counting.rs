//! What is counted of what passed.

use std::collections::BTreeMap;

use polynya_bench::s3_proxy::Faults;

use super::{connect, get, start, until};

#[tokio::test]
async fn requests_are_counted_by_kind_and_class() {
    let (server, proxy) = start(Faults::default()).await;
    let mut client = connect(&proxy).await;
    client.ask(&get("/b/5000.parquet", "Range: bytes=0-99\r\n")).await;
    client.ask(&get("/b/5000.parquet", "")).await;
    client.ask(&get("/b/300.avro", "")).await;
    client.ask(&get("/b/20.metadata.json", "")).await;
    client.ask(&get("/b?list-type=2&prefix=t", "")).await;
    for method in ["HEAD", "POST", "DELETE", "OPTIONS"] {
        client.ask(&format!("{method} /b/1.parquet HTTP/1.1\r\n\r\n")).await;
    }
    client.send(b"PUT /b/1.txt HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd").await;
    client.answer(false).await;

    let counters = proxy.counters();
    let kinds = (counters.gets, counters.lists, counters.heads, counters.puts, counters.posts, counters.deletes);
    assert_eq!((kinds, counters.others, counters.requests()), ((4, 1, 1, 1, 1, 1), 3, 10));
    assert_eq!((counters.conns, counters.upstream_conns, counters.peak, counters.ranged_gets), (1, 1, 1, 1));
    let (data, metadata, other) = (&counters.data, &counters.metadata, &counters.other);
    assert_eq!([data.requests, metadata.requests, other.requests], [6, 2, 2]);
    assert_eq!([data.gets, metadata.gets, other.gets], [2, 2, 0]);
    assert_eq!((data.ranged_gets, data.body_bytes_down, metadata.body_bytes_down), (1, 100 + 5000 + 3, 320));
    assert_eq!((other.body_bytes_up, data.body_bytes_up), (4, 0));
    assert_eq!(data.get_sizes, BTreeMap::from([(128, 1), (8192, 1)]));
    assert_eq!(metadata.get_sizes, BTreeMap::from([(32, 1), (512, 1)]));
    let heads: usize = server.heads().iter().map(String::len).sum();
    assert_eq!(counters.bytes_up, heads as u64 + 4);
    assert!(counters.bytes_down > 5420, "{}", counters.bytes_down);
}

#[tokio::test]
async fn the_peak_is_of_requests_at_one_time() {
    let (_server, proxy) = start(Faults::default()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = connect(&proxy).await;
        client.send(b"PUT /b/never-read HTTP/1.1\r\nContent-Length: 1\r\n\r\n").await;
        clients.push(client);
    }
    until(|| proxy.counters().puts == 3).await;
    assert_eq!(proxy.take_counters().peak, 3);
    // They are under way still.
    assert_eq!((proxy.counters().peak, proxy.counters().requests()), (3, 0));
    drop(clients);
}

#[tokio::test]
async fn what_a_client_gave_up_is_no_longer_under_way() {
    let (_server, proxy) = start(Faults::default()).await;
    let mut client = connect(&proxy).await;
    client.send(get("/b/1000000000.parquet", "").as_bytes()).await;
    client.head().await;
    drop(client);
    // The request leaves the books with its size when the proxy notices.
    until(|| !proxy.counters().data.get_sizes.is_empty()).await;
    proxy.take_counters();
    assert_eq!(proxy.counters().peak, 0);
}
