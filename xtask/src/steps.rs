//! Runs named steps one after another, times them, and counts the tests they report.
//!
//! A step's output is passed through as it comes. The closing lines of libtest (`test result: ok. 5 passed; 0 failed; …`) and pytest
//! (`3 passed, 1 failed in 2.1s`) are added up; a step without such a line counts as one test. The last line printed is
//! `N passed, N failed`, alone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// The steps run so far and what they counted.
pub(crate) struct Steps {
    started: Instant,
    passed: u64,
    failed: u64,
    failures: Vec<String>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), passed: 0, failed: 0, failures: Vec::new() }
    }

    /// Runs a command as a step. A failure is remembered, and the steps after it still run.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) {
        self.announce(name);
        let begun = Instant::now();
        let outcome = stream(command);
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok((success, counts)) => {
                let (passed, mut failed) = counts.unwrap_or((u64::from(success), u64::from(!success)));
                if !success && failed == 0 {
                    failed = 1;
                }
                self.passed += passed;
                self.failed += failed;
                let word = if success { "ok" } else { "FAILED" };
                println!("== {name}: {word} in {seconds:.1} s ({passed} passed, {failed} failed)");
                if !success {
                    self.failures.push(name.to_string());
                }
            }
            Err(error) => self.fail(name, &error),
        }
    }

    /// Runs a step of our own: one test, passed when it returns `Ok`.
    pub(crate) fn check<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        self.announce(name);
        let begun = Instant::now();
        match step() {
            Ok(value) => {
                self.passed += 1;
                println!("== {name}: ok in {:.1} s", begun.elapsed().as_secs_f64());
                Some(value)
            }
            Err(error) => {
                self.fail(name, &error);
                None
            }
        }
    }

    /// Prints the closing line; an error when any step failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("== all steps: {:.1} s", self.started.elapsed().as_secs_f64());
        for name in &self.failures {
            println!("== failed: {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if !self.failures.is_empty() {
            bail!("failed: {}", self.failures.join(", "));
        }
        Ok(())
    }

    fn announce(&self, name: &str) {
        println!("== {name} (at {:.0} s)", self.started.elapsed().as_secs_f64());
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        self.failed += 1;
        self.failures.push(name.to_string());
        println!("== {name}: FAILED: {error:#}");
    }
}

/// Runs a command with its standard output passed through; whether it succeeded, and the tests it counted if it said so.
fn stream(command: &mut Command) -> Result<(bool, Option<(u64, u64)>)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {name}"))?;
    let mut counts = None;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.with_context(|| format!("cannot read the output of {name}"))?;
            let line = String::from_utf8_lossy(&line);
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").context("cannot print")?;
            if let Some((passed, failed)) = closing_line(&line) {
                let (all_passed, all_failed) = counts.unwrap_or((0, 0));
                counts = Some((all_passed + passed, all_failed + failed));
            }
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    Ok((status.success(), counts))
}

/// Tests passed and failed, if the line closes a run of libtest or pytest.
fn closing_line(line: &str) -> Option<(u64, u64)> {
    let libtest = line.starts_with("test result: ");
    let pytest = line.contains(" in ") && line.trim_end_matches(['=', ' ']).ends_with('s');
    let counts = line.contains(" passed") || line.contains(" failed");
    if !(libtest || pytest && counts) {
        return None;
    }
    let before = |word: &str| -> Option<u64> {
        let end = line.find(word)?;
        line[..end].trim_end().rsplit([' ', '=']).next()?.parse().ok()
    };
    match (before("passed"), before("failed").unwrap_or(0) + before("error").unwrap_or(0)) {
        (None, 0) => None,
        (passed, failed) => Some((passed.unwrap_or(0), failed)),
    }
}

#[cfg(test)]
mod tests {
    use super::closing_line;

    #[test]
    fn closing_lines_of_libtest_and_pytest_are_counted() {
        let libtest = "test result: ok. 12 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(closing_line(libtest), Some((12, 1)));
        assert_eq!(closing_line("============= 3 passed, 2 failed in 1.25s ============="), Some((3, 2)));
        assert_eq!(closing_line("2 failed, 3 passed, 1 error in 1.25s"), Some((3, 3)));
        assert_eq!(closing_line("1 failed in 61.25s"), Some((0, 1)));
        assert_eq!(closing_line("the batch passed in peace"), None);
        assert_eq!(closing_line("running 3 tests"), None);
    }
}
