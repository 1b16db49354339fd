//! Finds the files, runs each in a schema of its own, several at once, and gathers what became of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use sqllogictest::{
    MakeConnection, Record, Runner, default_normalizer, default_validator, parse_file, strict_column_validator,
};

use crate::columns::Column;
use crate::database::Database;

/// Files that run at the same time.
const FILES_AT_ONCE: usize = 2;

/// The files to run, and where.
#[derive(Debug)]
pub struct Suite {
    folder: PathBuf,
    files: Vec<PathBuf>,
}

/// What became of one file.
#[derive(Debug)]
pub struct FileOutcome {
    /// The path below the suite's folder, such as `joins/inner.slt`.
    pub name: String,
    /// Statements and queries in the file.
    pub records: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// What disagreed, if anything did.
    pub failure: Option<String>,
}

impl Suite {
    /// The `.slt` files below a folder whose path contains `filter`.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn find(folder: &Path, filter: Option<&str>) -> Result<Self> {
        let mut files = Vec::new();
        collect(folder, &mut files)?;
        files.sort();
        if let Some(filter) = filter {
            files.retain(|file| name_below(folder, file).contains(filter));
        }
        Ok(Self { folder: folder.to_path_buf(), files })
    }

    /// How many files there are.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Runs every file; `report` is told of each as it ends. With `update`, answers are written into the files.
    pub async fn run(&self, url: &str, update: bool, mut report: impl FnMut(&FileOutcome)) -> Vec<FileOutcome> {
        let runs = self.files.iter().map(|file| self.run_file(url, file, update));
        let mut runs = futures::stream::iter(runs).buffer_unordered(FILES_AT_ONCE);
        let mut outcomes = Vec::with_capacity(self.files.len());
        while let Some(outcome) = runs.next().await {
            report(&outcome);
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn run_file(&self, url: &str, file: &Path, update: bool) -> FileOutcome {
        let name = name_below(&self.folder, file);
        let begun = Instant::now();
        let schema = schema_of(&name);
        let mut runner = Runner::new(|| Database::open(url, &schema));
        runner.with_column_validator(strict_column_validator);
        let failure = if update {
            runner
                .update_test_file(file, " ", default_validator, default_normalizer, strict_column_validator)
                .await
                .err()
                .map(|error| error.to_string())
        } else {
            run_records(&mut runner, file).await
        };
        drop_schema(url, &schema).await;
        FileOutcome { records: records(file), name, elapsed: begun.elapsed(), failure }
    }
}

/// Runs every record, past the ones that fail. All that failed, or none.
async fn run_records<M>(runner: &mut Runner<Database, M>, file: &Path) -> Option<String>
where
    M: MakeConnection<Conn = Database>,
{
    let records = match parse_file::<Column>(file) {
        Ok(records) => records,
        Err(error) => return Some(error.to_string()),
    };
    let mut failures = Vec::new();
    for record in records {
        if matches!(record, Record::Halt { .. }) {
            break;
        }
        if let Err(error) = runner.run_async(record).await {
            failures.push(error.to_string());
        }
    }
    (!failures.is_empty()).then(|| failures.join("\n"))
}

/// A server that outlives the test gets its schema back; one that does not need not be asked twice.
async fn drop_schema(url: &str, schema: &str) {
    if let Ok(database) = Database::open(url, schema).await {
        let _ = database.drop_schema().await;
    }
}

/// `joins/inner.slt` runs in the schema `slt_joins_inner`.
fn schema_of(name: &str) -> String {
    let stem = name.trim_end_matches(".slt");
    format!("slt_{}", stem.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"))
}

fn records(file: &Path) -> usize {
    let records = parse_file::<Column>(file).unwrap_or_default();
    records.iter().filter(|record| matches!(record, Record::Statement { .. } | Record::Query { .. })).count()
}

fn name_below(folder: &Path, file: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).to_string_lossy().replace('\\', "/")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
    Ok(())
}
