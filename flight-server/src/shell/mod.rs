//! The SQL shell: statements in, tables out.
//!
//! In: SQL text and backslash commands, from a prompt, `-c`, `-f` or standard input. Out: results in one of four forms,
//! and a line about rows and time. It talks Flight SQL only, so it works with any server.

mod commands;
mod complete;
mod output;
mod prompt;
mod script;
mod waiting;

use std::io::Write;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use polynya_bench::client::{Client, Error as ClientError, Outcome, QueryStats, QueryStream};

pub(crate) use output::Mode;
pub(crate) use prompt::interact;
pub(crate) use script::{Piece, split};

use self::waiting::Waiting;

/// A connection and how its results are shown.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    /// The server.
    pub(crate) client: Client,
    /// How rows look.
    pub(crate) mode: Mode,
    /// Whether times are shown.
    pub(crate) timing: bool,
    /// Whether the line about rows and time goes with the rows (a person reads both) or to standard error.
    pub(crate) interactive: bool,
    /// Whether that line is left out.
    pub(crate) quiet: bool,
    /// Whether it shows how far a statement is.
    pub(crate) progress: bool,
}

/// How a piece of a script ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Go on.
    Done,
    /// The user pressed Ctrl-C.
    Cancelled,
    /// The user wants to leave.
    Quit,
}

/// Why a piece of a script failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShellError {
    /// The server refused it, or cannot be reached.
    #[error("{0}")]
    Client(String),
    /// The rows could not be shown.
    #[error("the rows could not be shown")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The output is closed or full.
    #[error("the output could not be written")]
    Output(#[from] std::io::Error),
    /// A backslash command is wrong.
    #[error("{0}")]
    Command(String),
}

/// Keeps the whole chain of causes as one text, because the client words it for people.
impl From<ClientError> for ShellError {
    fn from(error: ClientError) -> Self {
        Self::Client(error.full_message())
    }
}

impl ShellError {
    /// Whether whoever reads the output has gone, as `head` does.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// What a statement came to.
struct Summary {
    rows: Option<u64>,
    is_query: bool,
    stats: Option<QueryStats>,
}

impl Shell {
    /// Runs one statement or backslash command, and shows what it gives.
    pub(crate) async fn run(&mut self, piece: &Piece) -> Result<Ended, ShellError> {
        match piece {
            Piece::Command(command) => self.command(command).await,
            Piece::Statement(sql) => self.statement(sql).await,
        }
    }

    /// Runs a statement; Ctrl-C stops it, on the server as well, because dropping the call cancels it there.
    async fn statement(&self, sql: &str) -> Result<Ended, ShellError> {
        let started = Instant::now();
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => {
                eprintln!("cancelled after {}", seconds(started.elapsed()));
                Ok(Ended::Cancelled)
            }
            summary = self.execute(sql) => {
                self.sum_up(&summary?, started.elapsed())?;
                Ok(Ended::Done)
            }
        }
    }

    async fn execute(&self, sql: &str) -> Result<Summary, ShellError> {
        let waiting = Waiting::new();
        if !self.progress {
            return self.give(self.client.execute(sql).await?, sql, &waiting).await;
        }
        let given = async { self.give(self.client.execute_polled(sql).await?, sql, &waiting).await };
        tokio::select! {
            biased;
            summary = given => summary,
            never = waiting.show() => match never {},
        }
    }

    async fn give(&self, outcome: Outcome, sql: &str, waiting: &Waiting) -> Result<Summary, ShellError> {
        match outcome {
            Outcome::Updated(rows) => {
                // Of DDL, a count of no rows says nothing.
                let rows = rows.filter(|rows| *rows > 0 || changes_rows(sql));
                Ok(Summary { rows, is_query: false, stats: None })
            }
            Outcome::Rows(stream) => self.show(*stream, waiting).await,
        }
    }

    async fn show(&self, mut stream: QueryStream, waiting: &Waiting) -> Result<Summary, ShellError> {
        waiting.ask(stream.poll());
        let mut writer = output::Writer::new(self.mode, stream.schema().clone(), waiting.stdout());
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows() as u64;
            writer.write(&batch)?;
        }
        writer.finish()?;
        Ok(Summary { rows: Some(rows), is_query: true, stats: stream.stats() })
    }

    fn sum_up(&self, summary: &Summary, elapsed: Duration) -> Result<(), ShellError> {
        if self.quiet {
            return Ok(());
        }
        let mut line = match (summary.is_query, summary.rows) {
            (true, rows) => format!("{} row{}", rows.unwrap_or(0), plural(rows.unwrap_or(0))),
            (false, Some(rows)) => format!("{rows} row{} changed", plural(rows)),
            (false, None) => "done".to_owned(),
        };
        if self.timing {
            line.push_str(&format!(" in {}", seconds(elapsed)));
            if let Some(stats) = &summary.stats {
                line.push_str(&account(stats));
            }
        }
        if self.interactive {
            writeln!(std::io::stdout(), "{line}\n")?;
        } else {
            // Nobody may be reading standard error; the rows were delivered.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
        Ok(())
    }
}

/// Whether a statement is of a kind whose count of rows is worth telling.
fn changes_rows(sql: &str) -> bool {
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty()).unwrap_or_default();
    ["insert", "update", "delete", "merge"].iter().any(|kind| word.eq_ignore_ascii_case(kind))
}

fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.3} s", elapsed.as_secs_f64())
}

/// What the query took from the store, where the server says so and there was something.
fn account(stats: &QueryStats) -> String {
    let mut text = String::new();
    if let (Some(considered), Some(pruned)) = (stats.files_considered, stats.files_pruned)
        && considered > 0
    {
        text.push_str(&format!("; {} of {considered} files opened", considered.saturating_sub(pruned)));
    }
    if let (Some(requests), Some(bytes)) = (stats.requests(), stats.bytes_read)
        && requests > 0
    {
        text.push_str(&format!("; {requests} requests, {}", bytesize::ByteSize::b(bytes)));
    }
    text
}
