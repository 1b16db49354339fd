//! Workers as processes of this machine, started when a query wants them, and stopped when none did for a while.
//!
//! A worker that starts is waited for by the queries that want it, and by nobody else: the processes are not locked
//! meanwhile. A worker is a [`Group`]: what a program that is a script has started ends with it, and all end with this process.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::{BoxFuture, Shared, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::channels::Channels;
use super::group::Group;
use super::placement::Worker;
use super::provisioner::{Loss, Provisioner};
use super::secret::Secret;
use crate::{Error, Result, panics};

/// How long a worker that was taken for lost may take to say that it is there.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the end of a worker that was killed is waited for: the kernel may have to end what it was doing.
const KILL_TIME: Duration = Duration::from_secs(1);

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
    recipe: Arc<Recipe>,
    channels: Arc<Channels>,
    processes: Arc<Mutex<Processes>>,
    lost: parking_lot::Mutex<Vec<(Url, Loss)>>,
}

/// All of them, by number.
#[derive(Debug, Default)]
struct Processes {
    running: BTreeMap<usize, Process>,
    /// Those that are not ready yet.
    starting: BTreeMap<usize, Starting>,
}

/// A start that goes on although who asked for it may have gone, and that all who want the worker wait for. Gives why it
/// failed, if it did.
type Starting = Shared<BoxFuture<'static, Option<String>>>;

#[derive(Debug)]
struct Process {
    url: Url,
    group: Group,
    /// Since when it takes no more tasks: it ends when those that it has are done.
    draining: Option<Instant>,
    is_killed: bool,
    /// The worker drains when something is written here, and ends when this closes, however this process ends.
    lifeline: tokio::process::ChildStdin,
}

impl LocalProcess {
    pub(super) fn new(recipe: Recipe, channels: Arc<Channels>) -> Self {
        let (processes, lost) = (Arc::default(), parking_lot::Mutex::default());
        Self { recipe: Arc::new(recipe), channels, processes, lost }
    }

    /// The processes, without those that ended or were lost.
    async fn tidied(&self) -> MutexGuard<'_, Processes> {
        let lost: BTreeSet<_> = std::mem::take(&mut *self.lost.lock()).into_iter().collect();
        // A connection may end for many reasons, and other queries have tasks there. What hangs is of no use. All are asked at
        // once, and nobody who wants others waits for it.
        let silent = lost.iter().filter(|(_, how)| *how == Loss::Silent);
        let asked = silent.map(|(url, _)| async move { (url, self.channels.answers(url, ANSWER_TIMEOUT).await) });
        let answers: BTreeMap<&Url, bool> = join_all(asked).await.into_iter().collect();
        let mut processes = self.processes.lock().await;
        let running = &mut processes.running;
        for (url, how) in &lost {
            for process in running.values_mut().filter(|process| process.url == *url) {
                match (how, answers.get(url)) {
                    (Loss::Draining, _) => drop(process.draining.get_or_insert_with(Instant::now)),
                    (Loss::Silent, Some(true)) => tracing::warn!(%url, "a worker that was taken for lost is there"),
                    (Loss::Silent, _) => process.kill(),
                }
            }
        }
        for process in running.values_mut() {
            if process.draining.is_some_and(|since| since.elapsed() > self.recipe.drain_timeout) {
                process.kill();
            }
        }
        // A worker holds its cache's folder until its end. One that does not end keeps it, and its number.
        let killed = running.values_mut().filter(|process| process.is_killed);
        join_all(killed.map(|process| tokio::time::timeout(KILL_TIME, process.group.ended()))).await;
        running.retain(|_, process| process.lives());
        // Who starts one takes it off when it is ready, unless it panicked.
        processes.starting.retain(|_, start| start.peek().is_none());
        processes
    }

    /// Begins to start so many more.
    fn begin(&self, processes: &mut Processes, count: usize) {
        let is_free =
            |number: &usize| !processes.running.contains_key(number) && !processes.starting.contains_key(number);
        let numbers: Vec<usize> = (0..).filter(is_free).take(count).collect();
        for number in numbers {
            // Weak: what starts ends with this.
            let (recipe, all) = (Arc::clone(&self.recipe), Arc::downgrade(&self.processes));
            let start = AbortOnDropHandle::new(tokio::spawn(async move {
                let started = recipe.start(number).await;
                let all = all.upgrade()?;
                let mut processes = all.lock().await;
                let failure = match started {
                    Ok(process) => {
                        processes.running.insert(number, process);
                        None
                    }
                    Err(why) => Some(format!("worker {number} could not be started: {why}")),
                };
                // Last, since this task may be dropped with it.
                processes.starting.remove(&number);
                failure
            }));
            let start = async move {
                start.await.unwrap_or_else(|error| Some(panics::ended("the start of a worker", error).to_string()))
            };
            processes.starting.insert(number, start.boxed().shared());
        }
    }
}

impl Recipe {
    /// # Errors
    /// Says why there is no such process.
    async fn start(&self, number: usize) -> Result<Process, String> {
        let mut command = Command::new(&self.program);
        // A worker has these settings alone: not those that this process has from a file or its environment.
        command.args(["worker", "--listen", "127.0.0.1:0", "--child"]);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(SETTINGS)) {
            command.env_remove(name);
        }
        command.env("POLYNYA__WORKERS__SECRET", self.secret.reveal());
        command.envs(self.environment.iter().map(|(key, value)| (key, value.replace("{}", &number.to_string()))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut group = Group::spawn(command).map_err(|error| format!("{}: {error}", self.program.display()))?;
        let (stdout, lifeline) = group.pipes();
        let (Some(stdout), Some(lifeline)) = (stdout, lifeline) else {
            return Err("it has no pipes".to_owned());
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
            Ok(None) => return Err("it ended at once; its log says why".to_owned()),
            Err(_) => {
                return Err(format!("it was not ready after {:?} (setting workers.start_timeout)", self.start_timeout));
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        tracing::info!(number, %url, "a worker was started");
        Ok(Process { url, group, draining: None, is_killed: false, lifeline })
    }
}

impl Process {
    fn lives(&mut self) -> bool {
        self.group.lives()
    }

    fn kill(&mut self) {
        self.group.kill();
        self.is_killed = true;
    }

    /// Asks the worker to end when its tasks are done.
    async fn drain(&mut self) {
        // A worker that cannot be told has ended.
        let _ = self.lifeline.write_all(b"drain\n").await;
        self.draining = Some(Instant::now());
    }
}

fn named(running: &BTreeMap<usize, Process>) -> Vec<Worker> {
    let takes_tasks = running.iter().filter(|(_, process)| process.draining.is_none() && !process.is_killed);
    takes_tasks
        .map(|(number, process)| Worker { id: Arc::from(format!("local-{number}")), url: process.url.clone() })
        .collect()
}

#[async_trait]
impl Provisioner for LocalProcess {
    async fn workers(&self, wanted: usize) -> Result<Vec<Worker>> {
        let wanted = wanted.clamp(self.recipe.min.max(1), self.recipe.max.max(1));
        let (mut workers, mut starting) = {
            let mut processes = self.tidied().await;
            let workers = named(&processes.running);
            let missing = wanted.saturating_sub(workers.len() + processes.starting.len());
            self.begin(&mut processes, missing);
            (workers, processes.starting.values().cloned().collect::<FuturesUnordered<_>>())
        };
        let mut failure = None;
        while workers.len() < wanted
            && let Some(ended) = starting.next().await
        {
            failure = ended.or(failure);
            workers = named(&self.tidied().await.running);
        }
        if workers.is_empty() {
            return Err(Error::NoWorkers(
                failure.unwrap_or_else(|| "all ended as soon as they had started".to_owned()),
            ));
        }
        if workers.len() < wanted {
            tracing::warn!(error = failure, "a query runs on fewer workers than it wants");
        }
        Ok(workers)
    }

    async fn running(&self) -> Vec<Worker> {
        named(&self.tidied().await.running)
    }

    fn lost(&self, url: &Url, how: Loss) {
        self.lost.lock().push((url.clone(), how));
    }

    async fn idle(&self) {
        let mut processes = self.tidied().await;
        let working = processes.running.values_mut().filter(|process| process.draining.is_none());
        for process in working.skip(self.recipe.min) {
            process.drain().await;
        }
    }
}

#[cfg(test)]
#[path = "local_process_tests.rs"]
mod tests;
