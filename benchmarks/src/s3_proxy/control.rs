//! The control endpoint: counters as JSON, and settings to change while the proxy runs (docs/s3-proxy.md).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::Shared;
use super::framing::Framing;
use super::head::RequestHead;
use super::wire::Wire;

/// Settings are shorter than this.
const BODY_BYTES_MAX: u64 = 64 * 1024;
const TIME_MAX: Duration = Duration::from_secs(10);
const PATHS: &str = "GET / (counters, which begin anew), GET /peek (counters), GET /faults, POST /faults";

/// A status line's end, and a body.
type Answer = (&'static str, String);

/// Answers until its task ends. Each connection carries one request.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        if let Ok((stream, _)) = accepted {
            let shared = Arc::clone(&shared);
            connections.spawn(async move {
                // Who asked sees that there is no answer.
                let _ = tokio::time::timeout(TIME_MAX, answer(stream, &shared)).await;
            });
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn answer(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    let (mut reader, mut writer) = wire.split();
    let Some(head) = reader.head(RequestHead::parse).await? else { return Ok(()) };
    let length = Framing::of_request(&head)?.remaining().unwrap_or(u64::MAX);
    let (status, body) = if length > BODY_BYTES_MAX {
        error("413 Content Too Large", "settings of unknown or too great length")
    } else {
        while (reader.unread.len() as u64) < length && reader.fill().await? > 0 {}
        let sent = reader.unread.len().min(length as usize);
        route(&head, &reader.unread[..sent], shared)
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    writer.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await?;
    wire.close_after_reading().await
}

fn route(head: &RequestHead, body: &[u8], shared: &Shared) -> Answer {
    let path = head.target.split('?').next().unwrap_or_default();
    match (head.method.as_str(), path) {
        ("GET", "/") => json(&shared.tally.take()),
        ("GET", "/peek") => json(&shared.tally.peek()),
        ("GET", "/faults") => json(&*shared.faults.borrow()),
        ("POST", "/faults") => change(body, shared),
        _ => error("404 Not Found", &format!("there are {PATHS}")),
    }
}

/// Puts the given settings in place of those that were; the others stay.
fn change(body: &[u8], shared: &Shared) -> Answer {
    let mut refused = None;
    shared.faults.send_if_modified(|faults| match faults.changed_by(body) {
        Ok(changed) => std::mem::replace(faults, changed) != changed,
        Err(error) => {
            refused = Some(error);
            false
        }
    });
    match refused {
        None => json(&*shared.faults.borrow()),
        Some(reason) => {
            let source = std::error::Error::source(&reason).map(|source| format!(": {source}"));
            error("400 Bad Request", &format!("{reason}{}", source.unwrap_or_default()))
        }
    }
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(text) => ("200 OK", text + "\n"),
        Err(reason) => error("500 Internal Server Error", &reason.to_string()),
    }
}

fn error(status: &'static str, message: &str) -> Answer {
    (status, serde_json::json!({ "error": message }).to_string() + "\n")
}
