//! Encrypted connections: certificates of the server and of clients, and files that change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polynya_bench::client::{Auth, Client};
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::Engine;
use polynya_flight_server::settings::{AuthSettings, ClientAuth, TlsSettings, TokenSettings};
use polynya_flight_server::{Server, ServerSettings};
use tokio::io::AsyncWriteExt;

use crate::harness::text;

fn key_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys").join(name)
}

fn tls() -> TlsSettings {
    TlsSettings {
        cert_file: key_file("server.pem"),
        key_file: key_file("server.key.pem"),
        client_ca_file: None,
        client_auth: ClientAuth::Required,
    }
}

fn asking_clients(client_auth: ClientAuth) -> TlsSettings {
    TlsSettings { client_ca_file: Some(key_file("ca.pem")), client_auth, ..tls() }
}

async fn serve(tls: TlsSettings, auth: AuthSettings) -> Server {
    let lake = CatalogSettings::new(CatalogType::Memory).with_warehouse("memory:///warehouse");
    let catalog = BTreeMap::from([("lake".to_owned(), lake)]);
    let engine = Engine::start(polynya_engine::Settings { catalog, ..Default::default() }).await.unwrap();
    let listen = "127.0.0.1:0".to_owned();
    Server::bind(engine, &ServerSettings { listen, tls: Some(tls), auth, ..Default::default() }).await.unwrap()
}

/// How the tests' authority is trusted.
fn trusting() -> Auth {
    Auth { tls_ca: Some(key_file("ca.pem")), ..Auth::default() }
}

fn showing(name: &str) -> Auth {
    let file = |ending: &str| Some(key_file(&format!("{name}{ending}")));
    Auth { tls_cert: file(".pem"), tls_key: file(".key.pem"), ..trusting() }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user that the server sees, or why it does not answer.
async fn user(server: &Server, auth: &Auth) -> Result<String, String> {
    let asking = async {
        let client = Client::connect(&server.url(), auth).await.map_err(|error| error.full_message())?;
        user_of(&client).await
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("neither an answer nor a refusal")
}

async fn user_of(client: &Client) -> Result<String, String> {
    let sql = "SELECT \"user\" FROM system.queries WHERE state <> 'FINISHED' ORDER BY started_at DESC LIMIT 1";
    let rows = client.query_all(sql).await.map_err(|error| error.full_message())?;
    Ok(text(&rows.batches).remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_encrypted_and_the_server_is_who_it_says() {
    let server = serve(tls(), AuthSettings::default()).await;
    assert!(server.url().starts_with("grpc+tls://"));
    assert_eq!(user(&server, &trusting()).await.unwrap(), "anonymous");
    let other = Auth { tls_server_name: Some("evil.test".into()), ..trusting() };
    assert!(user(&server, &other).await.is_err());
    let distrusting = Auth { tls_ca: Some(key_file("other_ca.pem")), ..Auth::default() };
    assert!(user(&server, &distrusting).await.is_err());
    let refused = user(&server, &distrusting).await.unwrap_err();
    assert!(refused.contains("certificate is refused") && refused.contains("--tls-ca"), "{refused}");
}

/// The user that the server at a URL sees, or why there is no answer.
async fn user_at(url: &str, auth: &Auth) -> Result<String, String> {
    let client = Client::connect(url, auth).await.map_err(|error| error.full_message())?;
    user_of(&client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_the_other_way_is_told_the_other_scheme() {
    let encrypted = serve(tls(), AuthSettings::default()).await;
    let plain = Server::bind(
        Engine::start(polynya_engine::Settings::default()).await.unwrap(),
        &ServerSettings { listen: "127.0.0.1:0".to_owned(), ..Default::default() },
    )
    .await
    .unwrap();
    for (url, auth, hint) in [
        (format!("grpc://{}", encrypted.address()), Auth::default(), "write grpc+tls://"),
        (format!("grpc+tls://{}", plain.address()), trusting(), "write grpc://"),
    ] {
        let told = user_at(&url, &auth).await.unwrap_err();
        assert!(told.contains(hint), "{told}");
        assert!(told.len() < 250 && !told.contains("Error(") && !told.contains("code:"), "{told}");
    }
}

#[tokio::test]
async fn files_without_certificates_are_refused_by_name() {
    let key = key_file("client_ann.key.pem");
    let empty = Auth { tls_ca: Some(key.clone()), ..Auth::default() };
    let told = user_at("grpc+tls://127.0.0.1:1", &empty).await.unwrap_err();
    assert!(told.contains("client_ann.key.pem") && told.contains("no certificate in it"), "{told}");
    let swapped = Auth { tls_cert: Some(key), tls_key: Some(key_file("client_ann.pem")), ..trusting() };
    let told = user_at("grpc+tls://127.0.0.1:1", &swapped).await.unwrap_err();
    assert!(told.contains("client_ann.key.pem") && told.contains("no certificate in it"), "{told}");
    let keyless = Auth { tls_key: Some(key_file("client_ann.pem")), ..showing("client_ann") };
    let told = user_at("grpc+tls://127.0.0.1:1", &keyless).await.unwrap_err();
    assert!(told.contains("client_ann.pem") && told.contains("no private key in it"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_handshake_stops_nobody_else() {
    let server = serve(tls(), AuthSettings::default()).await;
    let mut held = Vec::new();
    let texts: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", b"", &[0x16, 3, 1, 0xff, 0xff, 1], &[0; 4096]];
    for garbage in texts {
        let mut stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        held.push(stream);
    }
    assert_eq!(user(&server, &trusting()).await.unwrap(), "anonymous");
    drop(held);
    assert_eq!(user(&server, &trusting()).await.unwrap(), "anonymous");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_certificate_says_who_calls() {
    let server = serve(asking_clients(ClientAuth::Required), AuthSettings::default()).await;
    assert_eq!(user(&server, &showing("client_ann")).await.unwrap(), "ann");
    assert_eq!(user(&server, &showing("client_san")).await.unwrap(), "robot@example.com");
    assert!(user(&server, &showing("client_two")).await.unwrap_err().contains("asks who is calling"));
    assert!(user(&server, &showing("client_other")).await.is_err(), "of another authority");
    assert!(user(&server, &trusting()).await.is_err(), "no certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_method_a_required_certificate_is_not_enough_and_an_optional_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "the-fixed-token-of-bob").unwrap();
    let token = TokenSettings { file: Some(file), ..TokenSettings::default() };
    let auth = AuthSettings { token: BTreeMap::from([("bob".to_owned(), token)]), ..AuthSettings::default() };
    let bob = Some("the-fixed-token-of-bob".to_owned());

    let server = serve(asking_clients(ClientAuth::Required), auth.clone()).await;
    assert!(user(&server, &showing("client_ann")).await.unwrap_err().contains("asks who is calling"));
    let both = Auth { token: bob.clone(), ..showing("client_ann") };
    assert_eq!(user(&server, &both).await.unwrap(), "bob");

    let server = serve(asking_clients(ClientAuth::Optional), auth).await;
    assert_eq!(user(&server, &showing("client_ann")).await.unwrap(), "ann");
    assert_eq!(user(&server, &Auth { token: bob, ..trusting() }).await.unwrap(), "bob");
    assert!(user(&server, &trusting()).await.unwrap_err().contains("asks who is calling"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_to_new_connections_and_old_ones_live_on() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        for (from, to) in [(format!("{name}.pem"), "cert.pem"), (format!("{name}.key.pem"), "key.pem")] {
            std::fs::copy(key_file(&from), folder.path().join(to)).unwrap();
        }
    };
    put("server");
    let file = |name: &str| folder.path().join(name);
    let files = TlsSettings { cert_file: file("cert.pem"), key_file: file("key.pem"), ..tls() };
    let server = serve(files, AuthSettings::default()).await;
    let old = Client::connect(&server.url(), &trusting()).await.unwrap();
    let next = Auth { tls_server_name: Some("next.test".into()), ..trusting() };
    assert!(user(&server, &next).await.is_err());
    put("server_next");
    for _ in 0..100 {
        if user(&server, &next).await.is_ok() {
            assert!(user(&server, &trusting()).await.is_err());
            assert_eq!(user_of(&old).await.unwrap(), "anonymous");
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the new certificate was not read");
}

#[tokio::test]
async fn passwords_are_not_asked_for_where_strangers_can_overhear_them() {
    let engine = Engine::start(polynya_engine::Settings::default()).await.unwrap();
    let token = TokenSettings { sha256: Some("0".repeat(64)), ..TokenSettings::default() };
    let auth = AuthSettings { token: BTreeMap::from([("bob".to_owned(), token)]), ..AuthSettings::default() };
    let open = ServerSettings { listen: "0.0.0.0:0".into(), auth, ..ServerSettings::default() };
    let error = Server::bind(engine.clone(), &open).await.unwrap_err().to_string();
    assert!(error.contains("[server.tls]"), "{error}");
    assert!(!format!("{open:?}").contains("000000"), "settings are shown without hashes");
    let encrypted = ServerSettings { tls: Some(tls()), ..open };
    Server::bind(engine, &encrypted).await.unwrap();
}
