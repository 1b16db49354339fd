//! The connections that a listener takes, handshakes done.
//!
//! Handshakes run beside each other, so that a slow or broken one holds up nobody; one that fails is only logged.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Tls;
use super::connection::Connection;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at the same time; more connections wait in the system's queue.
const HANDSHAKES_MAX: usize = 1024;
/// How long to wait when the system has nothing left to make a connection of.
const REST: Duration = Duration::from_millis(50);

/// The connections that a listener takes; it never ends and never fails.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
) -> impl Stream<Item = Result<Connection, Error>> + Send {
    let door = Door { listener, tls, handshakes: JoinSet::new() };
    futures::stream::unfold(door, |mut door| async move {
        let connection = door.next().await;
        Some((Ok(connection), door))
    })
}

struct Door {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    handshakes: JoinSet<Option<Connection>>,
}

impl Door {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next(), if !self.handshakes.is_empty() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES_MAX => match accepted {
                    Ok((stream, address)) => {
                        if let Some(connection) = self.open(stream, address) {
                            return connection;
                        }
                    }
                    Err(error) => rest(&error).await,
                },
            }
        }
    }

    /// The connection, unless a handshake comes first.
    fn open(&mut self, stream: TcpStream, address: SocketAddr) -> Option<Connection> {
        // Answers are small and waited for. A connection that is gone already shows that elsewhere.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Some(Connection::plain(stream, address)) };
        let acceptor = TlsAcceptor::from(tls.config());
        self.handshakes.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => Some(Connection::encrypted(stream, address)),
                Ok(Err(error)) => {
                    tracing::info!(%address, %error, "a TLS handshake failed");
                    None
                }
                Err(_) => {
                    tracing::info!(%address, "a TLS handshake took too long");
                    None
                }
            }
        });
        None
    }
}

/// Waits, unless it was only the client that went away.
async fn rest(error: &Error) {
    let gone = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted];
    if !gone.contains(&error.kind()) {
        tracing::warn!(%error, "a connection could not be taken");
        tokio::time::sleep(REST).await;
    }
}
