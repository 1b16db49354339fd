//! Processes that are slow, that do not start, and that are more than one: scripts stand in for workers.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// What a script says once it is ready; its number tells it from others.
const READY: &str = "echo \"it is ready on http://127.0.0.1:$((1000 + NUMBER))/\"";
/// How long nothing that must not wait may take.
const SOON: Duration = Duration::from_secs(5);

struct Scripted {
    processes: Arc<LocalProcess>,
    folder: TempDir,
}

impl Scripted {
    /// Workers that run a script in the shell, with `NUMBER` and `FOLDER` set.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let written = folder.path().join("written");
        std::fs::write(&written, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&written, std::fs::Permissions::from_mode(0o700)).unwrap();
        let program = folder.path().join("worker");
        // Copied by another process: what a process of ours has open for writing, while it forks, cannot be run.
        assert!(std::process::Command::new("cp").arg(&written).arg(&program).status().unwrap().success());
        let secret = Secret::random();
        let recipe = Recipe {
            program,
            secret: secret.clone(),
            environment: vec![
                ("NUMBER".to_owned(), "{}".to_owned()),
                ("FOLDER".to_owned(), folder.path().display().to_string()),
            ],
            min: 0,
            max: 4,
            start_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(60),
        };
        Self { processes: Arc::new(LocalProcess::new(recipe, Channels::new(secret))), folder }
    }

    /// Asks for workers, beside what the test does.
    fn asked(&self, wanted: usize) -> AbortOnDropHandle<Result<Vec<Worker>>> {
        let processes = Arc::clone(&self.processes);
        AbortOnDropHandle::new(tokio::spawn(async move { processes.workers(wanted).await }))
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn ids(workers: &[Worker]) -> Vec<&str> {
    workers.iter().map(|worker| worker.id.as_ref()).collect()
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("within ten seconds: {what}");
}

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, work).await.unwrap_or_else(|_| panic!("{what} waited"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_worker_that_starts_but_those_who_want_it() {
    let wait = "while [ \"$NUMBER\" != 0 ] && [ ! -e \"$FOLDER/go\" ]; do sleep 0.05; done";
    let scripted = Scripted::new(&format!("touch \"$FOLDER/begun-$NUMBER\"\n{wait}\n{READY}\nexec cat"));
    let processes = &scripted.processes;
    assert_eq!(ids(&processes.workers(1).await.unwrap()), ["local-0"]);
    let (two, three) = (scripted.asked(2), scripted.asked(3));
    eventually("two more start", || scripted.file("begun-1").exists() && scripted.file("begun-2").exists()).await;
    assert_eq!(ids(&soon("system.workers", processes.running()).await), ["local-0"]);
    assert_eq!(ids(&soon("a query whose worker runs", processes.workers(1)).await.unwrap()), ["local-0"]);
    assert!(!two.is_finished() && !three.is_finished());

    // Who wanted a worker goes; it is started all the same, and once.
    drop(three);
    std::fs::write(scripted.file("go"), "").unwrap();
    assert!(ids(&soon("a worker that may start", two).await.unwrap().unwrap()).len() >= 2);
    assert_eq!(ids(&soon("the third", processes.workers(3)).await.unwrap()), ["local-0", "local-1", "local-2"]);
    assert!(!scripted.file("begun-3").exists(), "one more was started than was wanted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_start_is_named_and_is_tried_again() {
    let scripted = Scripted::new(&format!("[ -e \"$FOLDER/go\" ] || exit 1\n{READY}\nexec cat"));
    let error = scripted.processes.workers(2).await.unwrap_err().to_string();
    assert!(error.contains("could not be started: it ended at once"), "{error}");
    std::fs::write(scripted.file("go"), "").unwrap();
    assert_eq!(ids(&scripted.processes.workers(2).await.unwrap()), ["local-0", "local-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_ends_with_the_coordinator() {
    let scripted =
        Scripted::new("echo $$ > \"$FOLDER/pid.new\"\nmv \"$FOLDER/pid.new\" \"$FOLDER/pid\"\nexec sleep 600");
    let asked = scripted.asked(1);
    eventually("it starts", || scripted.file("pid").exists()).await;
    let pid = std::fs::read_to_string(scripted.file("pid")).unwrap();
    drop(asked);
    let Scripted { processes, folder: _folder } = scripted;
    drop(processes);
    eventually("it ends", || !runs(&pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_script_started_ends_with_it() {
    let stays =
        "sleep 600 & echo $! > \"$FOLDER/pid-$NUMBER.new\"\nmv \"$FOLDER/pid-$NUMBER.new\" \"$FOLDER/pid-$NUMBER\"";
    let scripted = Scripted::new(&format!("{stays}\n{READY}\nexec cat"));
    let workers = scripted.processes.workers(2).await.unwrap();
    let pids = [0, 1].map(|number| std::fs::read_to_string(scripted.file(&format!("pid-{number}"))).unwrap());
    assert!(pids.iter().all(|pid| runs(pid)));
    // Nothing answers at its address.
    scripted.processes.lost(&workers[0].url, Loss::Silent);
    assert_eq!(ids(&scripted.processes.running().await), ["local-1"]);
    eventually("what the lost one started ends", || !runs(&pids[0])).await;
    assert!(runs(&pids[1]));
    let Scripted { processes, folder: _folder } = scripted;
    drop(processes);
    eventually("what the other started ends", || !runs(&pids[1])).await;
}

/// Whether a process is there and has not ended.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}
