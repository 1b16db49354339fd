//! `cargo xtask lint`: formatting, clippy, tidy, and cargo-deny where it is installed.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::steps::Steps;
use crate::{cargo, tidy};

/// The version of cargo-deny that `cargo xtask deny` installs. Building it takes minutes, so CI does not.
const CARGO_DENY_VERSION: &str = "0.20.0";

/// Runs every check; an error when any of them found something.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::new();
    steps.check("tidy", tidy::run);
    steps.run("rustfmt", cargo().args(["fmt", "--all", "--check"]));
    steps.run("clippy", cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]));
    if deny_is_installed() {
        steps.run("cargo-deny", cargo().args(["deny", "check"]));
    } else {
        println!("== cargo-deny: not installed, skipped; `cargo xtask deny` installs it");
    }
    steps.finish()
}

/// `cargo xtask deny`: installs cargo-deny if needed, then checks.
pub(crate) fn deny() -> Result<()> {
    if !deny_is_installed() {
        let version = format!("cargo-deny@{CARGO_DENY_VERSION}");
        let status = cargo().args(["install", "--locked", &version]).status()?;
        ensure!(status.success(), "cannot install {version}");
    }
    let status = cargo().args(["deny", "check"]).status()?;
    ensure!(status.success(), "cargo deny found problems");
    Ok(())
}

fn deny_is_installed() -> bool {
    Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
