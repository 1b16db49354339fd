//! The S3 proxy between a raw client and a stand-in server, in this process. Times are checked from below only.

#![allow(missing_docs, clippy::unwrap_used)]

mod cli;
mod client;
mod control;
mod counting;
mod faults;
mod passing;
mod stand_in;
mod streaming;

use polynya_bench::s3_proxy::{Faults, Proxy, ProxyOptions};

use client::Client;
use stand_in::StandIn;

/// A proxy with these faults before a stand-in server.
async fn start(faults: Faults) -> (StandIn, Proxy) {
    let server = StandIn::start().await;
    let options = ProxyOptions::new(server.url()).with_faults(faults).with_seed(7);
    let proxy = Proxy::start(options).await.unwrap();
    (server, proxy)
}

async fn connect(proxy: &Proxy) -> Client {
    Client::connect(&proxy.url()).await
}

/// The head of a GET request, with these header lines.
fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: bucket.example:1\r\n{headers}\r\n")
}

/// Waits for what happens soon, though not at a certain time.
async fn until(condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "it does not happen");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
