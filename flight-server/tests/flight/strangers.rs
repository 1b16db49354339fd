//! Connections on which nobody logs in: they end, make way, and cost little, while those who have logged in stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use polynya_flight_server::ServerSettings;
use polynya_flight_server::settings::{AuthSettings, TokenSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::harness::{Harness, statement};

const TOKEN: &str = "the-fixed-token-of-ann";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
/// A ping that asks for no answer, of 17 bytes.
const PING: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0\0\0\0\0\0\0\0\0";

/// A server that asks for a token.
async fn serve(folder: &tempfile::TempDir, settings: ServerSettings) -> Harness {
    let file = folder.path().join("ann");
    std::fs::write(&file, TOKEN).unwrap();
    let mut auth = AuthSettings::default();
    auth.token.insert("ann".to_owned(), TokenSettings { file: Some(file), ..TokenSettings::default() });
    Harness::start_empty(ServerSettings { auth, ..settings }).await
}

async fn ask(client: &FlightServiceClient<Channel>) -> Result<(), Status> {
    let mut request = Request::new(statement("SELECT 1"));
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    client.clone().get_flight_info(request).await.map(drop)
}

/// A connection that has said so much.
async fn stranger(harness: &Harness, says: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(harness.server.address()).await.unwrap();
    stream.write_all(says).await.unwrap();
    stream
}

/// Whether the server ends a connection within ten seconds.
async fn is_ended(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 1024];
    let to_end = async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} };
    tokio::time::timeout(Duration::from_secs(10), to_end).await.is_ok()
}

/// A client behind something that counts the connections it makes.
async fn counted(harness: &Harness) -> (FlightServiceClient<Channel>, Arc<AtomicUsize>, tokio::task::JoinHandle<()>) {
    let (listener, server) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), harness.server.address());
    let channel = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap().connect_lazy();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let passing = tokio::spawn(async move {
        let mut passing = tokio::task::JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            passing.spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (FlightServiceClient::new(channel), connections, passing)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_log_in_is_ended_and_who_did_stays() {
    let folder = tempfile::tempdir().unwrap();
    let login_timeout = Duration::from_secs(2);
    let harness = serve(&folder, ServerSettings { login_timeout, ..ServerSettings::default() }).await;
    let (client, connections, passing) = counted(&harness).await;
    ask(&client).await.unwrap();
    let mut strangers = Vec::new();
    for says in [b"".as_slice(), &PREFACE[..10], PREFACE, &[PREFACE, SETTINGS].concat()] {
        strangers.push(stranger(&harness, says).await);
    }
    for stranger in &mut strangers {
        assert!(is_ended(stranger).await);
    }
    // It has been silent for as long, and longer.
    tokio::time::sleep(login_timeout / 4).await;
    ask(&client).await.unwrap();
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    passing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_strangers_make_way_for_a_user_the_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings { connections_max: Some(10), pending_logins_max: 4, ..ServerSettings::default() };
    let harness = serve(&folder, settings).await;
    let mut strangers = Vec::new();
    for _ in 0..30 {
        strangers.push(stranger(&harness, PREFACE).await);
    }
    let (client, _, passing) = counted(&harness).await;
    ask(&client).await.unwrap();
    for stranger in &mut strangers[..26] {
        assert!(is_ended(stranger).await);
    }
    ask(&client).await.unwrap();
    passing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_no_more_connections_than_a_share() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ServerSettings { connections_max: Some(8), ..ServerSettings::default() };
    let harness = serve(&folder, settings).await;
    let (first, second, third) = (counted(&harness).await, counted(&harness).await, counted(&harness).await);
    ask(&first.0).await.unwrap();
    ask(&second.0).await.unwrap();
    let refused = ask(&third.0).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("server.user_share"), "{refused}");
    // Who is in stays in, and makes room by leaving.
    ask(&second.0).await.unwrap();
    first.2.abort();
    let got_in = async {
        while ask(&third.0).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), got_in).await.unwrap();
    for passing in [second.2, third.2] {
        passing.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stranger_may_send_is_little() {
    let folder = tempfile::tempdir().unwrap();
    let harness = serve(&folder, ServerSettings::default()).await;
    let mut flood = stranger(&harness, &[PREFACE, SETTINGS].concat()).await;
    let pings = PING.repeat(1000);
    let mut sent = 0;
    while sent < 16 << 20 && flood.write_all(&pings).await.is_ok() {
        sent += pings.len();
    }
    assert!(is_ended(&mut flood).await && sent < 16 << 20, "{sent} bytes were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_refused_and_logins_that_are_left_are_limited() {
    let folder = tempfile::tempdir().unwrap();
    let harness = serve(&folder, ServerSettings::default()).await;
    let (mut stranger, connections, passing) = counted(&harness).await;
    // Handshakes that say nothing: some wait for their message, more are refused at once.
    let mut logins = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut stranger = stranger.clone();
        let silent = futures::stream::pending::<HandshakeRequest>();
        logins.spawn(async move { stranger.handshake(silent).await.map(drop).unwrap_err().code() });
    }
    for _ in 0..12 {
        assert_eq!(logins.join_next().await.unwrap().unwrap(), Code::Unavailable);
    }
    for _ in 0..100 {
        let refused = stranger.get_flight_info(statement("SELECT 1")).await.unwrap_err();
        if refused.code() != Code::Unauthenticated {
            break;
        }
    }
    // The connection is ended in the end, and those that waited on it with it.
    while logins.join_next().await.is_some() {}
    let asked_again = async {
        while stranger.get_flight_info(statement("SELECT 1")).await.unwrap_err().code() != Code::Unauthenticated {}
    };
    tokio::time::timeout(Duration::from_secs(10), asked_again).await.expect("a new connection is as good as the first");
    assert!(connections.load(Ordering::Relaxed) > 1);
    passing.abort();
}
