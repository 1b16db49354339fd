//! An HTTP client that hides nothing: it shows what arrived, and how the connection ended.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A test that waits so long has failed.
const HANG: Duration = Duration::from_secs(30);

/// A connection to the proxy.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer that arrived whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// Chunked bodies with their framing.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// The value of a header in a head, if it has it.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

impl Client {
    pub(crate) async fn connect(url: &str) -> Self {
        let address = url.strip_prefix("http://").unwrap();
        Self { stream: TcpStream::connect(address).await.unwrap(), unread: Vec::new() }
    }

    /// Sends a request without a body, and gives its answer.
    pub(crate) async fn ask(&mut self, request: &str) -> Answer {
        self.send(request.as_bytes()).await;
        self.answer(request.starts_with("HEAD")).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn head(&mut self) -> (u16, String) {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read().await.unwrap() > 0, "the answer ended in its head: {:?}", self.text());
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).unwrap();
        (head[9..12].parse().unwrap(), head)
    }

    pub(crate) async fn answer(&mut self, no_body: bool) -> Answer {
        let (status, head) = self.head().await;
        let mut body = Vec::new();
        if no_body {
        } else if let Some(length) = header(&head, "content-length") {
            let length: usize = length.parse().unwrap();
            while self.unread.len() < length {
                assert!(self.read().await.unwrap() > 0, "the answer ended in its body");
            }
            body = self.unread.drain(..length).collect();
        } else if header(&head, "transfer-encoding").is_some() {
            while self.unread != b"0\r\n\r\n" && !self.unread.ends_with(b"\r\n0\r\n\r\n") {
                assert!(self.read().await.unwrap() > 0, "the answer ended in its chunks");
            }
            body = std::mem::take(&mut self.unread);
        }
        Answer { status, head, body }
    }

    /// All that arrives until the connection ends, and how it ends: in order, or by a reset.
    pub(crate) async fn rest(mut self) -> (Vec<u8>, io::Result<()>) {
        loop {
            match self.read().await {
                Ok(0) => return (self.unread, Ok(())),
                Ok(_) => {}
                Err(error) => return (self.unread, Err(error)),
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        let reading = self.stream.read_buf(&mut self.unread);
        tokio::time::timeout(HANG, reading).await.expect("nothing arrives")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}
