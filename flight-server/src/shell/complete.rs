//! Completion at the prompt: SQL's words, the shell's commands, and the server's tables.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parking_lot::RwLock;
use polynya_bench::client::Client;
use reedline::{Completer, CompletionResult, Span, Suggestion};

/// SQL's words, as they are typed most.
const WORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CREATE",
    "CROSS",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "ANALYZE",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IN",
    "INNER",
    "INSERT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PARTITIONED",
    "RIGHT",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "TABLE",
    "TABLES",
    "THEN",
    "UNION",
    "USE",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "coalesce",
    "date_trunc",
    "extract",
    "substring",
];
const COMMANDS: &[&str] = &["\\d", "\\dn", "\\l", "\\o", "\\q", "\\timing", "\\?"];

/// The names that the server has, filled in the background.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<RwLock<Vec<String>>>);

impl Names {
    /// Asks the server for its tables; one that does not say leaves completion with SQL's words.
    pub(super) async fn load(&self, client: &Client) {
        let sql = "SELECT DISTINCT table_schema, table_name FROM information_schema.tables LIMIT 10000";
        match client.query_all(sql).await {
            Ok(result) => {
                let mut names: Vec<String> = result.batches.iter().flat_map(texts).collect();
                names.sort_unstable();
                names.dedup();
                *self.0.write() = names;
            }
            Err(error) => tracing::debug!(%error, "table names for completion are not available"),
        }
    }
}

/// All values of a batch's text columns.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let columns = batch.columns().iter().filter_map(|column| cast(column, &DataType::Utf8).ok());
    columns
        .flat_map(|column| {
            let column = column.as_any().downcast_ref::<arrow::array::StringArray>().cloned();
            column.iter().flat_map(|column| column.iter().flatten().map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect()
}

/// Completes the word before the cursor.
pub(super) struct SqlCompleter {
    names: Names,
}

impl SqlCompleter {
    /// Completes with these names besides SQL's words.
    pub(super) fn new(names: Names) -> Self {
        Self { names }
    }

    fn suggestions(&self, line: &str, position: usize) -> Vec<Suggestion> {
        let before = line.get(..position).unwrap_or(line);
        let start = before
            .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '$' | '\\' | '?')))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let word = before[start..].to_lowercase();
        if word.is_empty() {
            return Vec::new();
        }
        let names = self.names.0.read();
        let upper = before[start..].chars().any(char::is_uppercase);
        let words = WORDS.iter().map(|word| if upper { (*word).to_owned() } else { word.to_lowercase() });
        let commands = COMMANDS.iter().map(|command| (*command).to_owned());
        commands
            .chain(names.iter().cloned())
            .chain(words)
            .filter(|candidate| candidate.to_lowercase().starts_with(&word))
            .map(|value| Suggestion {
                value,
                span: Span::new(start, position),
                append_whitespace: true,
                ..Suggestion::default()
            })
            .collect()
    }
}

impl Completer for SqlCompleter {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        CompletionResult::fresh(self.suggestions(line, position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> Vec<String> {
        let names = Names::default();
        *names.0.write() = vec!["lineitem".into(), "orders".into()];
        SqlCompleter::new(names).suggestions(line, line.len()).into_iter().map(|found| found.value).collect()
    }

    #[test]
    fn words_and_tables_complete_in_the_case_that_was_begun() {
        assert_eq!(completed("select * from line"), ["lineitem"]);
        assert_eq!(completed("SELECT * FR"), ["FROM"]);
        assert_eq!(completed("select * fr"), ["from"]);
        assert_eq!(completed("select * from \"s\".ord"), ["orders", "order"]);
        assert_eq!(completed("\\ti"), ["\\timing"]);
        assert!(completed("select ").is_empty());
    }
}
