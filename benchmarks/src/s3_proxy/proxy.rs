//! A proxy that runs: what starts it, what is asked of it meanwhile, and what stops it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{self, Shared};
use super::control;
use super::counters::{Counters, Tally};
use super::dice::Dice;
use super::error::{Error, Result};
use super::settings::{Faults, ProxyOptions};
use super::upstream::Upstream;

/// How long to wait when no connection can be accepted, as when the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A proxy before an S3 server. It stops when dropped, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Option<SocketAddr>,
    seed: u64,
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens, and forwards from now on. The S3 server need not be there yet.
    pub async fn start(options: ProxyOptions) -> Result<Self> {
        options.faults.validate()?;
        let upstream = Upstream::new(&options.upstream)?;
        let (listener, address) = listen(options.listen).await?;
        let seed = options.seed.unwrap_or_else(rand::random);
        let shared = Arc::new(Shared {
            faults: watch::Sender::new(options.faults),
            dice: parking_lot::Mutex::new(Dice::new(seed)),
            tally: Tally::default(),
            upstream,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        let mut control = None;
        if let Some(wanted) = options.control {
            let (listener, address) = listen(wanted).await?;
            control = Some(address);
            tasks.spawn(control::serve(listener, Arc::clone(&shared)));
        }
        Ok(Self { address, control, seed, shared, tasks })
    }

    /// Where clients find it: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the control endpoint is, if there is one.
    pub fn control_url(&self) -> Option<String> {
        self.control.map(|address| format!("http://{address}"))
    }

    /// The seed of its dice, to throw them again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What passed since the start, or since the counters were last taken.
    pub fn counters(&self) -> Counters {
        self.shared.tally.peek()
    }

    /// The counters, which begin anew.
    pub fn take_counters(&self) -> Counters {
        self.shared.tally.take()
    }

    /// What the way to S3 is like now.
    pub fn faults(&self) -> Faults {
        *self.shared.faults.borrow()
    }

    /// Changes what the way to S3 is like, for requests that begin from now on; `down` concerns those under way too.
    pub fn set_faults(&self, faults: Faults) -> Result<()> {
        faults.validate()?;
        self.shared.faults.send_replace(faults);
        Ok(())
    }

    /// Stops, and returns when its ports are free. Dropping it does the same a little later.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        shared.tally.add(|counters| counters.conns += 1);
        let shared = Arc::clone(&shared);
        // While S3 is away, this closes the connection at once.
        connections.spawn(async move { connection::serve(stream, &shared).await });
    }
}
