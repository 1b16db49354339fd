//! Which process made a change, and whether it still lives.

use serde::{Deserialize, Serialize};

/// A process, as others on the same machine can recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// The boot of a machine, and the namespace in which the id counts. None if the system does not tell.
    machine: Option<String>,
    pid: u32,
    /// When it began, in the system's ticks: ids are used again.
    began: Option<u64>,
}

impl Process {
    /// This process.
    pub(super) fn this() -> Self {
        let pid = std::process::id();
        Self { machine: machine(), pid, began: began(pid) }
    }

    /// Whether it is still there. `None` if that cannot be seen from here: it is, or was, on another machine, or the system hides the
    /// processes of others.
    pub(super) fn lives(&self) -> Option<bool> {
        let same_machine = self.machine.is_some() && self.machine == machine();
        // The first process is always there, for those who may see it.
        let sees_all = began(1).is_some();
        (same_machine && sees_all && self.began.is_some()).then(|| began(self.pid) == self.began)
    }
}

#[cfg(test)]
impl Process {
    /// One of this machine that is gone.
    pub(super) fn dead() -> Self {
        Self { began: Some(1), ..Self::this() }
    }

    /// One of another machine.
    pub(super) fn elsewhere() -> Self {
        Self { machine: Some("another".to_owned()), ..Self::this() }
    }
}

fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// When the process began; none if there is none, or only what its parent has not taken note of yet.
fn began(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may have anything in it. Behind it: the state, and as the 20th the time.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    match fields.first() {
        Some(&("Z" | "X")) | None => None,
        Some(_) => fields.get(19)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_is_known_to_live_until_it_is_killed() {
        assert_eq!(Process::this().lives(), Some(true));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let other = Process { pid: child.id(), began: began(child.id()), ..Process::this() };
        assert_eq!(other.lives(), Some(true));
        child.kill().unwrap();
        // Nobody has waited for it yet: it is a zombie, at the latest in a moment.
        let mut waited = 0;
        while other.lives() == Some(true) && waited < 500 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            waited += 1;
        }
        assert_eq!(other.lives(), Some(false));
        child.wait().unwrap();
        assert_eq!(other.lives(), Some(false));
        assert_eq!(Process::elsewhere().lives(), None);
    }
}
