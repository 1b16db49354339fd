//! Worker processes, from the `polynya` binary, as whoever starts them meets them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// How long a process may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker that is ready, and what it is told through.
async fn worker(spill_dir: &Path) -> (Child, ChildStdin) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_polynya"))
        .args(["worker", "--listen", "127.0.0.1:0", "--child"])
        .env("POLYNYA__WORKERS__SECRET", "a-secret-of-this-test")
        .env("POLYNYA__MEMORY__SPILL_DIR", spill_dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdin = process.stdin.take().unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
    let ready = tokio::time::timeout(PATIENCE, stdout.next_line()).await.expect("the worker starts");
    assert!(ready.unwrap().expect("it did not end at once").contains("is ready on http://"));
    (process, stdin)
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_worker_leaves_no_folder_to_spill_into_and_removes_those_of_killed_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (mut killed, _stdin) = worker(folder.path()).await;
    let left = entries(folder.path());
    assert_eq!(left.len(), 2, "a folder and its lock: {left:?}");
    killed.kill().await.unwrap();
    assert_eq!(entries(folder.path()), left);

    let (mut drained, mut stdin) = worker(folder.path()).await;
    let (mut orphan, lifeline) = worker(folder.path()).await;
    let now = entries(folder.path());
    assert!(now.len() == 4 && left.iter().all(|name| !now.contains(name)), "{now:?}");
    stdin.write_all(b"drain\n").await.unwrap();
    assert!(tokio::time::timeout(PATIENCE, drained.wait()).await.expect("it ends").unwrap().success());
    assert_eq!(entries(folder.path()).len(), 2);
    drop(lifeline);
    assert!(tokio::time::timeout(PATIENCE, orphan.wait()).await.expect("it ends").unwrap().success());
    assert_eq!(entries(folder.path()), [""; 0]);
}
