//! A service's process, which never outlives the test that started it.
//!
//! The service runs below a shell that waits on a pipe from us. Dropping the value closes the pipe, and so does our
//! death, however it comes: the shell then ends the service.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Failure;

/// How long a service may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs "$@" in the background, tells its id, and ends it with the given signal when our end of the pipe closes.
const SHELL: &str = r#"log=$1; signal=$2; shift 2
"$@" >>"$log" 2>&1 &
pid=$!
echo $pid
read -r _
kill -CONT $pid; kill -$signal $pid
wait $pid"#;

/// What to run.
pub(super) struct Service<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, String)>,
    /// A user other than ours to run as: its user and group id.
    pub(super) user: Option<(u32, u32)>,
    /// Where the service's output goes.
    pub(super) log: PathBuf,
    /// The signal that ends it in good order.
    pub(super) end_signal: &'static str,
}

/// A service that runs.
#[derive(Debug)]
pub(super) struct Running {
    shell: Child,
    pub(super) pid: u32,
    log: PathBuf,
}

impl Service<'_> {
    pub(super) fn start(self) -> Result<Running, Failure> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SHELL, "sh"]).arg(&self.log).arg(self.end_signal).arg(self.program).args(&self.arguments);
        command
            .envs(self.environment)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // Ctrl-C reaches the tests only; what they started ends with them.
        command.process_group(0);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let mut shell = command.spawn().map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        let mut line = String::new();
        if let Some(output) = shell.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let pid = line.trim().parse().map_err(|_| format!("{} did not start", self.program.display()))?;
        Ok(Running { shell, pid, log: self.log })
    }
}

impl Running {
    /// Fails, with the end of its output, if the service has ended by itself.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if Path::new(&format!("/proc/{}/stat", self.pid)).exists() && !is_zombie(self.pid) {
            return Ok(());
        }
        Err(format!("the service ended by itself; the end of its output:\n{}", self.output()).into())
    }

    /// The last lines that the service wrote.
    pub(super) fn output(&self) -> String {
        let mut text = String::new();
        let _ = File::open(&self.log).map(|mut file| file.read_to_string(&mut text));
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Sends a signal to the service and all processes below it.
    pub(super) fn signal_all(&self, signal: &str) {
        let ids: Vec<String> = with_descendants(self.pid).iter().map(u32::to_string).collect();
        let _ = Command::new("/bin/sh")
            .args(["-c", &format!("kill -{signal} {}", ids.join(" "))])
            .stderr(Stdio::null())
            .status();
    }

    /// Ends the service and waits for it.
    fn end(&mut self) {
        self.signal_all("CONT");
        drop(self.shell.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < END_TIMEOUT {
            if matches!(self.shell.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        self.signal_all("KILL");
        let _ = self.shell.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn is_zombie(pid: u32) -> bool {
    stat(pid).is_none_or(|(state, _)| state == 'Z')
}

/// A process and everything below it.
fn with_descendants(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(all.iter().copied().filter(|pid| stat(*pid).is_some_and(|(_, above)| above == parent)));
        next += 1;
    }
    found
}

/// A process's state and its parent.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
