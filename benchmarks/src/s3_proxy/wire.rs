//! A TCP connection with the bytes that were read from it and not yet used: at most one buffer, or one head.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::head::Parsed;

/// How much is read at a time.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// Longer heads are refused.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    unread: BytesMut,
}

/// The side of a connection that is read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    half: ReadHalf<'a>,
    pub(super) unread: &'a mut BytesMut,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Without it small writes wait for the other side's acknowledgement; the latency is ours to choose.
        let _ = stream.set_nodelay(true);
        Self { stream, unread: BytesMut::new() }
    }

    pub(super) fn split(&mut self) -> (Reader<'_>, WriteHalf<'_>) {
        let (half, writer) = self.stream.split();
        (Reader { half, unread: &mut self.unread }, writer)
    }

    /// Whether the other side still holds the connection, and has sent nothing unasked.
    pub(super) fn is_idle(&self) -> bool {
        let waits = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.unread.is_empty() && self.stream.try_read(&mut [0]).is_err_and(waits)
    }

    /// Ends the connection with a TCP reset; what was written and not yet sent is lost.
    pub(super) fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Ends the connection in order: the other side gets all that was written, although it may still be sending.
    pub(super) async fn close_after_reading(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let mut ignored = [0; 4096];
        while self.stream.read(&mut ignored).await? > 0 {}
        Ok(())
    }
}

impl Reader<'_> {
    /// Waits for bytes; 0 when the other side has ended.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        self.unread.reserve(BUFFER_BYTES);
        self.half.read_buf(self.unread).await
    }

    /// The head of the next message, or none if the other side ended before it.
    pub(super) async fn head<T>(&mut self, parse: fn(&[u8]) -> Parsed<T>) -> io::Result<Option<T>> {
        loop {
            if let Some((head, length)) = parse(self.unread)? {
                self.unread.advance(length);
                return Ok(Some(head));
            }
            if self.unread.len() >= HEAD_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of a message is too long"));
            }
            if self.fill().await? == 0 {
                return if self.unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }
}
