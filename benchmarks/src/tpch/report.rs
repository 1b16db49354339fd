//! What a run measured, as a table for people and as JSON for machines.

use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use crate::client::QueryStats;
use crate::progress::{grouped, readable_bytes};
use crate::scale::Scale;

/// Shown where there is no figure.
const ABSENT: &str = "–";
/// Lines above, below the header, and below; none between rows or columns (in comfy-table's order of characters).
pub(crate) const TABLE_STYLE: &str = "  ── ──      ──    ";

/// The measurements of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The benchmark's name: `tpch`.
    pub benchmark: &'static str,
    /// The version of this harness.
    pub harness_version: &'static str,
    /// When the run began, in UTC (RFC 3339).
    pub started_at: String,
    /// The server.
    pub url: String,
    /// The catalog, if it was given.
    pub catalog: Option<String>,
    /// The schema, if it was given or follows from the scale.
    pub schema: Option<String>,
    /// The scale factor, if it is known.
    pub scale: Option<f64>,
    /// How often each query ran.
    pub iterations: usize,
    /// The queries, in the order they ran.
    pub queries: Vec<QueryReport>,
}

/// The measurements of one query.
#[derive(Debug, Clone, Serialize)]
pub struct QueryReport {
    /// The query's number.
    pub query: u8,
    /// The time of each run, in seconds.
    pub times_s: Vec<f64>,
    /// The time with memory empty and the disk cache warm, in seconds; measured if caches were dropped.
    pub restarted_s: Option<f64>,
    /// The server's account of that run.
    pub restarted_stats: Option<QueryStats>,
    /// Rows of the result.
    pub rows: Option<u64>,
    /// The server's account of the first run, if it sends one.
    pub stats: Option<QueryStats>,
    /// Whether the answers were right.
    pub check: Check,
    /// Why the query failed, if it did.
    pub error: Option<String>,
}

/// Whether a query's answers were right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Check {
    /// Nobody asked, or the query failed.
    NotChecked,
    /// All runs gave the expected answer.
    Ok,
    /// A run gave another answer.
    Wrong {
        /// The query, row and column, and both values.
        mismatch: String,
    },
}

/// Figures over all queries that did not fail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Totals {
    /// The sum of the first times, in seconds.
    pub cold_s: f64,
    /// The sum of the times with memory empty and the disk cache warm, in seconds, where they were measured.
    pub restarted_s: Option<f64>,
    /// The sum of the best later times, in seconds; absent after a single iteration.
    pub warm_s: Option<f64>,
    /// The geometric mean of the first times, in seconds.
    pub cold_geometric_mean_s: f64,
    /// The geometric mean of the best later times, in seconds.
    pub warm_geometric_mean_s: Option<f64>,
    /// Data files considered, where the server tells.
    pub files_considered: Option<u64>,
    /// Data files pruned, where the server tells.
    pub files_pruned: Option<u64>,
    /// Requests to the object store, where the server tells.
    pub requests: Option<u64>,
    /// Bytes read from the object store, where the server tells.
    pub bytes_read: Option<u64>,
    /// What the requests of the first runs cost, in US dollars, where the server tells.
    pub cost_usd: Option<f64>,
    /// Queries that failed or gave a wrong answer.
    pub failures: usize,
}

impl QueryReport {
    pub(crate) fn new(query: u8) -> Self {
        Self {
            query,
            times_s: Vec::new(),
            restarted_s: None,
            restarted_stats: None,
            rows: None,
            stats: None,
            check: Check::NotChecked,
            error: None,
        }
    }

    /// The first time, in seconds.
    pub fn cold_s(&self) -> Option<f64> {
        self.times_s.first().copied()
    }

    /// The best of the later times, in seconds.
    pub fn warm_s(&self) -> Option<f64> {
        self.times_s.iter().skip(1).copied().reduce(f64::min)
    }

    /// Whether the query failed or gave a wrong answer.
    pub fn is_failure(&self) -> bool {
        self.error.is_some() || matches!(self.check, Check::Wrong { .. })
    }

    fn stat(&self, figure: impl Fn(&QueryStats) -> Option<u64>) -> Option<u64> {
        self.stats.as_ref().and_then(figure)
    }
}

impl Report {
    pub(crate) fn new(
        url: String,
        catalog: Option<String>,
        schema: Option<String>,
        scale: Option<Scale>,
        iterations: usize,
    ) -> Self {
        Self {
            benchmark: "tpch",
            harness_version: env!("CARGO_PKG_VERSION"),
            started_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            url,
            catalog,
            schema,
            scale: scale.map(Scale::factor),
            iterations,
            queries: Vec::new(),
        }
    }

    /// Queries that failed or gave a wrong answer.
    pub fn failures(&self) -> usize {
        self.queries.iter().filter(|query| query.is_failure()).count()
    }

    /// Queries whose answers were checked and right.
    pub fn answers_right(&self) -> usize {
        self.queries.iter().filter(|query| query.check == Check::Ok && query.error.is_none()).count()
    }

    /// Figures over all queries.
    pub fn totals(&self) -> Totals {
        let finished: Vec<&QueryReport> = self.queries.iter().filter(|query| query.error.is_none()).collect();
        let cold: Vec<f64> = finished.iter().filter_map(|query| query.cold_s()).collect();
        let warm: Vec<f64> = finished.iter().filter_map(|query| query.warm_s()).collect();
        let has_warm = !warm.is_empty();
        let sum = |figure: fn(&QueryStats) -> Option<u64>| {
            finished.iter().filter_map(|query| query.stat(figure)).reduce(|a, b| a + b)
        };
        Totals {
            cold_s: cold.iter().sum(),
            restarted_s: finished.iter().filter_map(|query| query.restarted_s).reduce(|a, b| a + b),
            warm_s: has_warm.then(|| warm.iter().sum()),
            cold_geometric_mean_s: geometric_mean(&cold),
            warm_geometric_mean_s: has_warm.then(|| geometric_mean(&warm)),
            files_considered: sum(|stats| stats.files_considered),
            files_pruned: sum(|stats| stats.files_pruned),
            requests: sum(QueryStats::requests),
            bytes_read: sum(|stats| stats.bytes_read),
            cost_usd: finished.iter().filter_map(|query| query.stats.as_ref()?.cost_usd).reduce(|a, b| a + b),
            failures: self.failures(),
        }
    }

    /// The report and its totals as indented JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            report: &'a Report,
            totals: Totals,
        }
        serde_json::to_string_pretty(&Document { report: self, totals: self.totals() })
    }

    /// The table for a terminal, and below it every failure in full.
    pub fn render(&self) -> String {
        let mut table = Table::new();
        table.load_preset(TABLE_STYLE);
        table.set_header([
            "query",
            "cold",
            "restarted",
            "warm",
            "rows",
            "files pruned",
            "requests",
            "read",
            "USD",
            "answer",
        ]);
        for query in &self.queries {
            table.add_row(query_row(query));
        }
        for row in self.total_rows() {
            table.add_row(row);
        }
        for index in 1..=8 {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = table.to_string();
        for query in self.queries.iter().filter(|query| query.is_failure()) {
            text.push('\n');
            text.push_str(&failure_text(query));
        }
        text
    }

    fn total_rows(&self) -> [Vec<Cell>; 2] {
        let totals = self.totals();
        let checked = self.queries.iter().filter(|query| query.check != Check::NotChecked).count();
        let answers = match (checked, totals.failures) {
            (0, 0) => ABSENT.to_string(),
            (0, failures) => format!("{failures} failed"),
            _ => format!("{} of {} ok", self.answers_right(), self.queries.len()),
        };
        let total = vec![
            Cell::new("total"),
            Cell::new(seconds(Some(totals.cold_s))),
            Cell::new(seconds(totals.restarted_s)),
            Cell::new(seconds(totals.warm_s)),
            Cell::new(""),
            Cell::new(files(totals.files_pruned, totals.files_considered)),
            Cell::new(totals.requests.map_or(ABSENT.to_string(), grouped)),
            Cell::new(totals.bytes_read.map_or(ABSENT.to_string(), readable_bytes)),
            Cell::new(dollars(totals.cost_usd)),
            Cell::new(answers),
        ];
        let mean = vec![
            Cell::new("geometric mean"),
            Cell::new(seconds(Some(totals.cold_geometric_mean_s))),
            Cell::new(""),
            Cell::new(seconds(totals.warm_geometric_mean_s)),
        ];
        [total, mean]
    }
}

fn query_row(query: &QueryReport) -> Vec<Cell> {
    let answer = match (&query.error, &query.check) {
        (Some(_), _) => "failed",
        (None, Check::NotChecked) => ABSENT,
        (None, Check::Ok) => "ok",
        (None, Check::Wrong { .. }) => "WRONG",
    };
    vec![
        Cell::new(format!("Q{}", query.query)),
        Cell::new(seconds(query.cold_s())),
        Cell::new(seconds(query.restarted_s)),
        Cell::new(seconds(query.warm_s())),
        Cell::new(query.rows.map_or(ABSENT.to_string(), grouped)),
        Cell::new(files(query.stat(|stats| stats.files_pruned), query.stat(|stats| stats.files_considered))),
        Cell::new(query.stat(QueryStats::requests).map_or(ABSENT.to_string(), grouped)),
        Cell::new(query.stat(|stats| stats.bytes_read).map_or(ABSENT.to_string(), readable_bytes)),
        Cell::new(dollars(query.stats.as_ref().and_then(|stats| stats.cost_usd))),
        Cell::new(answer),
    ]
}

fn failure_text(query: &QueryReport) -> String {
    match (&query.error, &query.check) {
        (Some(error), _) => format!("Q{} failed: {error}", query.query),
        (None, Check::Wrong { mismatch }) => format!("wrong answer: {mismatch}"),
        (None, _) => String::new(),
    }
}

fn dollars(usd: Option<f64>) -> String {
    usd.map_or(ABSENT.to_string(), |usd| format!("{usd:.6}"))
}

fn seconds(time_s: Option<f64>) -> String {
    match time_s {
        None => ABSENT.to_string(),
        Some(time_s) if time_s < 1.0 => format!("{:.1} ms", time_s * 1e3),
        Some(time_s) => format!("{time_s:.2} s"),
    }
}

fn files(pruned: Option<u64>, considered: Option<u64>) -> String {
    match (pruned, considered) {
        (Some(pruned), Some(considered)) => format!("{}/{}", grouped(pruned), grouped(considered)),
        _ => ABSENT.to_string(),
    }
}

fn geometric_mean(times: &[f64]) -> f64 {
    if times.is_empty() {
        return 0.0;
    }
    let logarithms: f64 = times.iter().map(|time| time.max(f64::MIN_POSITIVE).ln()).sum();
    (logarithms / times.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("grpc://host:1".into(), None, Some("tpch_sf1".into()), Scale::new(1.0), 3);
        let stats = QueryStats {
            files_considered: Some(84),
            files_pruned: Some(72),
            requests_get: Some(30),
            requests_head: Some(2),
            bytes_read: Some(3 << 20),
            ..Default::default()
        };
        report.queries = vec![
            QueryReport {
                times_s: vec![2.0, 0.5, 0.25],
                rows: Some(1234),
                stats: Some(stats),
                check: Check::Ok,
                ..QueryReport::new(6)
            },
            QueryReport { error: Some("no such table".into()), ..QueryReport::new(7) },
            QueryReport {
                times_s: vec![8.0, 1.0, 1.5],
                rows: Some(2),
                check: Check::Wrong { mismatch: "Q8: row 1, column share: expected 1, got 2".into() },
                ..QueryReport::new(8)
            },
        ];
        report
    }

    #[test]
    fn totals_are_over_the_queries_that_finished() {
        let totals = report().totals();
        assert_eq!((totals.cold_s, totals.warm_s, totals.failures), (10.0, Some(1.25), 2));
        assert!((totals.cold_geometric_mean_s - 4.0).abs() < 1e-12);
        assert_eq!(totals.warm_geometric_mean_s.map(|mean| (mean * 1e6).round()), Some(500_000.0));
        assert_eq!((totals.requests, totals.files_pruned), (Some(32), Some(72)));
    }

    #[test]
    fn the_table_shows_figures_and_failures() {
        let text = report().render();
        for part in [
            "2.00 s",
            "250.0 ms",
            "1,234",
            "72/84",
            "32",
            "3.0 MiB",
            "1 of 3 ok",
            "geometric mean",
            "Q7 failed: no such table",
            "wrong answer: Q8: row 1, column share: expected 1, got 2",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn a_single_iteration_has_no_warm_time() {
        let mut report = report();
        report.queries.truncate(1);
        report.queries[0].times_s.truncate(1);
        assert_eq!(report.totals().warm_s, None);
        assert!(report.render().contains(ABSENT));
    }

    #[test]
    fn json_holds_all_times_and_the_totals() {
        let json: serde_json::Value = serde_json::from_str(&report().to_json().expect("JSON")).expect("JSON");
        assert_eq!(json["queries"][0]["times_s"][2], 0.25);
        assert_eq!(json["queries"][0]["stats"]["files_pruned"], 72);
        assert_eq!(json["queries"][2]["check"]["result"], "wrong");
        assert_eq!(json["totals"]["failures"], 2);
    }
}
