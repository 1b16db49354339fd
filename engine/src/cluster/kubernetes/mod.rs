//! Workers as pods of a StatefulSet or Deployment: its replicas are raised when a query wants workers, and lowered when
//! none did for a while.
//!
//! Nothing but the number of replicas is changed here; Kubernetes makes, replaces and deletes the pods. A pod's name is
//! the worker's: a StatefulSet's pod that is replaced keeps it, and its volume. How to set it up: docs/kubernetes.md.

mod api;
mod wire;

#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use tokio::sync::Mutex;
use url::Url;

use self::api::{Api, Failed};
use super::placement::Worker;
use super::provisioner::{Loss, Provisioner, Suspects};
use super::settings::WorkerSettings;
use crate::Result;

/// How often it is looked whether pods are ready.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// How long pods are waited for before the replicas are looked at again: somebody else may have lowered them.
const ROUND: Duration = Duration::from_secs(5);
/// No call is sent again later than this after its first time.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long idle replicas are left alone when there was nothing to stop, and when that could not be told.
const REST: Duration = Duration::from_secs(60);
const REST_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Kubernetes {
    api: Api,
    port: u16,
    min: usize,
    max: usize,
    /// How long a query waits for all pods that it wants when it could have some.
    patience: Duration,
    retry_timeout: Duration,
    suspects: Suspects,
    /// Held while the replicas are looked at and changed. Until this time there is nothing to stop.
    resizing: Mutex<Instant>,
}

impl Kubernetes {
    /// # Errors
    /// `Settings`, where they name no workload, or nothing says where the API server is.
    pub(super) fn new(settings: &WorkerSettings) -> Result<Self> {
        Ok(Self {
            api: Api::new(&settings.kubernetes)?,
            port: settings.kubernetes.port,
            min: settings.min.min(settings.max),
            max: settings.max,
            patience: settings.start_timeout / 2,
            retry_timeout: RETRY_TIMEOUT,
            suspects: Suspects::default(),
            resizing: Mutex::new(Instant::now()),
        })
    }

    /// Sees to it that there are so many replicas at least. Gives the selector of their pods.
    async fn raise(&self, wanted: usize) -> Result<String> {
        let mut rests_until = self.resizing.lock().await;
        *rests_until = Instant::now();
        self.patiently(|| self.raise_once(wanted)).await
    }

    async fn raise_once(&self, wanted: usize) -> Result<String, Failed> {
        let scale = self.api.scale().await?;
        if scale.spec.replicas < wanted {
            self.api.set_replicas(&scale, wanted).await?;
            let (workload, before) = (self.api.workload(), scale.spec.replicas);
            tracing::info!(%workload, before, now = wanted, "replicas were raised");
        }
        Ok(scale.status.selector)
    }

    /// Lowers the replicas to those that are kept when nothing runs.
    async fn lower(&self) -> Result<(), Failed> {
        let scale = self.api.scale().await?;
        if scale.spec.replicas > self.min {
            self.api.set_replicas(&scale, self.min).await?;
            let (workload, before) = (self.api.workload(), scale.spec.replicas);
            tracing::info!(%workload, before, now = self.min, "replicas were lowered");
        }
        Ok(())
    }

    /// The pods that can run tasks now.
    async fn ready(&self, selector: &str) -> Result<Vec<Worker>, Failed> {
        let pods = self.api.pods(selector).await?;
        let mut workers: Vec<Worker> = pods.iter().filter_map(|pod| pod.worker(self.port)).collect();
        workers.sort();
        Ok(workers)
    }

    /// Waits for pods, for one round. Those that were lost a moment ago may be the only ones: then others must come, or
    /// time must pass.
    async fn wait(&self, selector: &str, wanted: usize, began: Instant) -> Result<Option<Vec<Worker>>> {
        let round = Instant::now();
        while round.elapsed() < ROUND {
            let ready = self.patiently(|| self.ready(selector)).await?;
            let trusted = self.suspects.trusted(&ready);
            let enough = ready.len() >= wanted;
            if !trusted.is_empty() && (enough || began.elapsed() >= self.patience) {
                if !enough {
                    let (workload, ready) = (self.api.workload(), ready.len());
                    tracing::warn!(%workload, wanted, ready, "a query runs on fewer workers than it wants");
                }
                return Ok(Some(trusted));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(None)
    }

    /// Tries again what may pass, for a while.
    async fn patiently<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(1))
            .without_max_times()
            .with_jitter();
        let began = Instant::now();
        let may_pass = |failed: &Failed| failed.may_pass && began.elapsed() < self.retry_timeout;
        attempt.retry(backoff).when(may_pass).await.map_err(|failed| failed.error)
    }
}

#[async_trait]
impl Provisioner for Kubernetes {
    async fn workers(&self, wanted: usize) -> Result<Vec<Worker>> {
        let wanted = wanted.clamp(self.min.max(1), self.max.max(1));
        let began = Instant::now();
        loop {
            let selector = self.raise(wanted).await?;
            if let Some(workers) = self.wait(&selector, wanted, began).await? {
                return Ok(workers);
            }
        }
    }

    async fn running(&self) -> Vec<Worker> {
        let found = async {
            let scale = self.api.scale().await?;
            self.ready(&scale.status.selector).await
        };
        match found.await {
            Ok(workers) => workers,
            Err(failed) => {
                tracing::warn!(error = %failed.error, "it is not known which workers run");
                Vec::new()
            }
        }
    }

    /// The pod is left to Kubernetes, which restarts or replaces it.
    fn lost(&self, url: &Url, _how: Loss) {
        self.suspects.add(url);
    }

    async fn idle(&self) {
        // Who holds it raises the replicas: then something is about to run.
        let Ok(mut rests_until) = self.resizing.try_lock() else { return };
        if Instant::now() < *rests_until {
            return;
        }
        let rest = match self.lower().await {
            Ok(()) => REST,
            Err(failed) => {
                tracing::warn!(error = %failed.error, "idle workers could not be stopped yet");
                REST_AFTER_FAILURE
            }
        };
        *rests_until = Instant::now() + rest;
    }
}
