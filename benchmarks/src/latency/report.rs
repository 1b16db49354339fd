//! Measured latencies, as a table for people and as JSON for machines.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use super::Sample;
use crate::tpch::report::TABLE_STYLE;

/// The latencies of a run.
#[derive(Debug, Clone, Serialize)]
pub struct LatencyReport {
    /// The benchmark's name: `latency`.
    pub benchmark: &'static str,
    /// The version of this harness.
    pub harness_version: &'static str,
    /// When the run ended, in UTC (RFC 3339).
    pub ended_at: String,
    /// The server.
    pub url: String,
    /// Rounds that were not measured.
    pub warm_up: usize,
    /// The statements, in the order in which each round ran them.
    pub statements: Vec<StatementReport>,
}

/// The latencies of one statement.
#[derive(Debug, Clone, Serialize)]
pub struct StatementReport {
    /// What it stands for.
    pub name: &'static str,
    /// The statement.
    pub sql: String,
    /// From the request to the end of the answer.
    pub whole: Quantiles,
    /// From the request to the first rows.
    pub first_rows: Quantiles,
    /// Each time to the end of the answer in the order of the rounds, in seconds.
    pub times_s: Vec<f64>,
}

/// What most runs stayed below.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of them, in seconds.
    pub p50_s: f64,
    /// Nine of ten, in seconds.
    pub p90_s: f64,
    /// 99 of 100, in seconds.
    pub p99_s: f64,
    /// All, in seconds.
    pub max_s: f64,
}

impl Quantiles {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        Self {
            p50_s: nearest_rank(&times, 50),
            p90_s: nearest_rank(&times, 90),
            p99_s: nearest_rank(&times, 99),
            max_s: nearest_rank(&times, 100),
        }
    }
}

/// The least of the sorted values that `percent` of them do not exceed; 0 of none.
fn nearest_rank(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

impl LatencyReport {
    pub(super) fn new(url: String, warm_up: usize) -> Self {
        Self {
            benchmark: "latency",
            harness_version: env!("CARGO_PKG_VERSION"),
            ended_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            url,
            warm_up,
            statements: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, name: &'static str, sql: &str, samples: &[Sample]) {
        self.statements.push(StatementReport {
            name,
            sql: sql.to_owned(),
            whole: Quantiles::of(samples.iter().map(|sample| sample.whole)),
            first_rows: Quantiles::of(samples.iter().map(|sample| sample.first_rows)),
            times_s: samples.iter().map(|sample| sample.whole.as_secs_f64()).collect(),
        });
    }

    /// The report as indented JSON.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// The table for a terminal, in milliseconds.
    pub fn render(&self) -> String {
        let mut table = Table::new();
        table.load_preset(TABLE_STYLE);
        table.set_header(["ms", "p50", "p90", "p99", "max", "first rows p50", "p99", "runs"]);
        for statement in &self.statements {
            let (whole, first) = (&statement.whole, &statement.first_rows);
            let times = [whole.p50_s, whole.p90_s, whole.p99_s, whole.max_s, first.p50_s, first.p99_s];
            let mut row = vec![Cell::new(statement.name)];
            row.extend(times.map(|time_s| Cell::new(format!("{:.2}", time_s * 1e3))));
            row.push(Cell::new(statement.times_s.len()));
            table.add_row(row);
        }
        for index in 1..=7 {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ms: u64) -> Sample {
        Sample { first_rows: Duration::from_millis(ms) / 2, whole: Duration::from_millis(ms) }
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let of = |count: u64| Quantiles::of((1..=count).rev().map(Duration::from_secs));
        assert_eq!(of(100), Quantiles { p50_s: 50.0, p90_s: 90.0, p99_s: 99.0, max_s: 100.0 });
        assert_eq!(of(3), Quantiles { p50_s: 2.0, p90_s: 3.0, p99_s: 3.0, max_s: 3.0 });
        assert_eq!(of(1).p50_s, 1.0);
        assert_eq!(of(0).max_s, 0.0);
    }

    #[test]
    fn the_table_is_in_milliseconds_and_json_in_seconds() {
        let mut report = LatencyReport::new("grpc://host:1".into(), 2);
        report.add("constant", "SELECT 1", &[sample(2), sample(4), sample(8)]);
        let text = report.render();
        for part in ["constant", "4.00", "8.00", "2.00"] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&report.to_json().expect("JSON")).expect("JSON");
        assert_eq!(json["benchmark"], "latency");
        assert_eq!(json["statements"][0]["whole"]["p50_s"], 0.004);
        assert_eq!(json["statements"][0]["first_rows"]["p99_s"], 0.004);
        assert_eq!(json["statements"][0]["times_s"][2], 0.008);
    }
}
