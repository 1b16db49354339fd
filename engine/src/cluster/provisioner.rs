//! Who starts workers: see [`super::ProvisionerKind`].

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use url::Url;

use super::placement::Worker;
use crate::{Error, Result};

/// How long a worker that was lost is left alone.
const SUSPECTED: Duration = Duration::from_secs(5);

/// How long a name server may take.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a name server that took longer is not asked for the same name again.
const UNRESOLVED_FOR: Duration = Duration::from_secs(30);

/// How a worker was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    /// It did not answer.
    Silent,
    /// It ends when its tasks have.
    Draining,
}

/// Why what answers at a worker's address runs no tasks for this coordinator. It is not lost: trying again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It refuses the cluster's secret.
    WrongSecret,
    /// It is something else.
    NoWorker,
}

impl Unfit {
    /// As `system.workers` shows it.
    pub(super) fn state(self) -> &'static str {
        match self {
            Self::WrongSecret => "WRONG_SECRET",
            Self::NoWorker => "NO_WORKER",
        }
    }

    /// What an operator should mend.
    pub(super) fn error(self, url: &Url) -> Error {
        let (setting, message) = match self {
            Self::WrongSecret => (
                "workers.secret",
                format!("the worker at {url} refuses it: it must be the same in the coordinator and in all workers"),
            ),
            Self::NoWorker => ("workers", format!("what answers at {url} is no worker of Polynya")),
        };
        Error::Settings { setting: setting.to_owned(), message }
    }
}

/// Starts and stops workers, and knows where they are.
#[async_trait]
pub(crate) trait Provisioner: Debug + Send + Sync {
    /// Workers that run, `wanted` of them if that is possible. Starts them if need be.
    ///
    /// # Errors
    /// If none can be started.
    async fn workers(&self, wanted: usize) -> Result<Vec<Worker>>;

    /// Workers that run now.
    async fn running(&self) -> Vec<Worker>;

    /// A worker is of no use any more.
    fn lost(&self, url: &Url, how: Loss);

    /// Nothing has run for a while.
    async fn idle(&self);
}

/// Workers that were lost a moment ago, and are left alone for a while.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<HashMap<Url, Instant>>);

impl Suspects {
    /// A worker did not answer.
    pub(super) fn add(&self, url: &Url) {
        self.0.lock().insert(url.clone(), Instant::now());
    }

    /// Those of the workers that were not lost lately.
    pub(super) fn trusted(&self, workers: &[Worker]) -> Vec<Worker> {
        let mut suspected = self.0.lock();
        suspected.retain(|_, since| since.elapsed() < SUSPECTED);
        workers.iter().filter(|worker| !suspected.contains_key(&worker.url)).cloned().collect()
    }
}

/// Workers that somebody else starts.
#[derive(Debug)]
pub(super) struct Static {
    urls: Vec<Url>,
    suspects: Suspects,
    /// The names of which nothing was heard in time, since when.
    unresolved: Mutex<HashMap<Url, Instant>>,
}

impl Static {
    pub(super) fn new(urls: Vec<Url>) -> Self {
        Self { urls, suspects: Suspects::default(), unresolved: Mutex::default() }
    }

    /// All addresses that the names stand for now. All are asked for at once: the wait for a name server that does not
    /// answer is no longer for many.
    async fn resolve(&self) -> Vec<Worker> {
        let found = join_all(self.urls.iter().map(|url| self.addresses(url))).await;
        let mut workers: Vec<Worker> =
            found.into_iter().flatten().map(|url| Worker { id: Arc::from(url.as_str()), url }).collect();
        workers.sort();
        workers.dedup();
        workers
    }

    /// The addresses that a name stands for now.
    async fn addresses(&self, url: &Url) -> Vec<Url> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Vec::new() };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() {
            return vec![url.clone()];
        }
        let known = self.unresolved.lock().get(url).copied();
        if known.is_some_and(|since| since.elapsed() < UNRESOLVED_FOR) {
            return Vec::new();
        }
        let why = match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((bare, port))).await {
            Ok(Ok(found)) => return found.filter_map(|address| at(url, address.ip())).collect(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                self.unresolved.lock().insert(url.clone(), Instant::now());
                format!("there was no answer within {RESOLVE_TIMEOUT:?}")
            }
        };
        tracing::warn!(%url, why, "the name of a worker cannot be resolved");
        Vec::new()
    }
}

fn at(url: &Url, ip: IpAddr) -> Option<Url> {
    let mut url = url.clone();
    url.set_ip_host(ip).ok()?;
    Some(url)
}

#[async_trait]
impl Provisioner for Static {
    async fn workers(&self, _wanted: usize) -> Result<Vec<Worker>> {
        let all = self.running().await;
        if all.is_empty() {
            return Err(Error::NoWorkers("the names in workers.urls stand for no address".to_owned()));
        }
        let trusted = self.suspects.trusted(&all);
        // If nobody is trusted, everybody is tried.
        Ok(if trusted.is_empty() { all } else { trusted })
    }

    async fn running(&self) -> Vec<Worker> {
        self.resolve().await
    }

    fn lost(&self, url: &Url, _how: Loss) {
        self.suspects.add(url);
    }

    async fn idle(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_all_of_its_addresses_each_once() {
        let urls = ["http://localhost:50061", "http://127.0.0.1:50061", "http://[::1]:50061", "http://127.0.0.1:50062"];
        let workers = Static::new(urls.map(|url| Url::parse(url).unwrap()).to_vec()).running().await;
        let found: Vec<&str> = workers.iter().map(|worker| worker.url.as_str()).collect();
        assert_eq!(found, ["http://127.0.0.1:50061/", "http://127.0.0.1:50062/", "http://[::1]:50061/"]);
    }
}
