//! No secret is in a log, an error, or anything that SQL shows: a coordinator and a worker that log all they can are used
//! well and badly, with services that repeat what they were sent, and every word is searched.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, BasicAuth, FlightData, HandshakeRequest};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::auth::{basic, bearer, given, with, write_users};
use crate::harness::{statement, ticket};
use crate::issuer::Issuer;

/// How long a process may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

const PASSWORD: &str = "swordfish-of-ann-7351";
const WRONG_PASSWORD: &str = "haddock-of-ann-7351";
const FILE_TOKEN: &str = "token-from-a-file-2206";
const ENV_TOKEN: &str = "token-from-the-environment-9914";
const WRONG_TOKEN: &str = "token-that-nobody-gave-out-4417";
const LAKE_KEY: &str = "lake-secret-key-5582";
const STORE_KEY: &str = "store-secret-key-8139";
const STORE_TOKEN: &str = "store-session-token-6610";
const REST_TOKEN: &str = "rest-bearer-token-3378";
const REST_HEADER: &str = "rest-api-key-7745";
const CLIENT_SECRET: &str = "oauth-client-secret-1290";
const DATABASE_PASSWORD: &str = "database-password-5023";
const WORKERS_SECRET: &str = "workers-secret-of-the-test-8862";
const SECRETS: [&str; 13] = [
    PASSWORD,
    WRONG_PASSWORD,
    FILE_TOKEN,
    ENV_TOKEN,
    WRONG_TOKEN,
    LAKE_KEY,
    STORE_KEY,
    STORE_TOKEN,
    REST_TOKEN,
    REST_HEADER,
    CLIENT_SECRET,
    DATABASE_PASSWORD,
    WORKERS_SECRET,
];

/// A service that refuses everything, and repeats what it was sent: a REST catalog, its token endpoint, or S3.
async fn parrot() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tonic::transport::Server::builder()
        .accept_http1(true)
        .add_routes(Routes::from(Router::new().fallback(repeat)))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(async move { serving.await.unwrap() });
    url
}

async fn repeat(headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let headers = headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
    let body = String::from_utf8_lossy(&body).into_owned();
    let message = headers.chain([body]).collect::<Vec<_>>().join("; ");
    let said = json!({ "error": { "message": message, "type": "ForbiddenException", "code": 403 } });
    (StatusCode::FORBIDDEN, said.to_string())
}

/// A process of the binary that logs all it can into a file.
struct Logging {
    process: Child,
    url: String,
    log: PathBuf,
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Logging {
    async fn start(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = folder.join(format!("{}.log", arguments[0]));
        let mut process = Command::new(env!("CARGO_BIN_EXE_polynya"))
            .args(arguments)
            .current_dir(folder)
            .envs(environment.iter().copied())
            .env("RUST_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = tokio::time::timeout(PATIENCE, stdout.next_line()).await.expect("the process starts");
        let Some(ready) = ready.unwrap() else { panic!("{}", std::fs::read_to_string(&log).unwrap()) };
        let url = ready.split_whitespace().find(|word| word.contains("://")).unwrap().to_owned();
        Self { process, url, log, _stdout: stdout }
    }

    /// Asks the process to end, and waits for it; its log.
    async fn stop(mut self) -> String {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").arg(id).status().await.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await.expect("the process ends");
        assert!(ended.unwrap().success());
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }
}

/// Settings with a secret wherever there can be one.
fn settings(folder: &Path, issuer: &Issuer, parrot: &str, worker: &str) -> String {
    let warehouse = format!("file://{}/warehouse", folder.display());
    let database = format!("postgresql://polynya:{DATABASE_PASSWORD}@127.0.0.1:1/lake");
    let settings = json!({
        "server": { "listen": "127.0.0.1:0", "default_catalog": "lake" },
        "auth": {
            "users_file": folder.join("users"),
            "token": { "ann": { "file": folder.join("token") }, "bob": { "env": "TOKEN_OF_BOB" } },
            "jwt": issuer.settings::<Value>(),
        },
        "catalog": {
            "lake": {
                "type": "memory", "warehouse": warehouse,
                "s3.access-key-id": "lake", "s3.secret-access-key": LAKE_KEY,
            },
            "far": {
                "type": "memory", "warehouse": "s3://bucket/warehouse", "s3.endpoint": parrot,
                "s3.access-key-id": "store", "s3.secret-access-key": STORE_KEY, "s3.session-token": STORE_TOKEN,
            },
            "partner": { "type": "rest", "uri": parrot, "token": REST_TOKEN, "header.x-api-key": REST_HEADER },
            "oauth": { "type": "rest", "uri": parrot, "credential": format!("polynya:{CLIENT_SECRET}") },
            "ledger": { "type": "sql", "uri": database, "warehouse": warehouse },
        },
        "workers": {
            "provisioner": "static", "urls": [worker], "secret": WORKERS_SECRET,
            "execution": "distributed", "bytes_per_worker": "1KiB",
        },
    });
    toml::to_string(&settings).unwrap()
}

/// One client, and all that was said to it.
struct Listener {
    raw: FlightServiceClient<Channel>,
    said: Vec<(String, String)>,
}

impl Listener {
    async fn connect(url: &str) -> Self {
        let url = url.replace("grpc://", "http://");
        let channel = Endpoint::from_shared(url).unwrap().http2_max_header_list_size(256 * 1024).connect().await;
        Self { raw: FlightServiceClient::new(channel.unwrap()), said: Vec::new() }
    }

    /// Notes an answer; what an error shows beside its message, too.
    fn note<T>(&mut self, asked: &str, answer: Result<T, Status>, words: impl FnOnce(T) -> String) {
        let words = answer.map_or_else(|status| format!("{status:?}"), words);
        self.said.push((asked.to_owned(), words));
    }

    /// Logs in in both ways; the token of the last that succeeded.
    async fn log_in(&mut self, user: &str, password: &str) -> Option<String> {
        let header = stream::iter([HandshakeRequest::default()]);
        let by_header = self.raw.handshake(with(header, Some(&basic(user, password)))).await;
        let payload = BasicAuth { username: user.to_owned(), password: password.to_owned() }.encode_to_vec().into();
        let by_message = self.raw.handshake(stream::iter([HandshakeRequest { protocol_version: 0, payload }])).await;
        let mut token = None;
        for answer in [by_header, by_message] {
            token = answer.as_ref().ok().map(given).or(token);
            self.note("Handshake", answer, |_| String::new());
        }
        token
    }

    /// Runs a statement and takes all its rows; whether that succeeded.
    async fn run(&mut self, shown: &str, sql: &str) -> bool {
        let answer = fetch(&mut self.raw, shown, sql).await;
        let is_done = answer.is_ok();
        self.note(sql, answer, |messages| messages.iter().map(text).collect());
        is_done
    }
}

async fn fetch(raw: &mut FlightServiceClient<Channel>, shown: &str, sql: &str) -> Result<Vec<FlightData>, Status> {
    let info = raw.get_flight_info(with(statement(sql), Some(shown))).await?.into_inner();
    raw.do_get(with(ticket(&info), Some(shown))).await?.into_inner().try_collect().await
}

/// All the text in a message: Arrow has it as it is.
fn text(message: &FlightData) -> String {
    let parts = [&message.data_header, &message.data_body, &message.app_metadata];
    parts.into_iter().map(|part| String::from_utf8_lossy(part)).collect()
}

/// The forms in which a secret could be seen.
fn forms(secret: &str) -> [String; 4] {
    let bytes = format!("{:?}", secret.as_bytes());
    let encoded = STANDARD_NO_PAD.encode(secret);
    // What follows would change the last letters.
    let encoded = encoded[..encoded.len() - 2].to_owned();
    [secret.to_owned(), encoded, bytes.trim_matches(['[', ']']).to_owned(), secret.replace('-', "%2D")]
}

/// Fails where a text holds a secret.
#[track_caller]
fn search(place: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        for form in forms(secret) {
            if let Some(at) = text.find(&form) {
                let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
                let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
                panic!("{place} shows {secret}: {}", &text[start..end]);
            }
        }
    }
}

/// Statements that succeed.
const DONE: [&str; 20] = [
    "CREATE SCHEMA lake.s",
    "CREATE TABLE lake.s.t (id BIGINT, name VARCHAR)",
    "INSERT INTO lake.s.t VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO lake.s.t VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO lake.s.t VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO lake.s.t VALUES (1, 'one'), (2, 'two')",
    "SELECT name, count(*) FROM lake.s.t GROUP BY name",
    "SELECT name FROM lake.s.t ORDER BY name",
    "EXPLAIN VERBOSE SELECT name, count(*) FROM lake.s.t GROUP BY name",
    "EXPLAIN ANALYZE SELECT name, count(*) FROM lake.s.t GROUP BY name",
    "DESCRIBE lake.s.t",
    "SELECT * FROM lake.information_schema.columns",
    "SHOW CREATE TABLE lake.s.t",
    "SHOW CATALOGS",
    "SHOW ALL",
    "SELECT * FROM system.queries",
    "SELECT * FROM system.tasks",
    "SELECT * FROM system.workers",
    "SELECT * FROM system.cache",
    "SELECT * FROM system.tenants",
];

/// Statements that fail, most of them in a service.
const FAILED: [&str; 13] = [
    "SELEC 1",
    "SELECT no_column FROM lake.s.t",
    "SELECT * FROM lake.s.nothing",
    "SELECT 1 / (id - id) FROM lake.s.t",
    "SET polynya.nothing = 1",
    "SELECT * FROM partner.s.t",
    "CREATE SCHEMA partner.s",
    "CREATE TABLE partner.s.t (id BIGINT)",
    "SHOW SCHEMAS FROM partner",
    "SELECT * FROM oauth.s.t",
    "CREATE TABLE far.s.t (id BIGINT)",
    "CREATE TABLE far.s.t AS SELECT * FROM lake.s.t",
    "SELECT * FROM ledger.s.t",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_an_error_or_a_table() {
    let (issuer, parrot, folder) = (Issuer::start().await, parrot().await, tempfile::tempdir().unwrap());
    let folder = folder.path();
    write_users(folder, &[("ann", PASSWORD)]);
    std::fs::write(folder.join("token"), FILE_TOKEN).unwrap();
    let secret = [("POLYNYA__WORKERS__SECRET", WORKERS_SECRET)];
    let worker = Logging::start(folder, &["worker", "--listen", "127.0.0.1:0"], &secret).await;
    std::fs::write(folder.join("settings.toml"), settings(folder, &issuer, &parrot, &worker.url)).unwrap();
    let environment = [("TOKEN_OF_BOB", ENV_TOKEN), ("POLYNYA__EXECUTION__TARGET_PARTITIONS", "4")];
    let server = Logging::start(folder, &["serve", "--config", "settings.toml"], &environment).await;
    let mut client = Listener::connect(&server.url).await;
    let mut secrets = Vec::from(SECRETS.map(str::to_owned));
    let users = std::fs::read_to_string(folder.join("users")).unwrap();
    secrets.extend(users.trim().split_once(':').map(|(_, hash)| hash.to_owned()));
    for password in [PASSWORD, WRONG_PASSWORD] {
        secrets.push(STANDARD.encode(format!("ann:{password}")));
    }

    // Who may come in does, and who may not does not.
    let login = client.log_in("ann", PASSWORD).await.unwrap();
    for user in ["ann", "nobody"] {
        assert_eq!(client.log_in(user, WRONG_PASSWORD).await, None);
    }
    let signed = issuer.token("carol");
    for shown in [basic("ann", PASSWORD), login.clone(), bearer(FILE_TOKEN), bearer(ENV_TOKEN), bearer(&signed)] {
        assert!(client.run(&shown, "SELECT 1").await, "{:?}", client.said.last());
    }
    let mut refused = vec![WRONG_TOKEN.to_owned()];
    refused.extend(issuer.bad_tokens("carol").into_iter().map(|(_, token)| token));
    for token in &refused {
        assert!(!client.run(&bearer(token), "SELECT 1").await);
        let mut old = Request::new(statement("SELECT 1"));
        old.metadata_mut().insert_bin("auth-token-bin", MetadataValue::from_bytes(token.as_bytes()));
        let answer = client.raw.get_flight_info(old).await;
        client.note("the old header", answer, |_| String::new());
    }
    secrets.push(login.trim_start_matches("Bearer ").to_owned());
    // The last of the bad ones is too short to be searched for.
    secrets.extend(refused.into_iter().chain([signed]).filter(|token| token.len() > 16));

    let shown = bearer(FILE_TOKEN);
    assert!(client.run(&shown, "CREATE SCHEMA far.s").await, "{:?}", client.said.last());
    for sql in DONE.iter().take(7) {
        assert!(client.run(&shown, sql).await, "{:?}", client.said.last());
    }
    for sql in FAILED {
        assert!(!client.run(&login, sql).await, "{sql}");
    }
    for sql in DONE.iter().skip(7) {
        assert!(client.run(&shown, sql).await, "{:?}", client.said.last());
    }
    let options = client.raw.do_action(with(Action::new("GetSessionOptions", vec![]), Some(&shown))).await.unwrap();
    let options: Vec<_> = options.into_inner().try_collect().await.unwrap();
    client.note("GetSessionOptions", Ok(options), |all| {
        all.iter().map(|result| String::from_utf8_lossy(&result.body).into_owned()).collect()
    });

    let said = std::mem::take(&mut client.said);
    drop(client);
    let worker_port = worker.url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let (server_log, worker_log) = (server.stop().await, worker.stop().await);
    for (asked, words) in &said {
        search(asked, words, &secrets);
    }
    search("the coordinator's log", &server_log, &secrets);
    search("the worker's log", &worker_log, &secrets);
    // There was something to find.
    let heard = |part: &str| said.iter().any(|(_, words)| words.contains(part));
    assert!(heard("x-api-key: ***") && heard("authorization: Bearer ***"), "what the catalog repeats is told");
    assert!(heard("client_secret=***"), "what the token endpoint repeats is told");
    assert!(heard("x-amz-security-token: ***"), "what the store repeats is told");
    for part in ["TRACE", "a login succeeded", "a login failed", "a statement failed"] {
        assert!(server_log.contains(part), "{part}");
    }
    let (_, tasks) = said.iter().find(|(asked, _)| asked == "SELECT * FROM system.tasks").unwrap();
    assert!(worker_log.contains("TRACE") && tasks.contains(&worker_port), "the worker had tasks: {tasks}");
}

/// What is wrong with settings that have a secret, `%`.
const BROKEN: [&str; 13] = [
    "[workers]\nsecret = \"%\n",
    "[workers]\nsecret = %\n",
    "[workers]\nsecret = [\"%\"]\n",
    "[workers]\nsecret = { text = \"%\" }\n",
    "[catalog.other]\ntype = \"rest\"\nuri = \"http://127.0.0.1:1\"\ntoken = [\"%\"]\n",
    "[catalog.other]\ntype = \"rest\"\nuri = \"http://127.0.0.1:1\"\ntokne = \"%\"\n",
    "[catalog.other]\ntype = \"memory\"\n\"s3.secret-access-key\" = [\"%\"]\n",
    "[catalog.other]\ntype = \"sql\"\nuri = \"postgresql://ann:%@127.0.0.1:port/lake\"\n",
    "[catalog.other]\ntype = \"sql\"\nuri = \"postgresql://ann@127.0.0.1/lake?sslpasswd=%\"\n",
    "[access]\n[control]\ndatabase = \"postgresql://ann:%@127.0.0.1:port/lake\"\n",
    "[auth.token]\nann = \"%\"\n",
    "[auth.token.ann]\ntoken = \"%\"\n",
    "[auth.token.ann]\nsha256 = \"%\"\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_are_refused_without_the_secret_in_them() {
    const SECRET: &str = "a-secret-of-the-operator-6124";
    let folder = tempfile::tempdir().unwrap();
    for (number, broken) in BROKEN.iter().enumerate() {
        let file = folder.path().join(format!("{number}.toml"));
        std::fs::write(&file, format!("[catalog.lake]\ntype = \"memory\"\n{}", broken.replace('%', SECRET))).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_polynya"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .env("RUST_LOG", "trace")
            .kill_on_drop(true)
            .output();
        let ended = tokio::time::timeout(PATIENCE, process).await;
        let ended = ended.unwrap_or_else(|_| panic!("taken: {broken}")).unwrap();
        let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(!ended.status.success() && said.contains("error: "), "{broken}: {said}");
        search(broken, &said, &[SECRET.to_owned()]);
    }
}
