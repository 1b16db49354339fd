//! What a person sees while a statement has given no rows yet: a bar where the server tells how far it is, else a spinner.
//!
//! It shows on standard error, only after a while, and never together with rows on the same terminal.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polynya_bench::client::QueryPoll;

/// Statements that are done within this time show nothing.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the server is asked.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
const TICK_INTERVAL: Duration = Duration::from_millis(100);
/// The bar's length; positions are this part of the whole.
const STEPS: u64 = 1000;

/// One statement that somebody waits for; the bar goes when this is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    bar: ProgressBar,
    poll: OnceLock<QueryPoll>,
}

/// Standard output, whose first row takes the bar away if both are on the terminal.
#[derive(Debug)]
pub(super) struct AfterBar<'a> {
    waiting: Option<&'a Waiting>,
    out: std::io::Stdout,
}

impl Waiting {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::default_spinner());
        Self { bar, poll: OnceLock::new() }
    }

    /// From now on the server can be asked how far the query is.
    pub(super) fn ask(&self, poll: &QueryPoll) {
        let _ = self.poll.set(poll.clone());
    }

    /// Shows how far the statement is, for as long as this is polled.
    pub(super) async fn show(&self) -> Infallible {
        tokio::time::sleep(PATIENCE).await;
        if !self.bar.is_finished() {
            self.style("{spinner} {elapsed}");
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(TICK_INTERVAL);
        }
        let mut is_bar = false;
        while !self.bar.is_finished() {
            let progress = match self.poll.get() {
                Some(poll) => poll.progress().await,
                None => None,
            };
            if let Some(progress) = progress {
                if !std::mem::replace(&mut is_bar, true) {
                    self.style("[{bar:32}] {percent:>3}% {elapsed}");
                }
                self.bar.set_position((progress.clamp(0.0, 1.0) * STEPS as f64) as u64);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        std::future::pending().await
    }

    /// Standard output for the statement's rows.
    pub(super) fn stdout(&self) -> AfterBar<'_> {
        let out = std::io::stdout();
        AfterBar { waiting: out.is_terminal().then_some(self), out }
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("=> "));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

impl Write for AfterBar<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(waiting) = self.waiting.take() {
            waiting.end();
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
