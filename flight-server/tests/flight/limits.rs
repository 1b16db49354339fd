//! Headers and messages as large as clients send them, and health.

use bytesize::ByteSize;
use polynya_flight_server::ServerSettings;
use polynya_flight_server::settings::{AuthSettings, TokenSettings};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Harness, assert_refused, connect, statement};

#[tokio::test]
async fn sixty_four_kibibytes_of_headers_are_fine() {
    let mut harness = Harness::start().await;
    let mut request = Request::new(statement("SELECT 1"));
    for index in 0..8 {
        let name: tonic::metadata::MetadataKey<_> = format!("x-header-{index}").parse().unwrap();
        request.metadata_mut().insert(name, "v".repeat(8 * 1024).parse().unwrap());
    }
    harness.raw.get_flight_info(request).await.unwrap();
}

#[tokio::test]
async fn messages_above_the_limit_are_refused_and_below_it_accepted() {
    let settings = ServerSettings { max_message_bytes: ByteSize::mib(1), ..ServerSettings::default() };
    let mut harness = Harness::start_with(settings).await;
    let long = |kib: usize| format!("SELECT length('{}')", "x".repeat(kib * 1024));
    assert_eq!(harness.rows(&long(512)).await, [(512 * 1024).to_string()]);
    let refused = harness.info(&long(2048)).await;
    assert!(matches!(refused.as_ref().unwrap_err().code(), Code::OutOfRange | Code::ResourceExhausted), "{refused:?}");
}

#[tokio::test]
async fn unfetched_results_are_limited() {
    let settings = ServerSettings { pending_results_max: 2, ..ServerSettings::default() };
    let mut harness = Harness::start_empty(settings).await;
    harness.info("SELECT 1").await.unwrap();
    harness.info("SELECT 1").await.unwrap();
    assert_refused(harness.info("SELECT 1").await, Code::ResourceExhausted, "server.pending_results_max");
}

#[tokio::test]
async fn one_user_does_not_fill_what_all_share() {
    let folder = tempfile::tempdir().unwrap();
    let mut auth = AuthSettings::default();
    for user in ["ann", "bob"] {
        let file = folder.path().join(user);
        std::fs::write(&file, format!("the-fixed-token-of-{user}")).unwrap();
        auth.token.insert(user.to_owned(), TokenSettings { file: Some(file), ..TokenSettings::default() });
    }
    let settings = ServerSettings { pending_results_max: 8, sessions_max: 8, auth, ..ServerSettings::default() };
    let harness = Harness::start_empty(settings).await;
    let ask = async |user: &str, sql: &str| -> Result<(), Status> {
        let mut request = Request::new(statement(sql));
        request.metadata_mut().insert("authorization", format!("Bearer the-fixed-token-of-{user}").parse().unwrap());
        harness.raw.clone().get_flight_info(request).await.map(drop)
    };
    for _ in 0..2 {
        ask("ann", "SELECT 1").await.unwrap();
    }
    assert_refused(ask("ann", "SELECT 1").await, Code::ResourceExhausted, "server.user_share");
    ask("bob", "SELECT 1").await.unwrap();
    // What has no rows makes way for itself; the session that it changes is kept.
    for _ in 0..2 {
        ask("bob", "SET polynya.cache = 'off'").await.unwrap();
    }
    let refused = ask("bob", "SET polynya.cache = 'off'").await;
    assert_refused(refused, Code::ResourceExhausted, "user bob has 2 sessions");
}

#[tokio::test]
async fn health_is_answered() {
    let harness = Harness::start_empty(ServerSettings::default()).await;
    let mut health = HealthClient::new(connect(&harness.server).await);
    for service in ["", "arrow.flight.protocol.FlightService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "SERVING");
    }
}
