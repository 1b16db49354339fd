//! Tokens that end, are refused, or cannot be had.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use polynya_catalog::Error;

use super::stand_in::{CONFIG, Reply, StandIn, ok, refusal, table};
use super::{error_within, open, orders, set};

/// Gives out `token-1`, `token-2`, …, each for so many seconds, and accepts what `accepts` says.
async fn service(seconds: f64, accepts: impl Fn(usize, usize) -> bool + Send + Sync + 'static) -> StandIn {
    let given = AtomicUsize::new(0);
    StandIn::start(move |asked| {
        if asked.target.contains("/oauth/tokens") {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            return ok(format!(r#"{{"access_token":"token-{number}","token_type":"bearer","expires_in":{seconds}}}"#));
        }
        let token = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer token-")?.parse().ok());
        match token {
            Some(number) if accepts(number, given.load(Ordering::SeqCst)) => match asked.target.as_str() {
                "/v1/config" => ok(CONFIG),
                _ => ok(table("s3://b/orders", "")),
            },
            _ => refusal(401, "NotAuthorizedException"),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let service = service(1.0, |number, given| number == given).await;
    let catalog = open(&service.settings().with_credential("client:hunter2")).await;
    for _ in 0..3 {
        catalog.load_table(&orders()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    assert!(service.asked("POST", "/oauth/tokens").len() >= 3);
    assert!(
        service.asked("POST", "/oauth/tokens")[0].body.contains("client_id=client&client_secret=hunter2&scope=catalog")
    );
    // The first is for the configuration, and none was ever refused.
    let refused = service.asked("GET", "/v1/namespaces").len();
    assert_eq!(refused, 3);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_sent_again() {
    // Tokens 1 to 3 are good for the configuration only: the service forgot them.
    let service = service(3600.0, |number, _| number != 2).await;
    let catalog = open(&service.settings().with_credential("client:hunter2")).await;
    catalog.load_table(&orders()).await.unwrap();
    catalog.commit_table(&orders(), vec![], set("a")).await.unwrap();
    assert!(service.asked("POST", "/orders").len() <= 2);
}

#[tokio::test]
async fn a_token_that_stays_refused_is_an_error_that_shows_no_secret() {
    let service = service(3600.0, |_, _| false).await;
    let catalog = open(&service.settings().with_credential("client:hunter2")).await;
    let error = error_within(8, catalog.load_table(&orders()), "hunter2").await;
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
    let catalog = open(&service.settings().with_property("header.x-key", "hunter2")).await;
    let error = error_within(8, catalog.load_table(&orders()), "hunter2").await;
    assert!(matches!(error, Error::AccessDenied { .. }), "{error:?}");
    assert_eq!(service.asked("GET", "/v1/config").last().unwrap().header("x-key"), Some("hunter2"));
}

#[tokio::test]
async fn a_wrong_credential_is_an_error_that_shows_no_secret() {
    let service = StandIn::start(|_| {
        Reply::Json(401, r#"{"error":"invalid_client","error_description":"hunter2 is not the secret"}"#.to_owned())
    })
    .await;
    let catalog = open(&service.settings().with_credential("client:hunter2")).await;
    let error = error_within(8, catalog.load_table(&orders()), "hunter2").await;
    assert!(matches!(error, Error::AccessDenied { .. }) && error.to_string().contains("token endpoint"), "{error}");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_leaves_a_commit_undone_for_certain() {
    let given = AtomicUsize::new(0);
    let service = StandIn::start(move |asked| match asked.target.as_str() {
        "/v1/oauth/tokens" if given.fetch_add(1, Ordering::SeqCst) == 0 => {
            ok(r#"{"access_token":"t","token_type":"bearer","expires_in":0.2}"#)
        }
        "/v1/oauth/tokens" => Reply::Json(500, String::new()),
        "/v1/config" => ok(CONFIG),
        _ => ok(table("s3://b/orders", "")),
    })
    .await;
    let catalog = open(&service.settings().with_credential("client:hunter2")).await;
    catalog.list_namespaces(None).await.ok();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = error_within(8, catalog.commit_table(&orders(), vec![], set("a")), "hunter2").await;
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(service.asked("POST", "/orders").is_empty());
}
