//! Whether a result is the expected one.
//!
//! In: the stored answer of a query, made by another engine, and the rows that a server gave. Out: nothing, or the first cell
//! that is wrong. `answers/README.md` says how cells are compared, and how the stored answers were made.

mod stored;
mod value;

use arrow::array::RecordBatch;

use super::query::Query;

pub use stored::{AnswerError, Answers};
pub use value::Value;

/// The expected result of one query.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The columns' names.
    columns: Vec<String>,
    /// Row by row, a value per column.
    rows: Vec<Vec<Value>>,
}

/// The first difference between a result and its answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// Rows are missing, or too many.
    #[error("Q{query}: expected {expected} rows, got {got}")]
    Rows {
        /// The query's number.
        query: u8,
        /// The rows of the answer.
        expected: usize,
        /// The rows of the result.
        got: usize,
    },
    /// Columns are missing, or too many.
    #[error("Q{query}: expected {expected} columns, got {got}")]
    Columns {
        /// The query's number.
        query: u8,
        /// The columns of the answer.
        expected: usize,
        /// The columns of the result.
        got: usize,
    },
    /// A cell has another value.
    #[error("Q{query}: row {row}, column {column}: expected {expected}, got {got}")]
    Cell {
        /// The query's number.
        query: u8,
        /// The row, from 1.
        row: usize,
        /// The column's name.
        column: String,
        /// The value of the answer.
        expected: String,
        /// The value of the result.
        got: String,
    },
}

impl Answer {
    /// Compares a query's result with this answer.
    pub fn check(&self, query: Query, batches: &[RecordBatch]) -> Result<(), Mismatch> {
        let number = query.number();
        let got: Vec<Vec<Value>> = batches.iter().flat_map(value::rows).collect();
        if got.len() != self.rows.len() {
            return Err(Mismatch::Rows { query: number, expected: self.rows.len(), got: got.len() });
        }
        if let Some(row) = got.first().filter(|row| row.len() != self.columns.len()) {
            return Err(Mismatch::Columns { query: number, expected: self.columns.len(), got: row.len() });
        }
        let keys = self.key_columns(query);
        let mut start = 0;
        for group in self.rows.chunk_by(|a, b| keys.iter().all(|&key| a[key] == b[key])) {
            let end = start + group.len();
            self.check_group(number, start, group, &got[start..end])?;
            start = end;
        }
        Ok(())
    }

    /// Where the columns stand that order the result.
    fn key_columns(&self, query: Query) -> Vec<usize> {
        let sort = query.sort_columns();
        (0..self.columns.len()).filter(|&column| sort.contains(&self.columns[column].as_str())).collect()
    }

    /// Compares rows that the query does not order among themselves: each expected row must be there once.
    fn check_group(
        &self,
        query: u8,
        start: usize,
        expected: &[Vec<Value>],
        got: &[Vec<Value>],
    ) -> Result<(), Mismatch> {
        let mut left: Vec<usize> = (0..got.len()).collect();
        for (offset, row) in expected.iter().enumerate() {
            // The row in the same place is the likely one, and the one to name when none fits.
            let found = left.iter().position(|&index| index == offset && same_row(row, &got[index]));
            let found = found.or_else(|| left.iter().position(|&index| same_row(row, &got[index])));
            match found {
                Some(position) => {
                    left.swap_remove(position);
                }
                None => {
                    let nearest = left.iter().copied().find(|&index| index == offset).or(left.first().copied());
                    return Err(self.first_difference(query, start + offset, row, &got[nearest.unwrap_or(offset)]));
                }
            }
        }
        Ok(())
    }

    fn first_difference(&self, query: u8, row: usize, expected: &[Value], got: &[Value]) -> Mismatch {
        let cells = expected.iter().zip(got).enumerate();
        let different = cells.filter(|(_, (expected, got))| !expected.accepts(got)).map(|(column, _)| column).next();
        let column = different.unwrap_or(0);
        Mismatch::Cell {
            query,
            row: row + 1,
            column: self.columns[column].clone(),
            expected: expected[column].to_string(),
            got: got[column].to_string(),
        }
    }
}

fn same_row(expected: &[Value], got: &[Value]) -> bool {
    expected.iter().zip(got).all(|(expected, got)| expected.accepts(got))
}

#[cfg(test)]
mod tests;
