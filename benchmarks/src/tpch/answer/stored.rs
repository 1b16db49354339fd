//! Where expected answers come from: this crate for the usual scales, or a folder.

use std::path::{Path, PathBuf};

use super::{Answer, Value};
use crate::scale::Scale;
use crate::tpch::query::{Query, one_per_query};

const SF0_01: [&str; Query::COUNT] = one_per_query!("answers/sf0.01", ".csv");
const SF0_1: [&str; Query::COUNT] = one_per_query!("answers/sf0.1", ".csv");
const SF1: [&str; Query::COUNT] = one_per_query!("answers/sf1", ".csv");

/// The answers of all queries at one scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answers {
    /// Those that are part of this crate, at this place in its list.
    Stored(Stored),
    /// A folder with `q01.csv` and so on, as `answers/produce.py` writes it.
    Folder(PathBuf),
}

/// A scale whose answers are part of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored(&'static [&'static str; Query::COUNT]);

/// An answer cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The crate holds none for this scale.
    #[error(
        "there are no stored answers for scale {0}, only for 0.01, 0.1 and 1: make them with benchmarks/answers/produce.py \
         and give the folder with --answers"
    )]
    NoScale(Scale),
    /// A file cannot be read.
    #[error("cannot read the answer {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: std::io::Error,
    },
    /// A file is not in the format of `answers/README.md`.
    #[error("the answer of Q{query} is malformed: {reason}")]
    Malformed {
        /// The query's number.
        query: u8,
        /// What is wrong, and where.
        reason: String,
    },
}

impl Answers {
    /// The stored answers for a scale.
    pub fn stored(scale: Scale) -> Result<Self, AnswerError> {
        let known = [(0.01, &SF0_01), (0.1, &SF0_1), (1.0, &SF1)];
        let texts = known.into_iter().find(|(factor, _)| *factor == scale.factor()).map(|(_, texts)| texts);
        texts.map(|texts| Self::Stored(Stored(texts))).ok_or(AnswerError::NoScale(scale))
    }

    /// Answers in a folder.
    pub fn folder(path: &Path) -> Self {
        Self::Folder(path.to_path_buf())
    }

    /// The answer of one query.
    pub fn get(&self, query: Query) -> Result<Answer, AnswerError> {
        let number = query.number();
        let text = match self {
            Self::Stored(Stored(texts)) => texts[usize::from(number) - 1].to_string(),
            Self::Folder(folder) => {
                let path = folder.join(format!("q{number:02}.csv"));
                std::fs::read_to_string(&path).map_err(|source| AnswerError::Read { path, source })?
            }
        };
        parse(&text).map_err(|reason| AnswerError::Malformed { query: number, reason })
    }
}

fn parse(text: &str) -> Result<Answer, String> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b'|').from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    let columns: Vec<(&str, &str)> = header
        .iter()
        .map(|column| column.split_once(':').ok_or_else(|| format!("the header {column} is not name:type")))
        .collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let cells = record.iter().zip(&columns).map(|(cell, (name, type_name))| {
            Value::parse(cell, type_name)
                .ok_or_else(|| format!("row {}, column {name}: {cell} is no {type_name}", rows.len() + 1))
        });
        rows.push(cells.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(Answer { columns: columns.iter().map(|(name, _)| name.to_string()).collect(), rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stored_answers_are_read_and_hold_the_sort_columns() {
        for factor in [0.01, 0.1, 1.0] {
            let answers = Answers::stored(Scale::new(factor).expect("a scale")).expect("stored");
            for query in Query::all() {
                let answer = answers.get(query).expect("well formed");
                let sort = query.sort_columns();
                assert!(sort.iter().all(|column| answer.columns.iter().any(|c| c == column)), "Q{}", query.number());
                // Q2 and Q20 look for parts that few suppliers have; all others have rows at every scale.
                assert!(!answer.rows.is_empty() || factor < 0.1, "Q{} at {factor}", query.number());
            }
        }
        let null =
            Answers::stored(Scale::new(0.01).expect("a scale")).expect("stored").get(Query::new(17).expect("Q17"));
        assert_eq!(null.expect("well formed").rows, [[Value::Null]]);
    }

    #[test]
    fn a_scale_without_answers_says_how_to_make_them() {
        let error = Answers::stored(Scale::new(3.0).expect("a scale")).expect_err("none stored").to_string();
        assert!(error.contains("scale 3") && error.contains("produce.py"), "{error}");
    }

    #[test]
    fn malformed_answers_name_the_place() {
        for (text, part) in
            [("a:bigint|b\n", "header b"), ("a:bigint\n1\nx\n", "row 2, column a"), ("a:blob\n1\n", "blob")]
        {
            let error = parse(text).expect_err("malformed");
            assert!(error.contains(part), "{error}");
        }
    }
}
