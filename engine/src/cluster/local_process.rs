//! Workers as processes of this machine, started when a query wants them, and stopped when none did for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};
use url::Url;

use super::channels::Channels;
use super::placement::Worker;
use super::provisioner::{Loss, Provisioner};
use super::secret::Secret;
use crate::{Error, Result};

/// How long a worker that was taken for lost may take to say that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What the names of settings in the environment begin with.
const SETTINGS: &str = "POLYNYA__";

/// What a worker process needs to know.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub(super) program: PathBuf,
    pub(super) secret: Secret,
    /// Settings of a worker, as the environment has them; `{}` stands for the worker's number.
    pub(super) environment: Vec<(String, String)>,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) start_timeout: Duration,
    /// How long a worker may take to end its tasks.
    pub(super) drain_timeout: Duration,
}

/// See the module. A worker's number is its name: the one that takes it next finds the cache of the one before.
#[derive(Debug)]
pub(super) struct LocalProcess {
    recipe: Recipe,
    channels: Arc<Channels>,
    running: Mutex<BTreeMap<usize, Process>>,
    lost: parking_lot::Mutex<Vec<(Url, Loss)>>,
}

#[derive(Debug)]
struct Process {
    url: Url,
    child: Child,
    /// Since when it takes no more tasks: it ends when those that it has are done.
    draining: Option<Instant>,
    is_killed: bool,
    /// The worker drains when something is written here, and ends when this closes, however this process ends.
    lifeline: tokio::process::ChildStdin,
}

impl LocalProcess {
    pub(super) fn new(recipe: Recipe, channels: Arc<Channels>) -> Self {
        Self { recipe, channels, running: Mutex::default(), lost: parking_lot::Mutex::default() }
    }

    /// The processes, without those that ended or were lost.
    async fn tidied(&self) -> MutexGuard<'_, BTreeMap<usize, Process>> {
        let mut running = self.running.lock().await;
        let lost: BTreeSet<_> = std::mem::take(&mut *self.lost.lock()).into_iter().collect();
        for (url, how) in lost {
            for process in running.values_mut().filter(|process| process.url == url) {
                match how {
                    // A connection may end for many reasons, and other queries have tasks there. What hangs is of no use.
                    Loss::Silent if process.lives() && self.channels.answers(&url, ANSWER_TIMEOUT).await => {
                        tracing::warn!(%url, "a worker that was taken for lost is there");
                    }
                    Loss::Silent => {
                        let _ = process.child.start_kill();
                        process.is_killed = true;
                    }
                    Loss::Draining => drop(process.draining.get_or_insert_with(Instant::now)),
                }
            }
        }
        // A worker holds its cache's folder until its end.
        for process in running.values_mut().filter(|process| process.is_killed) {
            let _ = process.child.wait().await;
        }
        for process in running.values_mut() {
            if process.draining.is_some_and(|since| since.elapsed() > self.recipe.drain_timeout) {
                let _ = process.child.kill().await;
            }
        }
        running.retain(|_, process| process.lives());
        running
    }
}

impl Recipe {
    async fn start(&self, number: usize) -> Result<Process> {
        let failed = |why: String| Error::NoWorkers(format!("worker {number} could not be started: {why}"));
        let mut command = Command::new(&self.program);
        // A worker has these settings alone: not those that this process has from a file or its environment.
        command.args(["worker", "--listen", "127.0.0.1:0", "--child"]);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(SETTINGS)) {
            command.env_remove(name);
        }
        command.env("POLYNYA__WORKERS__SECRET", self.secret.reveal());
        command.envs(self.environment.iter().map(|(key, value)| (key, value.replace("{}", &number.to_string()))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| failed(format!("{}: {error}", self.program.display())))?;
        let (Some(stdout), Some(lifeline)) = (child.stdout.take(), child.stdin.take()) else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) =
                    line.split_whitespace().find_map(|word| Url::parse(word).ok().filter(|url| url.scheme() == "http"))
                {
                    return Some(url);
                }
            }
            None
        };
        let url = match tokio::time::timeout(self.start_timeout, ready).await {
            Ok(Some(url)) => url,
            Ok(None) => return Err(failed("it ended at once; its log says why".to_owned())),
            Err(_) => {
                return Err(failed(format!(
                    "it was not ready after {:?} (setting workers.start_timeout)",
                    self.start_timeout
                )));
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        tracing::info!(number, %url, "a worker was started");
        Ok(Process { url, child, draining: None, is_killed: false, lifeline })
    }
}

impl Process {
    fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the worker to end when its tasks are done.
    async fn drain(&mut self) {
        // A worker that cannot be told has ended.
        let _ = self.lifeline.write_all(b"drain\n").await;
        self.draining = Some(Instant::now());
    }
}

fn named(running: &BTreeMap<usize, Process>) -> Vec<Worker> {
    let takes_tasks = running.iter().filter(|(_, process)| process.draining.is_none());
    takes_tasks
        .map(|(number, process)| Worker { id: Arc::from(format!("local-{number}")), url: process.url.clone() })
        .collect()
}

#[async_trait]
impl Provisioner for LocalProcess {
    async fn workers(&self, wanted: usize) -> Result<Vec<Worker>> {
        let mut running = self.tidied().await;
        let wanted = wanted.clamp(self.recipe.min.max(1), self.recipe.max.max(1));
        let missing = wanted.saturating_sub(named(&running).len());
        let numbers: Vec<usize> = (0..).filter(|number| !running.contains_key(number)).take(missing).collect();
        let started = join_all(numbers.iter().map(|number| self.recipe.start(*number))).await;
        let mut failure = None;
        for (number, started) in numbers.into_iter().zip(started) {
            match started {
                Ok(process) => drop(running.insert(number, process)),
                Err(error) => failure = Some(error),
            }
        }
        let workers = named(&running);
        match failure {
            Some(error) if workers.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(%error, "a query runs on fewer workers than it wants");
                Ok(workers)
            }
            None => Ok(workers),
        }
    }

    async fn running(&self) -> Vec<Worker> {
        named(&*self.tidied().await)
    }

    fn lost(&self, url: &Url, how: Loss) {
        self.lost.lock().push((url.clone(), how));
    }

    async fn idle(&self) {
        let mut running = self.tidied().await;
        let working = running.values_mut().filter(|process| process.draining.is_none());
        for process in working.skip(self.recipe.min) {
            process.drain().await;
        }
    }
}
