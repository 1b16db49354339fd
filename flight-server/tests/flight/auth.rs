//! Who may call: every call with every kind of wrong credentials, logins, and what belongs to another user.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use argon2::{Argon2, PasswordHasher};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas,
    CommandGetExportedKeys, CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes,
    CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementSubstraitPlan, CommandStatementUpdate,
    ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    Action, BasicAuth, CancelFlightInfoRequest, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket,
};
use base64::Engine as _;
use futures::{TryStreamExt, stream};
use polynya_flight_server::ServerSettings;
use polynya_flight_server::settings::{AuthSettings, TokenSettings};
use prost::Message;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::cancelling::ENDLESS;
use crate::harness::{Harness, assert_refused, connect, eventually, statement, text, ticket};
use crate::issuer::Issuer;

const RPCS: [&str; 10] = [
    "Handshake",
    "ListFlights",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoPut",
    "DoExchange",
    "DoAction",
    "ListActions",
];
/// Flight's actions and Flight SQL's, and one that nobody knows.
const ACTIONS: [&str; 14] = [
    "CreatePreparedStatement",
    "CreatePreparedSubstraitPlan",
    "ClosePreparedStatement",
    "CancelFlightInfo",
    "CancelQuery",
    "RenewFlightEndpoint",
    "SetSessionOptions",
    "GetSessionOptions",
    "CloseSession",
    "BeginTransaction",
    "EndTransaction",
    "BeginSavepoint",
    "EndSavepoint",
    "Unknown",
];
const PASSWORD: &str = "correct horse battery staple";

/// A server with users ann and bob, each with a fixed token and the same password, and with an issuer of tokens.
struct Guarded {
    harness: Harness,
    issuer: Issuer,
    folder: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let (issuer, folder) = (Issuer::start().await, tempfile::tempdir().unwrap());
        write_users(folder.path(), &[("ann", PASSWORD), ("bob", PASSWORD)]);
        let mut token = BTreeMap::new();
        for user in ["ann", "bob"] {
            std::fs::write(folder.path().join(user), fixed_token(user)).unwrap();
            token.insert(user.to_owned(), TokenSettings { file: Some(folder.path().join(user)), ..Default::default() });
        }
        let users_file = Some(folder.path().join("users"));
        let auth = AuthSettings { users_file, token, jwt: Some(issuer.settings()) };
        let mut harness = Harness::start_empty(ServerSettings { auth, ..ServerSettings::default() }).await;
        harness.sql.set_token(fixed_token("ann"));
        harness.update("CREATE SCHEMA s").await;
        harness.update("CREATE TABLE s.t (id BIGINT)").await;
        Self { harness, issuer, folder }
    }

    async fn call(&mut self, rpc: &str, authorization: Option<&str>) -> Result<(), Status> {
        call(&mut self.harness.raw, rpc, authorization).await
    }
}

fn fixed_token(user: &str) -> String {
    format!("the-fixed-token-of-{user}")
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Writes the users' file, with hashes that are quick to check.
pub(crate) fn write_users(folder: &Path, users: &[(&str, &str)]) {
    let params = argon2::Params::new(64, 1, 1, None).unwrap();
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let salt = argon2::password_hash::SaltString::encode_b64(b"salt of the test").unwrap();
    let line = |(user, password): &(&str, &str)| {
        format!("{user}:{}\n", argon2.hash_password(password.as_bytes(), &salt).unwrap())
    };
    std::fs::write(folder.join("users"), users.iter().map(line).collect::<String>()).unwrap();
}

pub(crate) fn with<T>(message: T, authorization: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    }
    request
}

async fn call(raw: &mut FlightServiceClient<Channel>, rpc: &str, shown: Option<&str>) -> Result<(), Status> {
    let messages = || stream::iter([FlightData::default()]);
    match rpc {
        "Handshake" => {
            let requests = stream::iter([HandshakeRequest::default()]);
            raw.handshake(with(requests, shown)).await.map(drop)
        }
        "ListFlights" => raw.list_flights(with(Criteria::default(), shown)).await.map(drop),
        "GetFlightInfo" => raw.get_flight_info(with(statement("SELECT 1"), shown)).await.map(drop),
        "PollFlightInfo" => raw.poll_flight_info(with(statement("SELECT 1"), shown)).await.map(drop),
        "GetSchema" => raw.get_schema(with(statement("SELECT 1"), shown)).await.map(drop),
        "DoGet" => raw.do_get(with(Ticket::default(), shown)).await.map(drop),
        "DoPut" => raw.do_put(with(messages(), shown)).await.map(drop),
        "DoExchange" => raw.do_exchange(with(messages(), shown)).await.map(drop),
        "DoAction" => raw.do_action(with(Action::new("GetSessionOptions", vec![]), shown)).await.map(drop),
        "ListActions" => raw.list_actions(with(Empty {}, shown)).await.map(drop),
        other => panic!("there is no call {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_refuses_whoever_shows_nothing_or_something_wrong() {
    let mut guarded = Guarded::start().await;
    let mut wrong: Vec<(&str, String)> = guarded.issuer.bad_tokens("ann");
    wrong = wrong.into_iter().map(|(what, token)| (what, bearer(&token))).collect();
    wrong.push(("a token that nobody gave out", bearer("0123456789abcdef0123456789abcdef")));
    wrong.push(("a scheme that nobody knows", "Digest abc".to_owned()));
    wrong.push(("no Base64", "Basic %%%".to_owned()));
    for (number, rpc) in RPCS.into_iter().enumerate() {
        assert_refused(guarded.call(rpc, None).await, Code::Unauthenticated, "");
        // Another user each time, since one who fails often must wait.
        let guess = basic(&format!("user {number}"), "guess");
        assert_refused(guarded.call(rpc, Some(&guess)).await, Code::Unauthenticated, "password is wrong");
        for (what, shown) in &wrong {
            let Err(refused) = guarded.call(rpc, Some(shown)).await else { panic!("{rpc} takes {what}") };
            assert_eq!(refused.code(), Code::Unauthenticated, "{rpc} with {what}: {refused:?}");
            assert!(!refused.message().contains(shown.as_str()), "{refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_lets_in_who_shows_something_right() {
    let mut guarded = Guarded::start().await;
    let token = guarded.issuer.token("carol");
    for shown in [basic("ann", PASSWORD), bearer(&fixed_token("bob")), bearer(&token)] {
        for rpc in RPCS {
            if let Err(refused) = guarded.call(rpc, Some(&shown)).await {
                let code = refused.code();
                assert!(!matches!(code, Code::Unauthenticated | Code::Internal | Code::Unknown), "{rpc}: {refused:?}");
            }
        }
    }
}

/// Flight SQL's commands, one that nobody knows, and no command at all.
fn commands() -> Vec<Vec<u8>> {
    vec![
        packed(&CommandGetCatalogs {}),
        packed(&CommandGetCrossReference::default()),
        packed(&CommandGetDbSchemas::default()),
        packed(&CommandGetExportedKeys::default()),
        packed(&CommandGetImportedKeys::default()),
        packed(&CommandGetPrimaryKeys::default()),
        packed(&CommandGetSqlInfo::default()),
        packed(&CommandGetTableTypes {}),
        packed(&CommandGetTables::default()),
        packed(&CommandGetXdbcTypeInfo::default()),
        packed(&CommandPreparedStatementQuery::default()),
        packed(&CommandPreparedStatementUpdate::default()),
        packed(&CommandStatementIngest { table: "t".to_owned(), ..CommandStatementIngest::default() }),
        packed(&CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None }),
        packed(&CommandStatementSubstraitPlan::default()),
        packed(&CommandStatementUpdate { query: "CREATE SCHEMA made".to_owned(), transaction_id: None }),
        packed(&TicketStatementQuery::default()),
        Any { type_url: "type.googleapis.com/x.Unknown".to_owned(), value: Vec::new().into() }.encode_to_vec(),
        b"\xff\xff\xff".to_vec(),
    ]
}

fn packed(message: &impl ProstMessageExt) -> Vec<u8> {
    message.as_any().encode_to_vec()
}

/// A message of DoPut that carries a command and nothing else.
fn put(command: Vec<u8>) -> FlightData {
    FlightData { flight_descriptor: Some(FlightDescriptor::new_cmd(command)), ..FlightData::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_and_no_action_is_looked_at_before_its_caller() {
    let mut guarded = Guarded::start().await;
    // What another server takes, whose issuer has the same keys.
    let mut elsewhere = Guarded::start().await;
    let handshake = stream::iter([HandshakeRequest::default()]);
    let login = given(&elsewhere.harness.raw.handshake(with(handshake, Some(&basic("ann", PASSWORD)))).await.unwrap());
    let signed = bearer(&elsewhere.issuer.token("ann"));
    for shown in [&login, &signed] {
        elsewhere.call("GetSchema", Some(shown)).await.unwrap();
    }
    let raw = &mut guarded.harness.raw;
    for shown in [None, Some(login.as_str()), Some(signed.as_str())] {
        for command in commands() {
            let descriptor = || FlightDescriptor::new_cmd(command.clone());
            for refused in [
                raw.get_flight_info(with(descriptor(), shown)).await.map(drop),
                raw.get_schema(with(descriptor(), shown)).await.map(drop),
                raw.poll_flight_info(with(descriptor(), shown)).await.map(drop),
                raw.do_get(with(Ticket::new(command.clone()), shown)).await.map(drop),
                raw.do_put(with(stream::iter([put(command.clone())]), shown)).await.map(drop),
            ] {
                assert_refused(refused, Code::Unauthenticated, "");
            }
        }
        for action in ACTIONS {
            let refused = raw.do_action(with(Action::new(action, vec![]), shown)).await.map(drop);
            assert_refused(refused, Code::Unauthenticated, "");
        }
    }
    let right = bearer(&fixed_token("ann"));
    for action in ACTIONS {
        if let Err(status) = raw.do_action(with(Action::new(action, vec![]), Some(&right))).await {
            assert!(matches!(status.code(), Code::InvalidArgument | Code::Unimplemented), "{action}: {status:?}");
        }
    }
    let schemas = guarded.harness.sql.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap();
    let messages = guarded.harness.sql.do_get(ticket(&schemas)).await.unwrap();
    let schemas: Vec<_> = messages.try_collect().await.unwrap();
    assert!(!text(&schemas).concat().contains("made"), "nobody let in made a schema");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_authorizations_are_none_and_the_old_header_is_checked_as_the_new_one() {
    let mut guarded = Guarded::start().await;
    let raw = &mut guarded.harness.raw;
    let mut twice = with(statement("SELECT 1"), Some(&bearer(&fixed_token("ann"))));
    twice.metadata_mut().append("authorization", bearer(&fixed_token("bob")).parse().unwrap());
    assert_refused(raw.get_flight_info(twice).await, Code::Unauthenticated, "more than one");
    for (token, is_right) in [(fixed_token("ann"), true), ("nobody's".to_owned(), false), (String::new(), false)] {
        let mut request = with(statement("SELECT 1"), None);
        request.metadata_mut().insert_bin("auth-token-bin", MetadataValue::from_bytes(token.as_bytes()));
        match raw.get_flight_info(request).await {
            Ok(_) => assert!(is_right, "{token}"),
            Err(status) => assert!(!is_right && status.code() == Code::Unauthenticated, "{token}: {status:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn little_is_read_of_a_caller_who_has_not_said_who_it_is() {
    let mut guarded = Guarded::start().await;
    let raw = &mut guarded.harness.raw;
    for (length, code) in [(5_000, Code::Unauthenticated), (20_000, Code::OutOfRange)] {
        let payload = BasicAuth { username: "ann".into(), password: "x".repeat(length) }.encode_to_vec().into();
        let requests = stream::iter([HandshakeRequest { protocol_version: 0, payload }]);
        let refused = raw.handshake(requests).await.map(drop);
        assert_refused(refused, code, "");
    }
}

/// The user that the server sees.
async fn user(raw: &mut FlightServiceClient<Channel>, shown: &str) -> Result<String, Status> {
    let sql = "SELECT \"user\" FROM system.queries WHERE state <> 'FINISHED' ORDER BY started_at DESC LIMIT 1";
    let info = raw.get_flight_info(with(statement(sql), Some(shown))).await?.into_inner();
    let messages = raw.do_get(with(ticket(&info), Some(shown))).await?.into_inner();
    let stream = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages.map_err(Into::into));
    let batches: Vec<_> = stream.try_collect().await.map_err(Status::from)?;
    Ok(text(&batches).remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_knows_who_asks() {
    let mut guarded = Guarded::start().await;
    let carol = bearer(&guarded.issuer.token("carol"));
    let raw = &mut guarded.harness.raw;
    assert_eq!(user(raw, &carol).await.unwrap(), "carol");
    assert_eq!(user(raw, &bearer(&fixed_token("bob"))).await.unwrap(), "bob");
    assert_eq!(user(raw, &basic("ann", PASSWORD)).await.unwrap(), "ann");
}

/// The bearer token that a handshake gave.
pub(crate) fn given<T>(response: &Response<T>) -> String {
    response.metadata().get("authorization").unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_becomes_a_token_that_lasts_until_it_is_closed() {
    let mut guarded = Guarded::start().await;
    let raw = &mut guarded.harness.raw;
    let handshake = || stream::iter([HandshakeRequest::default()]);
    let response = raw.handshake(with(handshake(), Some(&basic("ann", PASSWORD)))).await.unwrap();
    let login = given(&response);
    assert_eq!(user(raw, &login).await.unwrap(), "ann");
    let again = raw.handshake(with(handshake(), Some(&login))).await.unwrap();
    assert_eq!(given(&again), login);
    let other = raw.handshake(with(handshake(), Some(&basic("ann", PASSWORD)))).await.unwrap();
    assert_ne!(given(&other), login, "each login is its own");
    raw.do_action(with(Action::new("CloseSession", vec![]), Some(&login))).await.unwrap();
    assert_refused(user(raw, &login).await, Code::Unauthenticated, "");
    assert!(user(raw, &given(&other)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_handshake_with_a_token_succeeds_and_gives_it_back() {
    let mut guarded = Guarded::start().await;
    let (fixed, signed) = (bearer(&fixed_token("ann")), bearer(&guarded.issuer.token("ann")));
    for shown in [fixed, signed] {
        let empty = stream::empty::<HandshakeRequest>();
        let response = guarded.harness.raw.handshake(with(empty, Some(&shown))).await.unwrap();
        assert_eq!(given(&response), shown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_log_in_with_a_message_are_understood() {
    let mut guarded = Guarded::start().await;
    let raw = &mut guarded.harness.raw;
    let request = |password: &str| {
        let payload = BasicAuth { username: "ann".into(), password: password.into() }.encode_to_vec().into();
        stream::iter([HandshakeRequest { protocol_version: 0, payload }])
    };
    assert_refused(raw.handshake(request("wrong")).await.map(drop), Code::Unauthenticated, "password is wrong");
    let answer = raw.handshake(request(PASSWORD)).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let mut call = Request::new(statement("SELECT 1"));
    let token = MetadataValue::from_bytes(&answer.payload);
    call.metadata_mut().insert_bin("auth-token-bin", token);
    raw.get_flight_info(call).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_must_wait_and_others_need_not() {
    let mut guarded = Guarded::start().await;
    for _ in 0..4 {
        let refused = guarded.call("GetSchema", Some(&basic("ann", "guess"))).await;
        assert_refused(refused, Code::Unauthenticated, "password is wrong");
    }
    for password in ["guess", PASSWORD] {
        let refused = guarded.call("GetSchema", Some(&basic("ann", password))).await;
        assert_refused(refused, Code::ResourceExhausted, "wait");
    }
    guarded.call("GetSchema", Some(&basic("bob", PASSWORD))).await.unwrap();
    guarded.call("GetSchema", Some(&bearer(&fixed_token("ann")))).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    guarded.call("GetSchema", Some(&basic("ann", PASSWORD))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_when_its_user_is_gone() {
    let mut guarded = Guarded::start().await;
    let handshake = stream::iter([HandshakeRequest::default()]);
    let login = given(&guarded.harness.raw.handshake(with(handshake, Some(&basic("ann", PASSWORD)))).await.unwrap());
    guarded.call("GetSchema", Some(&login)).await.unwrap();
    write_users(guarded.folder.path(), &[("bob", PASSWORD)]);
    for _ in 0..100 {
        if guarded.call("GetSchema", Some(&login)).await.is_err() {
            let refused = guarded.call("GetSchema", Some(&basic("ann", PASSWORD))).await;
            assert_refused(refused, Code::Unauthenticated, "");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the login outlived its user");
}

/// What another user may not have, though its name became known.
#[tokio::test(flavor = "multi_thread")]
async fn handles_tickets_polls_and_cookies_of_another_user_are_good_for_nothing() {
    let mut guarded = Guarded::start().await;
    let (ann, bob) = (bearer(&fixed_token("ann")), bearer(&fixed_token("bob")));
    let raw = &mut guarded.harness.raw;

    let request = ActionCreatePreparedStatementRequest { query: "SELECT 1".to_owned(), transaction_id: None };
    let action = Action::new("CreatePreparedStatement", request.as_any().encode_to_vec());
    let mut results = raw.do_action(with(action, Some(&ann))).await.unwrap().into_inner();
    let any = Any::decode(results.message().await.unwrap().unwrap().body).unwrap();
    let prepared: ActionCreatePreparedStatementResult = any.unpack().unwrap().unwrap();
    let handle = prepared.prepared_statement_handle;
    let query = packed(&CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() });
    let update = packed(&CommandPreparedStatementUpdate { prepared_statement_handle: handle.clone() });
    let descriptor = FlightDescriptor::new_cmd(query.clone());
    let request = ActionClosePreparedStatementRequest { prepared_statement_handle: handle };
    let close = Action::new("ClosePreparedStatement", packed(&request));
    raw.do_action(with(close, Some(&bob))).await.unwrap();
    for foreign in [
        raw.get_flight_info(with(descriptor.clone(), Some(&bob))).await.map(drop),
        raw.get_schema(with(descriptor.clone(), Some(&bob))).await.map(drop),
        raw.poll_flight_info(with(descriptor.clone(), Some(&bob))).await.map(drop),
        raw.do_get(with(Ticket::new(query.clone()), Some(&bob))).await.map(drop),
        raw.do_put(with(stream::iter([put(query)]), Some(&bob))).await.map(drop),
        raw.do_put(with(stream::iter([put(update)]), Some(&bob))).await.map(drop),
    ] {
        assert_refused(foreign, Code::NotFound, "prepared statement is unknown");
    }
    raw.get_flight_info(with(descriptor, Some(&ann))).await.unwrap();

    let poll = raw.poll_flight_info(with(statement("SELECT 1"), Some(&ann))).await.unwrap().into_inner();
    let info = poll.info.unwrap();
    let again = poll.flight_descriptor.unwrap();
    assert_refused(raw.poll_flight_info(with(again.clone(), Some(&bob))).await, Code::NotFound, "no such query");
    let cancel = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
    let foreign = raw.do_action(with(Action::new("CancelFlightInfo", cancel), Some(&bob))).await.map(drop);
    assert_refused(foreign, Code::NotFound, "no such query");
    let foreign = raw.do_get(with(ticket(&info), Some(&bob))).await.map(drop);
    assert_refused(foreign, Code::NotFound, "ticket is unknown");
    raw.poll_flight_info(with(again, Some(&ann))).await.unwrap();
    raw.do_get(with(ticket(&info), Some(&ann))).await.unwrap();

    let message = put(packed(&CommandStatementUpdate { query: "USE lake.s".to_owned(), transaction_id: None }));
    let response = raw.do_put(with(stream::iter([message]), Some(&ann))).await.unwrap();
    let cookie = response.metadata().get("set-cookie").unwrap().to_str().unwrap().to_owned();
    let with_cookie = |shown: &str| {
        let mut request = with(statement("SELECT count(*) FROM t"), Some(shown));
        request.metadata_mut().insert("cookie", cookie.split(';').next().unwrap().parse().unwrap());
        request
    };
    raw.get_flight_info(with_cookie(&ann)).await.unwrap();
    assert!(raw.get_flight_info(with_cookie(&bob)).await.is_err(), "bob has chosen no schema");
    // {"schema": "nowhere"}
    let options = b"\x0a\x13\x0a\x06schema\x12\x09\x0a\x07nowhere".to_vec();
    for (name, body) in [("SetSessionOptions", options), ("CloseSession", vec![])] {
        let mut request = with(Action::new(name, body), Some(&bob));
        request.metadata_mut().insert("cookie", cookie.split(';').next().unwrap().parse().unwrap());
        raw.do_action(request).await.unwrap();
    }
    raw.get_flight_info(with_cookie(&ann)).await.unwrap();
    let id = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
    assert_refused(call(raw, "GetSchema", Some(&bearer(id))).await, Code::Unauthenticated, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_query_goes_on_whatever_another_user_says() {
    let mut guarded = Guarded::start().await;
    let (ann, bob) = (bearer(&fixed_token("ann")), bearer(&fixed_token("bob")));
    let raw = &mut guarded.harness.raw;
    let info = raw.get_flight_info(with(statement(ENDLESS), Some(&ann))).await.unwrap().into_inner();
    let mut rows = raw.do_get(with(ticket(&info), Some(&ann))).await.unwrap().into_inner();
    rows.message().await.unwrap().unwrap();
    let cancel = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
    let old_cancel = packed(&ActionCancelQueryRequest { info: info.encode_to_vec().into() });
    for (name, body) in [("CancelFlightInfo", cancel), ("CancelQuery", old_cancel)] {
        let foreign = raw.do_action(with(Action::new(name, body.clone()), Some(&bob))).await.map(drop);
        assert_refused(foreign, Code::NotFound, "no such query");
        assert_eq!(guarded.harness.server.running(), 1);
        rows.message().await.unwrap().unwrap();
    }
    let own = packed(&ActionCancelQueryRequest { info: info.encode_to_vec().into() });
    raw.do_action(with(Action::new("CancelQuery", own), Some(&ann))).await.unwrap();
    eventually("the query has stopped", || guarded.harness.server.running() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_open_to_all() {
    let guarded = Guarded::start().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(connect(&guarded.harness.server).await);
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    health.check(request).await.unwrap();
}
