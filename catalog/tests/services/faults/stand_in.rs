//! A stand-in HTTP server that answers as a test tells it, and counts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use polynya_catalog::{CatalogSettings, CatalogType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How a request is answered.
pub(crate) enum Reply {
    Json(u16, String),
    /// A status and headers as they are.
    Raw(String),
    Hang,
    Close,
}

pub(crate) fn ok(json: impl Into<String>) -> Reply {
    Reply::Json(200, json.into())
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Header lines, names in lower case.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

type Log = Arc<Mutex<Vec<Asked>>>;

/// A server on a free port; gone when dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    log: Log,
    task: JoinHandle<()>,
}

impl StandIn {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (log, answer) = (Log::default(), Arc::new(answer));
        let seen = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                connections.spawn(async move {
                    let _ = serve(stream, &log, answer.as_ref()).await;
                });
            }
        });
        Self { address, log, task }
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn settings(&self) -> CatalogSettings {
        CatalogSettings::new(CatalogType::Rest).with_uri(self.uri())
    }

    /// What was asked of targets that contain this text.
    pub(crate) fn asked(&self, method: &str, part: &str) -> Vec<Asked> {
        let log = self.log.lock().unwrap();
        log.iter().filter(|asked| asked.method == method && asked.target.contains(part)).cloned().collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Log,
    answer: &(dyn Fn(&Asked) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    while let Some(asked) = read(&mut stream).await? {
        log.lock().unwrap().push(asked.clone());
        let text = match answer(&asked) {
            Reply::Json(status, body) => {
                let (kind, length) = ("content-type: application/json", body.len());
                format!("HTTP/1.1 {status} X\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}")
            }
            Reply::Raw(text) => text,
            Reply::Hang => std::future::pending().await,
            Reply::Close => return Ok(()),
        };
        stream.write_all(text.as_bytes()).await?;
    }
    Ok(())
}

async fn read(stream: &mut TcpStream) -> std::io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let lower = |line: &str| match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_lowercase()),
        None => line.to_owned(),
    };
    let headers: Vec<String> = lines.map(lower).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Asked {
        method: first.next().unwrap_or_default(),
        target: first.next().unwrap_or_default(),
        headers,
        body: String::from_utf8_lossy(&bytes[head + 4..]).into_owned(),
    }))
}

/// A configuration without anything.
pub(crate) const CONFIG: &str = r#"{"defaults":{},"overrides":{}}"#;

/// A table's answer, with more fields (`,"config":…`) at its end.
pub(crate) fn table(location: &str, more: &str) -> String {
    format!(
        r#"{{"metadata-location":"{location}/metadata/00000-x.metadata.json","metadata":{{"format-version":2,
        "table-uuid":"9c12d441-03fe-4693-9a96-a0705ddf69c1","location":"{location}","last-sequence-number":0,
        "last-updated-ms":1602638573590,"last-column-id":1,"current-schema-id":0,"schemas":[{{"type":"struct","schema-id":0,
        "fields":[{{"id":1,"name":"id","required":true,"type":"long"}}]}}],"default-spec-id":0,
        "partition-specs":[{{"spec-id":0,"fields":[]}}],"last-partition-id":999,"default-sort-order-id":0,
        "sort-orders":[{{"order-id":0,"fields":[]}}]}}{more}}}"#
    )
}

pub(crate) fn refusal(status: u16, kind: &str) -> Reply {
    Reply::Json(status, format!(r#"{{"error":{{"message":"no {kind}","type":"{kind}","code":{status}}}}}"#))
}
