//! A Flight SQL server of arrow-flight and nothing else: it answers every query with the same record batches, from memory.
//!
//! What a client reads from it in a second is what the transport gives when nothing is computed: the measure of a real
//! server's large results. It encodes each batch as it sends it, as servers do, without compression, in one message each:
//! the batches are cut as they will travel.

mod service;

use std::net::SocketAddr;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use service::Service;

/// What the server answers to every query.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows, each batch as one message.
    pub batches: Vec<RecordBatch>,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RawFlightError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The server's description of itself cannot be made.
    #[error("the server cannot describe itself")]
    About(#[source] Box<FlightError>),
}

/// A server that runs. It stops when dropped.
#[derive(Debug)]
pub struct RawFlight {
    address: SocketAddr,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl RawFlight {
    /// Listens, and serves from now on. Port 0 takes a free port.
    pub async fn start(listen: SocketAddr, answer: RawAnswer) -> Result<Self, RawFlightError> {
        let failed = |source| RawFlightError::Listen { address: listen, source };
        let service = Service::new(answer).map_err(|error| RawFlightError::About(Box::new(error)))?;
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(FlightServiceServer::new(service));
        Ok(Self { address, serving: tokio::spawn(server.serve_with_incoming(incoming)) })
    }

    /// The address as clients write it.
    pub fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }
}

impl Drop for RawFlight {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
