//! A stand-in for an S3 server. A key's name tells its length: `/b/1000.parquet` has 1000 bytes, `/b/chunked-1000.parquet` comes in
//! chunks. `/b/hangs-up` ends the connection after the answer without a word, `/b/denied` refuses uploads before they are sent, and
//! `/b/never-read` never reads them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::client::header;

/// The byte at a place of every object; never zero.
pub(crate) fn byte_at(place: u64) -> u8 {
    (place % 251) as u8 + 1
}

/// The bytes of an object from one place to before another.
pub(crate) fn bytes(from: u64, to: u64) -> Vec<u8> {
    (from..to).map(byte_at).collect()
}

/// What the server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) heads: Mutex<Vec<String>>,
    pub(crate) connections: AtomicU64,
    pub(crate) body_bytes_written: AtomicU64,
}

/// The server; gone when dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::<Seen>::default());
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, SeqCst);
                let seen = Arc::clone(&shared);
                connections.spawn(async move { serve(BufReader::new(stream), &seen).await });
            }
        });
        Self { address, seen, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of the requests until now, byte for byte.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: BufReader<TcpStream>, seen: &Seen) -> Option<()> {
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        seen.heads.lock().unwrap().push(head.clone());
        let mut words = head.split(' ');
        let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
        if method == "PUT" {
            receive(&mut stream, &target, &head).await?;
        } else {
            give(&mut stream, &method, &target, &head, seen).await?;
        }
        if target == "/b/hangs-up" {
            return None;
        }
    }
}

/// Takes an upload, and answers with its length and the sum of its bytes.
async fn receive(stream: &mut BufReader<TcpStream>, target: &str, head: &str) -> Option<()> {
    if target == "/b/denied" {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await.ok()?;
        return None;
    }
    if target == "/b/never-read" {
        std::future::pending::<()>().await;
    }
    if header(head, "expect").is_some() {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    let (mut length, mut sum, mut buffer) = (0, 0, vec![0; 1 << 16]);
    let mut remaining: usize = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
    let chunked = header(head, "transfer-encoding").is_some();
    loop {
        if chunked {
            remaining = chunk_size(stream).await?;
        }
        let last = remaining == 0;
        while remaining > 0 {
            let most = remaining.min(buffer.len());
            let read = stream.read(&mut buffer[..most]).await.ok().filter(|&read| read > 0)?;
            (remaining, length) = (remaining - read, length + read);
            sum += buffer[..read].iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
        if chunked {
            stream.read_line(&mut String::new()).await.ok()?;
        }
        if last || !chunked {
            break;
        }
    }
    let answer = format!("HTTP/1.1 200 OK\r\nX-Bytes: {length}\r\nX-Sum: {sum}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.ok()
}

async fn chunk_size(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    usize::from_str_radix(line.split([';', '\r']).next()?, 16).ok()
}

/// Gives an object, or a range of it.
async fn give(stream: &mut BufReader<TcpStream>, method: &str, target: &str, head: &str, seen: &Seen) -> Option<()> {
    let key = target.split('?').next()?.strip_prefix("/b").unwrap_or_default().trim_start_matches('/');
    let chunked = key.starts_with("chunked-");
    let name = key.trim_start_matches("chunked-").split('.').next()?;
    let total: u64 = name.parse().unwrap_or(2);
    let (from, to) = range(head, total).unwrap_or((0, total));
    let status = if (from, to) == (0, total) { "200 OK" } else { "206 Partial Content" };
    let mut answer = format!("HTTP/1.1 {status}\r\nx-amz-Request-ID: 1\r\n");
    if status.starts_with("206") {
        answer += &format!("Content-Range: bytes {from}-{}/{total}\r\n", to - 1);
    }
    if chunked {
        answer += "Transfer-Encoding: chunked\r\n\r\n";
    } else {
        answer += &format!("Content-Length: {}\r\n\r\n", to - from);
    }
    stream.write_all(answer.as_bytes()).await.ok()?;
    if method == "HEAD" {
        return Some(());
    }
    let mut at = from;
    while at < to {
        let piece = bytes(at, to.min(at + (64 << 10)));
        if chunked {
            stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
        }
        stream.write_all(&piece).await.ok()?;
        if chunked {
            stream.write_all(b"\r\n").await.ok()?;
        }
        at += piece.len() as u64;
        seen.body_bytes_written.fetch_add(piece.len() as u64, SeqCst);
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await.ok()?;
    }
    Some(())
}

fn range(head: &str, total: u64) -> Option<(u64, u64)> {
    let (first, last) = header(head, "range")?.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        return Some((total - last.parse::<u64>().ok()?, total));
    }
    Some((first.parse().ok()?, last.parse::<u64>().map_or(total, |last| last + 1).min(total)))
}
