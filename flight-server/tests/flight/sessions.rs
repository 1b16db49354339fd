//! Handshakes, cookies, options, and what is not offered.

use arrow_flight::HandshakeRequest;
use arrow_flight::sql::{CommandStatementUpdate, ProstMessageExt};
use prost::Message;
use tonic::{Code, Request};

use crate::harness::{Harness, assert_refused, statement, text};

/// Sends `SET`/`USE`-like statements and gives the cookie that came back.
async fn update_for_cookie(harness: &mut Harness, sql: &str, cookie: Option<&str>) -> Option<String> {
    let command = CommandStatementUpdate { query: sql.to_owned(), transaction_id: None };
    let descriptor = arrow_flight::FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let message = arrow_flight::FlightData { flight_descriptor: Some(descriptor), ..Default::default() };
    let mut request = Request::new(futures::stream::iter([message]));
    if let Some(cookie) = cookie {
        request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    }
    let response = harness.raw.do_put(request).await.unwrap();
    let header = response.metadata().get("set-cookie")?.to_str().unwrap();
    header.split(';').next().map(str::to_owned)
}

#[tokio::test]
async fn use_is_remembered_by_cookie_and_forgotten_without() {
    let mut harness = Harness::start().await;
    let cookie = update_for_cookie(&mut harness, "USE lake.s", None).await.expect("USE begins a session");
    let mut request = Request::new(statement("SELECT count(*) FROM t"));
    request.metadata_mut().insert("cookie", cookie.parse().unwrap());
    let info = harness.raw.get_flight_info(request).await.unwrap().into_inner();
    assert_eq!(text(&harness.fetch(&info).await.unwrap().1), ["3"]);
    assert!(harness.info("SELECT count(*) FROM t").await.is_err());
    let again = update_for_cookie(&mut harness, "CREATE TABLE made_here (a INT)", Some(&cookie)).await;
    assert_eq!(again, None, "a known session needs no new cookie");
    assert_eq!(update_for_cookie(&mut harness, "CREATE TABLE s.more (a INT)", None).await, None);
}

#[tokio::test]
async fn a_handshake_gives_a_token_that_is_a_session() {
    let mut harness = Harness::start().await;
    let token = harness.sql.handshake("anyone", "anything").await.unwrap();
    assert!(token.len() >= 32);
    harness.update("USE lake.s").await;
    let info = harness.sql.execute("SELECT count(*) FROM t".to_owned(), None).await.unwrap();
    assert_eq!(text(&harness.fetch(&info).await.unwrap().1), ["3"]);
}

#[tokio::test]
async fn an_empty_handshake_succeeds_whatever_token_comes_with_it() {
    let mut harness = Harness::start().await;
    let mut request = Request::new(futures::stream::empty::<HandshakeRequest>());
    request.metadata_mut().insert("authorization", "Bearer something-of-their-own".parse().unwrap());
    let response = harness.raw.handshake(request).await.unwrap();
    let header = response.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
    let answer = response.into_inner().message().await.unwrap().unwrap();
    assert_eq!(header.as_bytes(), [b"Bearer ".as_slice(), &answer.payload].concat());
}

/// `SetSessionOptionsRequest` and friends, as other implementations encode them.
mod messages {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Value {
        #[prost(oneof = "Kind", tags = "1, 2, 3, 4")]
        pub(super) kind: Option<Kind>,
    }
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Kind {
        #[prost(string, tag = "1")]
        String(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(sfixed64, tag = "3")]
        Int64(i64),
        #[prost(double, tag = "4")]
        Double(f64),
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Options {
        #[prost(map = "string, message", tag = "1")]
        pub(super) options: HashMap<String, Value>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct OptionError {
        #[prost(int32, tag = "1")]
        pub(super) value: i32,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Errors {
        #[prost(map = "string, message", tag = "1")]
        pub(super) errors: HashMap<String, OptionError>,
    }
}

#[tokio::test]
async fn session_options_are_set_read_and_closed() {
    use messages::{Errors, Kind, Options, Value};
    let mut harness = Harness::start().await;
    harness.sql.handshake("anyone", "anything").await.unwrap();
    let token = harness.sql.token().cloned().unwrap();
    let text_value = |text: &str| Value { kind: Some(Kind::String(text.to_owned())) };
    let call = async |harness: &mut Harness, name: &str, body: Vec<u8>| {
        let mut request = Request::new(arrow_flight::Action::new(name, body));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut results = harness.raw.do_action(request).await.unwrap().into_inner();
        results.message().await.unwrap().unwrap().body
    };

    let wanted = [("schema", text_value("s")), ("catalog", text_value("nowhere")), ("no.such.option", text_value("x"))];
    let request = Options { options: wanted.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() };
    let errors = Errors::decode(call(&mut harness, "SetSessionOptions", request.encode_to_vec()).await).unwrap().errors;
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors["catalog"].value, 2);

    let options = Options::decode(call(&mut harness, "GetSessionOptions", vec![]).await).unwrap().options;
    assert_eq!(options["schema"], text_value("s"));
    assert_eq!(options["catalog"], text_value("lake"));
    let info = harness.sql.execute("SELECT count(*) FROM t".to_owned(), None).await.unwrap();
    harness.fetch(&info).await.unwrap();

    assert_eq!(call(&mut harness, "CloseSession", vec![]).await.as_ref(), [8, 1], "status CLOSED");
    assert!(harness.sql.execute("SELECT count(*) FROM t".to_owned(), None).await.is_err());
}

#[tokio::test]
async fn what_is_not_offered_is_unimplemented_never_internal() {
    let mut harness = Harness::start().await;
    for name in ["NoSuchAction", "BeginTransaction", "BeginSavepoint", "CreatePreparedSubstraitPlan"] {
        assert_refused(harness.action(name, vec![]).await, Code::Unimplemented, "");
    }
    let unknown =
        arrow_flight::sql::Any { type_url: "type.googleapis.com/x.Unknown".into(), value: Default::default() };
    let descriptor = arrow_flight::FlightDescriptor::new_cmd(unknown.encode_to_vec());
    assert_refused(harness.raw.get_flight_info(descriptor.clone()).await, Code::Unimplemented, "Unknown");
    assert_refused(harness.raw.get_schema(descriptor.clone()).await, Code::Unimplemented, "Unknown");
    assert_refused(harness.raw.poll_flight_info(descriptor.clone()).await, Code::Unimplemented, "GetFlightInfo");
    let message = arrow_flight::FlightData { flight_descriptor: Some(descriptor), ..Default::default() };
    let put = harness.raw.do_put(futures::stream::iter([message.clone()])).await.map(|_| ());
    assert_refused(put, Code::Unimplemented, "Unknown");
    let exchange = harness.raw.do_exchange(futures::stream::iter([message])).await.map(|_| ());
    assert_refused(exchange, Code::Unimplemented, "DoExchange");
    let flights = harness.raw.list_flights(arrow_flight::Criteria::default()).await.map(|_| ());
    assert_refused(flights, Code::Unimplemented, "CommandGetTables");
}

#[tokio::test]
async fn malformed_messages_are_invalid_arguments() {
    let mut harness = Harness::start().await;
    let garbage = arrow_flight::FlightDescriptor::new_cmd(&b"\xff\xff\xff"[..]);
    assert_refused(harness.raw.get_flight_info(garbage).await, Code::InvalidArgument, "not a valid");
    assert_refused(
        harness.action("CreatePreparedStatement", vec![1, 2, 3]).await,
        Code::InvalidArgument,
        "not a valid",
    );
    let empty = harness.raw.do_put(futures::stream::iter(Vec::<arrow_flight::FlightData>::new())).await.map(|_| ());
    assert_refused(empty, Code::InvalidArgument, "without a message");
}

#[tokio::test]
async fn actions_are_listed() {
    let mut harness = Harness::start().await;
    let mut actions = harness.raw.list_actions(arrow_flight::Empty {}).await.unwrap().into_inner();
    let mut names = Vec::new();
    while let Some(action) = actions.message().await.unwrap() {
        names.push(action.r#type);
    }
    assert!(names.contains(&"CreatePreparedStatement".to_owned()) && names.contains(&"CloseSession".to_owned()));
}
