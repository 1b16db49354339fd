//! A REST catalog that is not there, goes away, hangs, fails, or talks nonsense.

use std::sync::atomic::{AtomicUsize, Ordering};

use polynya_catalog::{CatalogSettings, CatalogType, Error, NamespaceIdent};

use super::stand_in::{CONFIG, Reply, StandIn, ok, refusal, table};
use super::{error_within, open, orders, set};

/// A service that answers changes in a way of its own, and everything else well.
async fn with_changes(change: impl Fn() -> Reply + Send + Sync + 'static) -> StandIn {
    StandIn::start(move |asked| match asked.method.as_str() {
        "GET" if asked.target.starts_with("/v1/config") => ok(CONFIG),
        "GET" => ok(table("s3://b/orders", "")),
        _ => change(),
    })
    .await
}

/// A service that answers reads of tables in a way of its own.
async fn with_loads(load: impl Fn() -> Reply + Send + Sync + 'static) -> StandIn {
    StandIn::start(move |asked| if asked.target.starts_with("/v1/config") { ok(CONFIG) } else { load() }).await
}

fn impatient(service: &StandIn) -> CatalogSettings {
    service.settings().with_property("rest.client.socket-timeout-ms", "500")
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let uri = format!("http://ann:hunter2@127.0.0.1:{port}");
    let catalog = open(&CatalogSettings::new(CatalogType::Rest).with_uri(uri)).await;
    let error = error_within(8, catalog.load_table(&orders()), "hunter2").await;
    assert!(matches!(error, Error::Unavailable { .. }) && error.to_string().contains("catalog lake"), "{error}");
}

#[tokio::test]
async fn a_table_that_has_not_changed_is_not_sent_again() {
    let json = |status: &str, etag: &str, body: &str| {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\netag: {etag}\r\n");
        Reply::Raw(format!("{head}content-length: {}\r\n\r\n{body}", body.len()))
    };
    let changes = std::sync::Arc::new(AtomicUsize::new(0));
    let seen = std::sync::Arc::clone(&changes);
    let service = StandIn::start(move |asked| {
        let etag = format!("\"v{}\"", seen.load(Ordering::SeqCst));
        match asked.header("if-none-match") {
            _ if asked.target.starts_with("/v1/config") => ok(CONFIG),
            Some(known) if known == etag => json("304 Not Modified", &etag, ""),
            _ => json("200 OK", &etag, &table(&format!("s3://b/orders{}", etag.trim_matches('"')), "")),
        }
    })
    .await;
    let catalog = open(&service.settings()).await;
    let location = || async { catalog.load_table(&orders()).await.unwrap().metadata.location().to_owned() };
    assert_eq!((location().await.as_str(), location().await.as_str()), ("s3://b/ordersv0", "s3://b/ordersv0"));
    changes.fetch_add(1, Ordering::SeqCst);
    assert_eq!((location().await.as_str(), location().await.as_str()), ("s3://b/ordersv1", "s3://b/ordersv1"));
}

#[tokio::test]
async fn a_service_that_comes_back_needs_no_restart() {
    let count = AtomicUsize::new(0);
    let service = StandIn::start(move |asked| match count.fetch_add(1, Ordering::SeqCst) {
        0..5 => Reply::Close,
        _ if asked.target.starts_with("/v1/config") => ok(CONFIG),
        _ => ok(table("s3://b/orders", "")),
    })
    .await;
    let catalog = open(&service.settings()).await;
    error_within(8, catalog.load_table(&orders()), "").await;
    catalog.load_table(&orders()).await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_connection_breaks_is_unknown_and_sent_once() {
    let service = with_changes(|| Reply::Close).await;
    let catalog = open(&service.settings()).await;
    let error = error_within(8, catalog.commit_table(&orders(), vec![], set("a")), "").await;
    assert!(matches!(error, Error::CommitUnknown { .. }), "{error:?}");
    assert_eq!(service.asked("POST", "/orders").len(), 1);
}

#[tokio::test]
async fn a_commit_that_fails_inside_the_service_is_unknown_and_sent_once() {
    for status in [500, 502, 504] {
        let service = with_changes(move || refusal(status, "InternalServerError")).await;
        let catalog = open(&service.settings()).await;
        let error = error_within(8, catalog.commit_table(&orders(), vec![], set("a")), "").await;
        assert!(matches!(error, Error::CommitUnknown { .. }), "{error:?}");
        assert_eq!(service.asked("POST", "/orders").len(), 1);
    }
}

#[tokio::test]
async fn a_commit_that_hangs_is_unknown() {
    let service = with_changes(|| Reply::Hang).await;
    let catalog = open(&impatient(&service)).await;
    let error = error_within(8, catalog.commit_table(&orders(), vec![], set("a")), "").await;
    assert!(matches!(error, Error::CommitUnknown { .. }), "{error:?}");
}

#[tokio::test]
async fn a_commit_that_is_redirected_or_answered_with_nonsense_is_no_success() {
    let redirect = || Reply::Raw("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned());
    let service = with_changes(redirect).await;
    let error = error_within(8, open(&service.settings()).await.commit_table(&orders(), vec![], set("a")), "").await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(service.asked("GET", "/elsewhere").is_empty());

    let service = with_changes(|| ok("<html>welcome</html>")).await;
    let error = error_within(8, open(&service.settings()).await.commit_table(&orders(), vec![], set("a")), "").await;
    assert!(matches!(error, Error::CommitUnknown { .. }), "{error:?}");
}

#[tokio::test]
async fn a_lost_commit_conflicts() {
    let service = with_changes(|| refusal(409, "CommitFailedException")).await;
    let error = error_within(8, open(&service.settings()).await.commit_table(&orders(), vec![], set("a")), "").await;
    assert!(matches!(error, Error::CommitConflict { .. }), "{error:?}");
}

#[tokio::test]
async fn a_load_that_fails_inside_the_service_is_unavailable() {
    let service = with_loads(|| refusal(500, "InternalServerError")).await;
    let error = error_within(8, open(&service.settings()).await.load_table(&orders()), "").await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_load_that_hangs_is_unavailable_in_seconds_without_any_setting() {
    let service = with_loads(|| Reply::Hang).await;
    let error = error_within(12, open(&service.settings()).await.load_table(&orders()), "").await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_load_is_tried_again_while_the_service_is_busy() {
    let count = AtomicUsize::new(0);
    let service = with_loads(move || match count.fetch_add(1, Ordering::SeqCst) {
        0 => refusal(503, "ServiceUnavailableException"),
        1 => Reply::Json(429, String::new()),
        2 => Reply::Close,
        _ => ok(table("s3://b/orders", "")),
    })
    .await;
    let loaded = open(&service.settings()).await.load_table(&orders()).await.unwrap();
    assert_eq!(loaded.metadata.location(), "s3://b/orders");
}

#[tokio::test]
async fn nonsense_is_named() {
    let service = with_loads(|| ok("{\"metadata\": 7")).await;
    let error = error_within(8, open(&service.settings()).await.load_table(&orders()), "").await;
    assert!(matches!(error, Error::Malformed { .. }) && error.to_string().contains("shop.orders"), "{error}");

    let service = StandIn::start(|_| ok("<html>hello</html>")).await;
    let error = error_within(8, open(&service.settings()).await.load_table(&orders()), "").await;
    assert!(matches!(error, Error::Malformed { .. }) && error.to_string().contains("configuration"), "{error}");

    let service = StandIn::start(|_| Reply::Json(404, "not here".to_owned())).await;
    let error = error_within(8, open(&service.settings()).await.load_table(&orders()), "").await;
    assert!(matches!(error, Error::Settings { .. }) && error.to_string().contains("catalog.lake.uri"), "{error}");
}

#[tokio::test]
async fn every_page_is_read_once_and_a_circle_is_an_error() {
    let service = StandIn::start(|asked| match asked.target.split('?').next().unwrap() {
        "/v1/config" => ok(r#"{"defaults":{"prefix":"p"},"overrides":{"namespace-separator":"%2E"}}"#),
        "/v1/p/namespaces/a.b/tables" => match asked.target.split_once("pageToken=") {
            None => ok(r#"{"identifiers":[{"namespace":["a","b"],"name":"t2"}],"next-page-token":"x y"}"#),
            Some((_, "x+y")) => ok(r#"{"identifiers":[{"namespace":["a","b"],"name":"t1"}],"next-page-token":null}"#),
            Some(_) => refusal(400, "BadRequestException"),
        },
        _ => ok(r#"{"namespaces":[["a"]],"next-page-token":"again"}"#),
    })
    .await;
    let catalog = open(&service.settings()).await;
    let tables = catalog.list_tables(&NamespaceIdent::from_strs(["a", "b"]).unwrap()).await.unwrap();
    assert_eq!(tables.iter().map(|table| table.name()).collect::<Vec<_>>(), ["t1", "t2"]);
    let error = error_within(8, catalog.list_namespaces(None), "").await;
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
}
