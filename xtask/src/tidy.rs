//! House rules that the compiler's lints do not cover.
//!
//! In: the files that git tracks or would track. Out: a list of breaches, each as `file:line: what`. A Rust file opens with `//!`, has
//! at most 600 lines, and holds no leftovers; no text file holds a path of somebody's machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::root;

const LINES_MAX: usize = 600;
const LEFTOVERS: [&str; 4] = ["todo!(", "dbg!(", "unimplemented!(", "FIXME"];
const MACHINE_PATHS: [&str; 3] = ["/root/", "/home/", "/work/"];
const TEXT: [&str; 12] = ["rs", "py", "toml", "md", "slt", "sh", "yml", "yaml", "sql", "txt", "json", "snap"];

/// Checks every file; an error that lists the breaches.
pub(crate) fn run() -> Result<()> {
    let output = Command::new("git")
        .current_dir(root())
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot start git")?;
    let mut breaches = Vec::new();
    for name in String::from_utf8_lossy(&output.stdout).split('\0').filter(|name| !name.is_empty()) {
        check_file(name, &mut breaches)?;
    }
    for breach in &breaches {
        println!("{breach}");
    }
    if !breaches.is_empty() {
        bail!("{} breaches of the house rules", breaches.len());
    }
    Ok(())
}

fn check_file(name: &str, breaches: &mut Vec<String>) -> Result<()> {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let path = root().join(name);
    if !TEXT.contains(&extension) || !path.exists() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
    // This file names what it looks for.
    let names_rules = name == "xtask/src/tidy.rs";
    if extension == "rs" {
        if !text.starts_with("//!") {
            breaches.push(format!("{name}:1: a Rust file opens with a `//!` header"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            breaches.push(format!("{name}:{LINES_MAX}: {lines} lines; at most {LINES_MAX}"));
        }
    }
    if names_rules {
        return Ok(());
    }
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if extension == "rs" {
            for leftover in LEFTOVERS.iter().filter(|leftover| line.contains(**leftover)) {
                breaches.push(format!("{name}:{number}: {leftover} is a leftover"));
            }
        }
        for machine_path in MACHINE_PATHS.iter().filter(|path| line.contains(**path)) {
            breaches.push(format!("{name}:{number}: {machine_path} is a path of somebody's machine"));
        }
    }
    Ok(())
}
