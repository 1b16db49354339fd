//! What a worker answers to whom, and pages between two of them.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::super::channels::Presence;
use super::super::peers::progress_of;
use super::super::provisioner::Unfit;
use super::*;
use crate::Settings;
use crate::io::{FileKey, PageKey, PeerPages};

/// Any call, as far as the check of the secret is concerned.
#[derive(Clone, Copy, PartialEq, Message)]
struct Anything {}

const CALLS: [&str; 8] = [
    "/worker.WorkerService/CoordinatorChannel",
    "/worker.WorkerService/ExecuteTask",
    "/worker.WorkerService/GetWorkerInfo",
    "/polynya.Exchange/Take",
    "/polynya.Peer/Summary",
    "/polynya.Peer/Pages",
    "/polynya.Peer/Keep",
    "/polynya.Peer/Progress",
];

async fn worker(secret: &Secret) -> (Arc<Engine>, Arc<WorkerService>, Url) {
    let engine = Engine::start(Settings::default()).await.unwrap();
    let service = Arc::new(WorkerService::new(&engine, secret));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(service.serve(listener, CancellationToken::new()));
    (engine, service, url)
}

async fn code_of(url: &Url, path: &'static str, secret: Option<&str>) -> Code {
    let channel = Channel::from_shared(url.to_string()).unwrap().connect().await.unwrap();
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let mut call = Request::new(futures::stream::iter([Anything {}]));
    if let Some(secret) = secret {
        call.metadata_mut().insert("x-polynya-cluster-secret", secret.parse().unwrap());
    }
    let codec = ProstCodec::<Anything, Anything>::default();
    let answer = client.streaming(call, PathAndQuery::from_static(path), codec).await;
    match answer {
        Ok(answer) => answer.into_inner().message().await.err().map_or(Code::Ok, |status| status.code()),
        Err(status) => status.code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_without_the_secret_is_refused() {
    let secret = Secret::random();
    let (_engine, _service, url) = worker(&secret).await;
    for path in CALLS {
        for wrong in [None, Some(""), Some("guessed"), Some(&secret.reveal()[1..])] {
            assert_eq!(code_of(&url, path, wrong).await, Code::Unauthenticated, "{path} with {wrong:?}");
        }
        assert_ne!(code_of(&url, path, Some(secret.reveal())).await, Code::Unauthenticated, "{path}");
    }
    assert!(Channels::new(secret).answers(&url, Duration::from_secs(5)).await);
    let stranger = Channels::new(Secret::random()).presence(&url, Duration::from_secs(5)).await;
    assert_eq!(stranger, Presence::Unfit(Unfit::WrongSecret));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_come_from_peers_and_are_handed_over() {
    let secret = Secret::random();
    let (one, service, url) = worker(&secret).await;
    let file = FileKey { name: Arc::from("s3://bucket/data.parquet"), size_bytes: 1 << 30 };
    let page = |number: u64| PageKey::new(&file, &(number * 100..number * 100 + 100));
    let bytes = Bytes::from(vec![7; 100]);
    let cache = |engine: &Arc<Engine>| Arc::clone(&engine.scan_caches().data.pages.cache);
    for number in 0..50 {
        cache(&one).insert(&page(number), &bytes);
    }
    cache(&one).insert(&PageKey::footer(&file), &Bytes::from_static(b"a footer"));

    let known = |urls: Vec<Url>| Known { directory: Directory::new(Channels::new(secret.clone())), urls };
    let nobody = Url::parse("http://127.0.0.1:9/").unwrap();
    let wanted = [page(3), page(70), PageKey::footer(&file), page(49)];
    let mut got = known(vec![nobody.clone(), url.clone()]).get(&wanted, Duration::from_secs(5)).await;
    got.sort_by_key(|(key, _)| key.start);
    let expected = [
        (page(3), bytes.clone()),
        (page(49), bytes.clone()),
        (PageKey::footer(&file), Bytes::from_static(b"a footer")),
    ];
    assert_eq!(got, expected);
    assert!(known(vec![nobody]).get(&wanted, Duration::from_secs(5)).await.is_empty());
    let foreign = Known { directory: Directory::new(Channels::new(Secret::random())), urls: vec![url.clone()] };
    assert!(foreign.get(&wanted, Duration::from_secs(5)).await.is_empty(), "a peer gave pages to a stranger");

    // What drains leaves its pages to those it knows, and none to itself: it knows its own address as a peer's.
    let (two, _service, other) = worker(&secret).await;
    let known = Known { directory: Arc::clone(&service.directory), urls: vec![other, url] };
    assert!(known.get(&wanted, Duration::from_secs(5)).await.is_empty());
    service.drain().await;
    assert!((0..50).all(|number| cache(&two).knows(&page(number))) && cache(&two).knows(&PageKey::footer(&file)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_workers_that_drain_at_once_each_leaves_its_pages_to_one_that_stays() {
    let secret = Secret::random();
    let mut workers = Vec::new();
    for _ in 0..4 {
        workers.push(worker(&secret).await);
    }
    let urls: Vec<Url> = workers.iter().map(|(_, _, url)| url.clone()).collect();
    let page = |worker: usize, number: u64| {
        let file = FileKey { name: Arc::from(format!("s3://bucket/{worker}-{number}.parquet")), size_bytes: 1 << 30 };
        PageKey::new(&file, &(0..100))
    };
    let knows = |worker: usize, key: &PageKey| workers[worker].0.scan_caches().data.pages.cache.knows(key);
    for (number, (engine, service, _)) in workers.iter().enumerate() {
        service.directory.hears_of(&urls);
        for file in 0..20 {
            engine.scan_caches().data.pages.cache.insert(&page(number, file), &Bytes::from(vec![7; 100]));
        }
    }
    // The fourth stays. The first three take no tasks any more before any of them looks around.
    for (_, service, _) in &workers[..3] {
        service.tasks.drain().await;
    }
    futures::future::join_all(workers[..3].iter().map(|(_, service, _)| service.drain())).await;
    for (from, file) in (0..3).flat_map(|from| (0..20).map(move |file| (from, file))) {
        let key = page(from, file);
        assert!(knows(3, &key), "page {file} of worker {from} was given to nobody who stays");
        assert!((0..3).all(|other| other == from || !knows(other, &key)), "it was given to one that ends, too");
    }
    // When all end, nobody waits for somebody who takes the pages.
    let begun = std::time::Instant::now();
    workers[3].1.drain().await;
    assert!(begun.elapsed() < HAND_OVER_TIME, "{:?}", begun.elapsed());
    assert!((0..3).all(|other| !knows(other, &page(3, 0))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_tells_how_much_an_attempt_has_begun_to_read() {
    let secret = Secret::random();
    let (_engine, service, url) = worker(&secret).await;
    let channels = Channels::new(secret);
    assert!(channels.answers(&url, Duration::from_secs(5)).await);
    let tasks = [service.begun.counter("query", 1), service.begun.counter("query", 1)];
    for task in &tasks {
        task.fetch_add(21, std::sync::atomic::Ordering::Relaxed);
    }
    let begun = async |url: &Url, attempt| progress_of(&channels, url, "query", attempt).await.map(|(bytes, _)| bytes);
    assert_eq!(begun(&url, 1).await, Some(42));
    assert_eq!(begun(&url, 2).await, Some(0), "the query begins again");
    let nobody = Url::parse("http://127.0.0.1:9/").unwrap();
    assert_eq!(begun(&nobody, 1).await, None);
}
