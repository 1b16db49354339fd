//! A store that speaks as much of S3 as the engine does, keeps its objects in memory, and misbehaves as a test tells it to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use polynya_catalog::{CatalogSettings, CatalogType};
use polynya_engine::{Answer, Engine, Error, Session, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Without the bucket.
    pub(crate) key: String,
}

impl Asked {
    /// Whether it is a read of a data file.
    pub(crate) fn is_data(&self) -> bool {
        self.method == "GET" && self.key.ends_with(".parquet")
    }
}

/// What is done instead of what was asked for.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// A status such as `503 Slow Down`, and headers that end in line breaks.
    Status(&'static str, &'static str),
    /// Nothing, and then nothing more.
    Stall,
    /// What was asked for, and then an error.
    AnswerLost,
}

type Faults = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;

/// See the module.
pub(crate) struct StubStore {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    faults: Mutex<Option<Faults>>,
    asked: Mutex<Vec<Asked>>,
}

impl StubStore {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move { state.serve(BufReader::new(connection)).await });
            }
        });
        Self { port, state }
    }

    /// Asks for each request what is to go wrong, from now on.
    pub(crate) fn set_faults(&self, faults: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        *self.state.faults.lock() = Some(Box::new(faults));
    }

    pub(crate) fn end_faults(&self) {
        *self.state.faults.lock() = None;
    }

    /// The requests since this was asked last.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.asked.lock())
    }

    /// The keys of objects that end so.
    pub(crate) fn keys(&self, end: &str) -> Vec<String> {
        self.state.objects.lock().keys().filter(|key| key.ends_with(end)).cloned().collect()
    }

    /// Changes an object.
    pub(crate) fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.state.objects.lock().get_mut(key).unwrap());
    }

    /// An engine whose catalog `lake` has its names in a folder and its files here, and a session in its schema `s`.
    pub(crate) async fn engine(&self, folder: &std::path::Path, mut settings: Settings) -> (Arc<Engine>, Session) {
        let properties = [
            ("s3.endpoint", format!("http://127.0.0.1:{}", self.port)),
            ("s3.access-key-id", "AKIDEXAMPLE".to_owned()),
            ("s3.secret-access-key", "wJalrXUtnFEMI".to_owned()),
            ("s3.path-style-access", "true".to_owned()),
            ("s3.request-timeout", "1".to_owned()),
        ];
        let mut catalog = CatalogSettings::new(CatalogType::Sql)
            .with_uri(format!("sqlite:///{}/catalog.db", folder.display()))
            .with_warehouse("s3://lake/wh".to_owned());
        for (name, value) in properties {
            catalog = catalog.with_property(name, value);
        }
        settings.catalog.insert("lake".to_owned(), catalog);
        settings.default_schema = Some("s".to_owned());
        let engine = Engine::start(settings).await.unwrap();
        let session = engine.session("default", "test");
        (engine, session)
    }
}

/// Runs a statement to its end, and gives its rows as text.
pub(crate) async fn ask(engine: &Arc<Engine>, session: &Session, sql: &str) -> Result<String, Error> {
    match engine.query(sql, session).await? {
        Answer::Rows(rows) => {
            let batches = rows.collect().await?;
            Ok(arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string())
        }
        Answer::Done(_) => Ok(String::new()),
    }
}

impl State {
    async fn serve(&self, mut connection: BufReader<TcpStream>) {
        while let Some((asked, range, body)) = request(&mut connection).await {
            self.asked.lock().push(asked.clone());
            let fault = self.faults.lock().as_mut().and_then(|faults| faults(&asked));
            let answer = match fault {
                None => self.answer(&asked, range, body),
                Some(Fault::Status(status, headers)) => answer(status, headers, b""),
                Some(Fault::AnswerLost) => {
                    self.answer(&asked, range, body);
                    answer("500 Internal Server Error", "", b"")
                }
                Some(Fault::Stall) => {
                    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                    return;
                }
            };
            let answer = if asked.method == "HEAD" { without_body(answer) } else { answer };
            if connection.get_mut().write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, asked: &Asked, range: Option<Range<usize>>, body: Vec<u8>) -> Vec<u8> {
        let mut objects = self.objects.lock();
        match asked.method.as_str() {
            "PUT" => {
                objects.insert(asked.key.clone(), body);
                answer("200 OK", "", b"")
            }
            // Several at once.
            "POST" => {
                let listed = String::from_utf8_lossy(&body).into_owned();
                for key in listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
                    objects.remove(key);
                }
                answer("200 OK", "", b"<DeleteResult></DeleteResult>")
            }
            "DELETE" => {
                objects.remove(&asked.key);
                answer("204 No Content", "", b"")
            }
            _ => match (objects.get(&asked.key), range) {
                (None, _) => answer("404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>"),
                (Some(object), None) => answer("200 OK", "", object),
                (Some(object), Some(range)) if range.start < object.len() => {
                    let end = range.end.min(object.len());
                    let told = format!("Content-Range: bytes {}-{}/{}\r\n", range.start, end - 1, object.len());
                    answer("206 Partial Content", &told, &object[range.start..end])
                }
                _ => answer("416 Range Not Satisfiable", "", b"<Error><Code>InvalidRange</Code></Error>"),
            },
        }
    }
}

async fn request(connection: &mut BufReader<TcpStream>) -> Option<(Asked, Option<Range<usize>>, Vec<u8>)> {
    let mut first = String::new();
    connection.read_line(&mut first).await.ok().filter(|bytes| *bytes > 0)?;
    let (mut length, mut range) = (0, None);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "range" => {
                let (start, end) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
                range = Some(start.parse().ok()?..end.parse::<usize>().ok()? + 1);
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let path = target.split('?').next()?;
    let key = path.strip_prefix("/lake/").unwrap_or(path).to_owned();
    Some((Asked { method, key }, range, body))
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let dates = "ETag: \"e\"\r\nLast-Modified: Sat, 28 Nov 2026 00:00:00 GMT\r\n";
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{dates}{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn without_body(answer: Vec<u8>) -> Vec<u8> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    answer[..end].to_vec()
}
