//! One connection, encrypted or not, and who is at its other end.
//!
//! Until somebody has logged in it is on probation: it ends with an error once its time is over, more has come than a login needs, or it
//! has to make way. That is looked at wherever HTTP/2 waits, so that a client that does not read is not waited for either.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::visits::{TooMany, Unidentified, Visit};
use crate::auth::{Identity, check_name};
use crate::tls::name_in;

/// What a stranger may send, in bytes: a token of many KiB, a few times over. Floods of frames end here.
const STRANGERS_BYTES_MAX: usize = 1 << 20;

/// Who is at the other end; every call of a connection has it among its extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    address: Option<SocketAddr>,
    /// The name in the certificate that was shown and checked.
    user: Option<Arc<str>>,
    visit: Option<Arc<Visit>>,
}

impl Peer {
    /// Its address.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }

    /// The name in its certificate.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Its address, for the log.
    pub(crate) fn shown(&self) -> String {
        self.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
    }

    /// Somebody was let in over this connection; an error if that one has as many as one may.
    pub(crate) fn log_in(&self, identity: &Identity) -> Result<(), TooMany> {
        self.visit.as_ref().map_or(Ok(()), |visit| visit.log_in(identity.user()))
    }

    /// A call over this connection was turned away.
    pub(crate) fn refuse(&self) {
        self.visit.iter().for_each(|visit| visit.refuse());
    }

    /// A call begins whose caller will say who it is in its message; an error if too many of this connection are at that.
    pub(crate) fn unidentified(&self) -> Result<Option<Unidentified<'_>>, ()> {
        self.visit.as_ref().map(|visit| visit.unidentified().ok_or(())).transpose()
    }
}

/// One connection.
pub(crate) struct Connection {
    stream: Stream,
    peer: Peer,
    probation: Option<Probation>,
}

/// What ends a connection on which nobody logs in.
struct Probation {
    visit: Arc<Visit>,
    evicted: Pin<Box<WaitForCancellationFutureOwned>>,
    time: Pin<Box<Sleep>>,
    bytes_left: usize,
    is_over: bool,
}

enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// One that anybody on the way can read.
    pub(super) fn plain(stream: TcpStream, address: SocketAddr, visit: Visit) -> Self {
        Self::new(Stream::Plain(stream), address, None, visit)
    }

    /// One whose handshake is done.
    pub(super) fn encrypted(stream: TlsStream<TcpStream>, address: SocketAddr, visit: Visit) -> Self {
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let user = certificate.and_then(|der| name_in(der.as_ref())).filter(|name| check_name(name).is_ok());
        Self::new(Stream::Encrypted(Box::new(stream)), address, user, visit)
    }

    fn new(stream: Stream, address: SocketAddr, user: Option<String>, visit: Visit) -> Self {
        let visit = Arc::new(visit);
        let peer = Peer { address: Some(address), user: user.map(Into::into), visit: Some(Arc::clone(&visit)) };
        Self { stream, peer, probation: Some(Probation::new(visit)) }
    }

    /// Fails if the connection is to end.
    fn check(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match &mut self.probation {
            None => Ok(()),
            Some(probation) if probation.visit.is_known() => {
                self.probation = None;
                Ok(())
            }
            Some(probation) => probation.check(cx),
        }
    }
}

impl Probation {
    fn new(visit: Arc<Visit>) -> Self {
        let evicted = Box::pin(visit.evicted().clone().cancelled_owned());
        let time = Box::pin(sleep_until(Instant::now() + visit.login_timeout()));
        Self { visit, evicted, time, bytes_left: STRANGERS_BYTES_MAX, is_over: false }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        self.is_over |= self.bytes_left == 0;
        self.is_over =
            self.is_over || self.evicted.as_mut().poll(cx).is_ready() || self.time.as_mut().poll(cx).is_ready();
        match self.is_over {
            true => Err(Error::new(ErrorKind::ConnectionAborted, "nobody has logged in on this connection")),
            false => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        self.check(cx)?;
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        if let Some(probation) = &mut self.probation {
            probation.bytes_left = probation.bytes_left.saturating_sub(buffer.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        self.check(cx)?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check(cx)?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Who is sent away is not waited for.
        self.check(cx)?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        self.check(cx)?;
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}
