//! The connections that a listener takes, handshakes done.
//!
//! Taking connections never waits for any of them: handshakes run beside each other, so that a slow or broken one holds up nobody, and
//! when the system has no descriptor left, a stranger's is given up for the next.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::Connection;
use super::visits::{Visit, Visits};
use crate::tls::Tls;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when the system has nothing left to make a connection of.
const REST: Duration = Duration::from_millis(50);
/// How long a descriptor takes to come free that a stranger had.
const REST_AFTER_EVICTION: Duration = Duration::from_millis(2);

/// The connections that a listener takes; it never ends and never fails.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    visits: Arc<Visits>,
) -> impl Stream<Item = Result<Connection, Error>> + Send {
    let door = Door { listener, tls, visits, handshakes: JoinSet::new() };
    futures::stream::unfold(door, |mut door| async move {
        let connection = door.next().await;
        Some((Ok(connection), door))
    })
}

struct Door {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    visits: Arc<Visits>,
    /// As many as there may be connections without a login.
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
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        // Without a place the stream is dropped, and so closed.
                        let visit = self.visits.enter(address);
                        if let Some(connection) = visit.and_then(|visit| self.open(stream, address, visit)) {
                            return connection;
                        }
                    }
                    Err(error) => self.rest(&error).await,
                },
            }
        }
    }

    /// The connection, unless a handshake comes first.
    fn open(&mut self, stream: TcpStream, address: SocketAddr, visit: Visit) -> Option<Connection> {
        // Answers are small and waited for. A connection that is gone already shows that elsewhere.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return Some(Connection::plain(stream, address, visit)) };
        let acceptor = TlsAcceptor::from(tls.config());
        self.handshakes.spawn(async move {
            let patience = HANDSHAKE_TIMEOUT.min(visit.login_timeout());
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(patience, acceptor.accept(stream)) => shaken,
                () = visit.evicted().cancelled() => return None,
            };
            match shaken {
                Ok(Ok(stream)) => Some(Connection::encrypted(stream, address, visit)),
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

    /// Waits, unless it was only the client that went away.
    async fn rest(&self, error: &Error) {
        let gone = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted];
        if gone.contains(&error.kind()) {
            return;
        }
        if self.visits.make_room() {
            tokio::time::sleep(REST_AFTER_EVICTION).await;
            return;
        }
        tracing::warn!(%error, "a connection could not be taken");
        tokio::time::sleep(REST).await;
    }
}
