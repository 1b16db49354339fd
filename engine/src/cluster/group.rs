//! A process that ends with this one, however this one ends, and takes with it all that it has started.
//!
//! The process is the first of a process group. Beside it, in the group, is a shell that reads from a pipe of which only this
//! process has the other end: when that closes, since the group was dropped or this process was killed, the shell waits a
//! moment and kills the group. A worker that is ready notices by itself that its own pipe has closed; one that never gets
//! ready, or a script, does not.

use std::io::Write as _;
use std::process::Stdio;

use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Waits for a line, or for the end of the pipe and then a second, in which the others may end by themselves. The group cannot
/// be another's meanwhile: this shell is in it.
const WATCH: &str = "read -r now || sleep 1; kill -s KILL -- -\"$1\"";

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    child: Child,
    /// None without a shell: then there is no script either that could have started others.
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    _shell: Child,
    pipe: std::fs::File,
}

impl Group {
    /// Starts a command. Not in this process's group: what the terminal tells that one, such as Ctrl-C, is for this process
    /// alone.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn spawn(mut command: Command) -> std::io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let watch = child.id().and_then(|id| {
            Watch::spawn(id)
                .inspect_err(|error| {
                    tracing::warn!(%error, "a worker will not be killed if this process is");
                })
                .ok()
        });
        Ok(Self { child, watch })
    }

    /// What it says and what it is told by.
    pub(super) fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStdin>) {
        (self.child.stdout.take(), self.child.stdin.take())
    }

    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub(super) async fn ended(&mut self) {
        let _ = self.child.wait().await;
    }

    /// Kills all of it now.
    pub(super) fn kill(&mut self) {
        if let Some(watch) = &mut self.watch {
            let _ = watch.pipe.write_all(b"now\n");
        }
        let _ = self.child.start_kill();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The shell does it, since its pipe closes.
        if self.watch.is_none() {
            let _ = self.child.start_kill();
        }
    }
}

impl Watch {
    fn spawn(group: u32) -> std::io::Result<Self> {
        let id = i32::try_from(group).map_err(std::io::Error::other)?;
        let mut shell = Command::new("sh");
        shell.args(["-c", WATCH, "watch", &id.to_string()]).process_group(id);
        // It has no use for what this process knows.
        shell.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let pipe = shell.stdin.take().ok_or_else(|| std::io::Error::other("it has no pipe"))?;
        Ok(Self { _shell: shell, pipe: std::fs::File::from(pipe.into_owned_fd()?) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;

    /// A script that has started another process and waits for nothing; the ids of both.
    async fn scripted() -> (Group, [String; 2]) {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $$ $!; wait"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut group = Group::spawn(command).unwrap();
        let (stdout, _) = group.pipes();
        let line = BufReader::new(stdout.unwrap()).lines().next_line().await.unwrap().unwrap();
        let (one, other) = line.split_once(' ').unwrap();
        (group, [one.to_owned(), other.to_owned()])
    }

    fn runs(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }

    async fn end(ids: &[String; 2]) {
        for _ in 0..1000 {
            if ids.iter().all(|id| !runs(id)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("after ten seconds they run: {ids:?}");
    }

    #[tokio::test]
    async fn when_the_pipe_closes_all_end_whether_or_not_they_notice() {
        let (mut group, ids) = scripted().await;
        assert!(ids.iter().all(|id| runs(id)));
        // As the end of this process would.
        drop(group.watch.take().unwrap().pipe);
        end(&ids).await;
        group.ended().await;

        let (group, ids) = scripted().await;
        drop(group);
        end(&ids).await;
    }

    #[tokio::test]
    async fn a_group_that_is_killed_ends_with_all_that_it_started() {
        let (mut group, ids) = scripted().await;
        group.kill();
        end(&ids).await;
        group.ended().await;
        assert!(!group.lives());
    }
}
