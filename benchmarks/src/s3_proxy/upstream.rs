//! Connections to the S3 server: those that wait for a request, and new ones.

use std::io;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::error::{Error, Result};
use super::wire::Wire;

/// More connections than this do not wait; they are closed.
const IDLE_MAX: usize = 256;
/// A connection waits no longer than this: servers close theirs after some minutes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// The S3 server, and the connections to it that wait.
#[derive(Debug)]
pub(super) struct Upstream {
    authority: String,
    idle: Mutex<Vec<(Wire, Instant)>>,
}

impl Upstream {
    /// The server of a URL such as `http://127.0.0.1:8333`.
    pub(super) fn new(url: &str) -> Result<Self> {
        let wrong = |reason| Error::Upstream { url: url.to_string(), reason };
        let Some(rest) = url.strip_prefix("http://") else { return Err(wrong("it does not begin with http://")) };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@']) {
            return Err(wrong("it has more than a host and a port"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(wrong("it lacks a host, or its port is not a number"));
        }
        Ok(Self { authority: format!("{host}:{port}"), idle: Mutex::default() })
    }

    /// The youngest connection that waits and still lives.
    pub(super) fn waiting(&self) -> Option<Wire> {
        let mut idle = self.idle.lock();
        while let Some((wire, since)) = idle.pop() {
            if since.elapsed() < IDLE_TIME_MAX && wire.is_idle() {
                return Some(wire);
            }
        }
        None
    }

    pub(super) async fn connect(&self) -> io::Result<Wire> {
        let connecting = TcpStream::connect(&self.authority);
        Ok(Wire::new(tokio::time::timeout(CONNECT_TIME_MAX, connecting).await??))
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, wire: Wire) {
        let mut idle = self.idle.lock();
        idle.retain(|(_, since)| since.elapsed() < IDLE_TIME_MAX);
        if idle.len() < IDLE_MAX {
            idle.push((wire, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        let authority = |url| Upstream::new(url).unwrap().authority;
        assert_eq!(authority("http://127.0.0.1:8333/"), "127.0.0.1:8333");
        assert_eq!(authority("http://s3.local"), "s3.local:80");
        assert_eq!(authority("http://[::1]"), "[::1]:80");
        for url in ["https://s3.local", "127.0.0.1:8333", "http://a/b", "http://", "http://a:x", "http://u:p@a"] {
            let error = Upstream::new(url).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains("example"), "{error}");
        }
    }
}
