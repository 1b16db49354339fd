//! Credentials that a catalog vends, while a store is using them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::Utc;

use super::stand_in::{Asked, CONFIG, Reply, StandIn, ok, table};
use super::{error_within, open, orders, set};

/// An S3 that has every object, and remembers who asked.
async fn s3() -> StandIn {
    let object =
        "HTTP/1.1 200 OK\r\netag: \"x\"\r\nlast-modified: Sat, 21 Nov 2026 10:00:00 GMT\r\ncontent-length: 2\r\n\r\nhi";
    StandIn::start(move |_| Reply::Raw(object.to_owned())).await
}

/// The access key that a request was signed with.
fn key(asked: &Asked) -> String {
    let signature = asked.header("authorization").unwrap();
    signature.split_once("Credential=").unwrap().1.split('/').next().unwrap().to_owned()
}

/// A catalog whose loads vend `key-1`, `key-2`, … for so long, in `storage-credentials`.
async fn catalog(s3: &StandIn, lifetime_ms: i64) -> StandIn {
    let (given, endpoint) = (AtomicUsize::new(0), s3.uri());
    StandIn::start(move |asked| match asked.method.as_str() {
        "GET" if asked.target == "/v1/config" => ok(CONFIG),
        "GET" => {
            assert_eq!(asked.header("x-iceberg-access-delegation"), Some("vended-credentials"));
            let (number, end) = (given.fetch_add(1, Ordering::SeqCst) + 1, Utc::now().timestamp_millis() + lifetime_ms);
            ok(table(
                "s3://b/orders",
                &format!(
                    r#","config":{{"s3.endpoint":"{endpoint}","s3.region":"r","s3.access-key-id":"no","s3.secret-access-key":"s"}},
                    "storage-credentials":[{{"prefix":"s3://b/","config":{{"s3.access-key-id":"no","s3.secret-access-key":"s"}}}},
                    {{"prefix":"s3://b/orders","config":{{"s3.access-key-id":"key-{number}","s3.secret-access-key":"s",
                    "s3.session-token":"token-{number}","s3.session-token-expires-at-ms":"{end}"}}}}]"#
                ),
            ))
        }
        // A commit's answer has no credentials.
        _ => ok(table("s3://b/orders", "")),
    })
    .await
}

#[tokio::test]
async fn a_query_outlasts_the_credentials_it_began_with() {
    let s3 = s3().await;
    let service = catalog(&s3, 1500).await;
    let catalog = open(&service.settings()).await;
    let table = catalog.load_table(&orders()).await.unwrap();
    table.storage.read("s3://b/orders/data/a").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1600)).await;
    table.storage.read("s3://b/orders/data/b").await.unwrap();
    let keys: Vec<String> = s3.asked("GET", "/orders/data/").iter().map(key).collect();
    assert_eq!(keys, ["key-1", "key-2"]);
}

#[tokio::test]
async fn a_committed_table_keeps_its_credentials_and_a_load_brings_newer_ones() {
    let s3 = s3().await;
    let service = catalog(&s3, 3_600_000).await;
    let catalog = open(&service.settings()).await;
    let first = catalog.load_table(&orders()).await.unwrap();
    let committed = catalog.commit_table(&orders(), vec![], set("a")).await.unwrap();
    committed.storage.read("s3://b/orders/data/a").await.unwrap();
    let second = catalog.load_table(&orders()).await.unwrap();
    second.storage.read("s3://b/orders/data/b").await.unwrap();
    first.storage.read("s3://b/orders/data/c").await.unwrap();
    let keys: Vec<String> = s3.asked("GET", "/orders/data/").iter().map(key).collect();
    assert_eq!(keys, ["key-1", "key-2", "key-2"]);
}

#[tokio::test]
async fn another_process_is_given_the_credentials_of_now() {
    let s3 = s3().await;
    let service = catalog(&s3, 1500).await;
    let catalog = open(&service.settings()).await;
    let table = catalog.load_table(&orders()).await.unwrap();
    let given = || table.storage.properties()["s3.access-key-id"].clone();
    let left = table.storage.renew().await.unwrap().expect("they end");
    assert!(left <= Duration::from_millis(1500) && left > Duration::from_millis(300), "{left:?}");
    assert_eq!((given().as_str(), table.storage.properties()["s3.region"].as_str()), ("key-1", "r"));
    tokio::time::sleep(Duration::from_millis(1600)).await;
    assert!(table.storage.renew().await.unwrap().is_some_and(|left| !left.is_zero()));
    assert_eq!(given(), "key-2", "they had ended");
    catalog.load_table(&orders()).await.unwrap();
    assert_eq!(given(), "key-3", "a load brings newer ones to stores that are open");
}

#[tokio::test]
async fn what_a_store_says_of_a_renewed_token_is_told_without_it() {
    // As S3 does, it repeats the token that it does not accept.
    let s3 = StandIn::start(|asked| {
        let token = asked.header("x-amz-security-token").unwrap_or_default();
        let body = format!("<Error><Code>ExpiredToken</Code><Token-0>{token}</Token-0></Error>");
        Reply::Raw(format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    })
    .await;
    let service = catalog(&s3, 3_600_000).await;
    let catalog = open(&service.settings()).await;
    for number in 1..=3 {
        let table = catalog.load_table(&orders()).await.unwrap();
        let token = format!("token-{number}");
        let error = error_within(10, table.storage.read("s3://b/orders/data/a"), &token).await;
        assert!(
            s3.asked("GET", "/orders/data/")
                .iter()
                .any(|asked| asked.header("x-amz-security-token") == Some(token.as_str()))
        );
        assert!(super::with_sources(&error).contains("ExpiredToken"), "{error}");
    }
}
