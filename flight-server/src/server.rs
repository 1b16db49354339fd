//! A running server: listening, health, housekeeping, and the way it stops.
//!
//! Stopping is gentle. First health says NOT_SERVING and new statements are refused, while results that clients were
//! promised may still be fetched. When nothing runs, or the deadline has passed, connections are closed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use polynya_engine::Engine;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::activity::Activity;
use crate::auth::{Authenticator, Gate};
use crate::door::{Limits, Visits, incoming, raise_descriptors};
use crate::quota::{self, Quota};
use crate::results::Results;
use crate::service::PolynyaService;
use crate::settings::{Error as SettingsError, ServerSettings};
use crate::tls::Tls;

/// The largest header list that is accepted, in bytes. Drivers send tokens and cookies of many KiB.
const HEADER_LIST_BYTES_MAX: u32 = 256 * 1024;
/// Calls of one connection at the same time. Half-read results count, and clients wait for their turn without saying so.
const STREAMS_MAX: u32 = 1000;
/// Calls of one connection that its client gave up before they began, or that broke the protocol; then it is closed
/// (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 100;
const PROTOCOL_RESETS_MAX: usize = 1024;
/// How often a silent connection is asked whether its client still lives; a dead client's queries stop.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often forgotten sessions and results are dropped.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(10);
/// How long a draining server waits for a client to fetch what it was just promised.
const PROMISE_GRACE: Duration = Duration::from_secs(2);
/// How long statements that change something may take to end once the deadline has passed: commits to be carried through, the files of
/// others to be deleted.
const COMMIT_GRACE: Duration = Duration::from_secs(10);
/// How long connections may take to close once nothing runs.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A server that listens. It stops with [`Server::drain`], or at once when it is dropped.
#[derive(Debug)]
pub struct Server {
    engine: Arc<Engine>,
    address: SocketAddr,
    activity: Activity,
    results: Results,
    drain_timeout: Duration,
    health: Health,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    housekeeping: JoinHandle<()>,
    freshness: JoinHandle<()>,
    is_encrypted: bool,
    methods: Vec<&'static str>,
}

/// The health service's switch.
#[derive(Clone)]
struct Health(HealthReporter);

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}

impl Health {
    /// Sets the status of the whole server, and of the Flight service in it.
    async fn set(&self, status: ServingStatus) {
        for service in ["", "arrow.flight.protocol.FlightService"] {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// Why a server could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A setting forbids it.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {listen} (setting server.listen)")]
    Listen {
        /// The address as written.
        listen: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The service could not be made.
    #[error("the service could not be set up")]
    Setup(#[source] Box<tonic::Status>),
    /// The listener failed while serving.
    #[error("the server stopped by itself")]
    Transport(#[source] Box<tonic::transport::Error>),
}

impl Server {
    /// Listens and begins to serve. Port 0 takes a free port; see [`Server::address`].
    pub async fn bind(engine: Arc<Engine>, settings: &ServerSettings) -> Result<Self, ServerError> {
        let auth = Arc::new(Authenticator::new(settings)?);
        let tls = settings.tls.as_ref().map(Tls::new).transpose()?;
        let listener = listen(settings).await?;
        let address = listener.local_addr().map_err(|source| cannot_listen(settings, source))?;
        let activity = Activity::new();
        let quota = Quota::new(&quota::RESULTS, settings.pending_results_max, settings);
        let results = Results::new(settings.result_lifetime, quota);
        let service =
            PolynyaService::new(Arc::clone(&engine), Arc::clone(&auth), settings, results.clone(), activity.clone())
                .map_err(|status| ServerError::Setup(Box::new(status)))?;

        let (reporter, health_service) = tonic_health::server::health_reporter();
        let health = Health(reporter);
        health.set(ServingStatus::Serving).await;

        let max_message_bytes = usize::try_from(settings.max_message_bytes.as_u64()).unwrap_or(usize::MAX);
        let flight = FlightServiceServer::new(service.clone())
            .max_decoding_message_size(max_message_bytes)
            .max_encoding_message_size(usize::MAX);
        let flight = Gate::new(flight, Arc::clone(&auth), service.sessions());
        let methods = auth.methods();
        let visits = Visits::new(Limits::new(settings, raise_descriptors()));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let serving = tonic::transport::Server::builder()
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .http2_max_local_error_reset_streams(Some(PROTOCOL_RESETS_MAX))
            // Windows begin with 64 KiB, which is what a stranger can make the server keep, and grow to 16 MiB as an upload is read.
            .http2_adaptive_window(Some(true))
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .add_service(health_service)
            .add_service(flight)
            .serve_with_incoming_shutdown(incoming(listener, tls.clone(), visits), stopped);
        Ok(Self {
            engine,
            address,
            activity,
            results,
            drain_timeout: settings.drain_timeout,
            health,
            stop,
            serving: tokio::spawn(serving),
            housekeeping: tokio::spawn(keep_house(service)),
            is_encrypted: tls.is_some(),
            freshness: tokio::spawn(keep_fresh(auth, tls)),
            methods,
        })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as clients write it.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_encrypted { "grpc+tls" } else { "grpc" }, self.address)
    }

    /// Who may call, in a few words for the operator.
    pub fn access(&self) -> String {
        let is_loopback = self.address.ip().is_loopback();
        match (self.methods.as_slice(), is_loopback) {
            ([], true) => "no authentication, loopback only".to_owned(),
            ([], false) => "no authentication, OPEN TO THE NETWORK".to_owned(),
            (methods, _) => format!("authentication by {}", methods.join(", ")),
        }
    }

    /// How many statements and result streams run.
    pub fn running(&self) -> usize {
        self.activity.running()
    }

    /// Serves until it ends by itself, which is an error. Cancel-safe.
    pub async fn failed(&mut self) -> ServerError {
        match (&mut self.serving).await {
            Ok(Err(error)) => ServerError::Transport(Box::new(error)),
            Ok(Ok(())) => ServerError::Setup(Box::new(tonic::Status::aborted("the listener ended"))),
            Err(error) => ServerError::Setup(Box::new(tonic::Status::internal(error.to_string()))),
        }
    }

    /// Refuses new statements, lets running ones finish within the deadline, closes. Gives how many were cut off. Statements that
    /// change something and whose clients are gone are waited for, too; past the deadline, those that are being committed.
    pub async fn drain(mut self) -> usize {
        self.health.set(ServingStatus::NotServing).await;
        self.activity.begin_draining();
        tracing::info!(running = self.activity.running(), deadline = ?self.drain_timeout, "draining");
        // A deadline that passes is not an error: what still runs is cut off and counted.
        let _ = tokio::time::timeout(self.drain_timeout, self.quiet()).await;
        let cut_off = self.activity.running();
        if self.engine.changes_under_way() > 0 {
            let left = self.engine.end_changes(COMMIT_GRACE).await;
            if left > 0 {
                tracing::warn!(
                    left,
                    "statements that change something were cut off: whoever starts next finishes or undoes them"
                );
            }
        }
        self.stop.cancel();
        if cut_off > 0 || tokio::time::timeout(CLOSE_TIMEOUT, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
        tracing::info!(cut_off, "stopped");
        cut_off
    }

    /// Waits until nothing runs and nobody is about to fetch a result.
    async fn quiet(&self) {
        loop {
            self.activity.idle().await;
            if self.engine.changes_under_way() == 0 && !self.results.has_pending_younger_than(PROMISE_GRACE) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.serving.abort();
        self.housekeeping.abort();
        self.freshness.abort();
    }
}

async fn keep_house(service: PolynyaService) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING_INTERVAL);
    loop {
        ticks.tick().await;
        service.expire();
    }
}

/// Reads files and keys again when they change.
async fn keep_fresh(auth: Arc<Authenticator>, tls: Option<Arc<Tls>>) {
    let certificate = async {
        if let Some(tls) = tls {
            tls.keep_fresh().await;
        }
    };
    tokio::join!(auth.keep_fresh(), certificate);
}

/// Opens the first address that the setting stands for, after checking all of them for exposure.
async fn listen(settings: &ServerSettings) -> Result<TcpListener, ServerError> {
    let failed = |source| cannot_listen(settings, source);
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&settings.listen).await.map_err(failed)?.collect();
    for address in &addresses {
        settings.check_exposure(address.ip())?;
    }
    let listener = TcpListener::bind(addresses.as_slice()).await.map_err(failed)?;
    let exposed = |ip: IpAddr| !ip.is_loopback();
    if listener.local_addr().is_ok_and(|address| exposed(address.ip())) {
        warn_of_exposure(settings);
    }
    Ok(listener)
}

/// Says loudly what the operator has allowed.
fn warn_of_exposure(settings: &ServerSettings) {
    let listen = &settings.listen;
    if !settings.asks_callers() {
        tracing::warn!(
            listen,
            "INSECURE: anyone who reaches this address can run SQL, because no authentication is configured"
        );
    } else if settings.tls.is_none() {
        tracing::warn!(listen, "INSECURE: passwords and tokens travel as they are, because TLS is not configured");
    }
}

fn cannot_listen(settings: &ServerSettings, source: std::io::Error) -> ServerError {
    ServerError::Listen { listen: settings.listen.clone(), source }
}
