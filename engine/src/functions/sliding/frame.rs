//! The rows of a window's frame that moves, and what is known of all of them, without ever taking anything back.
//!
//! In: what is known of each row, as it comes into the frame at its end, and how many rows leave at its beginning. Out: what is known
//! of all rows that are in it. A floating-point number that leaves a sum takes digits of the others with it, and a `NaN` never leaves;
//! so the rows are kept as two stacks: of the older ones every tail is known, of the newer ones the whole. A row is looked at about
//! three times, however long the frame is.

use std::collections::VecDeque;
use std::fmt::Debug;

/// Frames of up to so many rows are gone through row by row, in their order, as PostgreSQL does: the last digits depend on it.
const ROWS_IN_ORDER_MAX: usize = 64;

/// What is known of some rows.
pub(in crate::functions) trait Summary: Copy + Default + Debug + Send + Sync + 'static {
    /// What is known of these rows and of those behind them.
    fn then(self, later: Self) -> Self;
}

/// The rows of a frame.
#[derive(Debug, Default)]
pub(super) struct Frame<S> {
    rows: VecDeque<S>,
    /// What is known of the last of the older rows, of the last two, and so on.
    tails: Vec<S>,
    /// What is known of the rows behind the older ones.
    later: S,
}

impl<S: Summary> Frame<S> {
    /// A row comes into the frame.
    pub(super) fn push(&mut self, row: S) {
        self.rows.push_back(row);
        self.later = self.later.then(row);
    }

    /// The first rows leave the frame.
    pub(super) fn pop(&mut self, count: usize) {
        if count >= self.rows.len() {
            *self = Self::default();
            return;
        }
        for _ in 0..count {
            if self.tails.is_empty() {
                let mut known = S::default();
                self.tails.extend(self.rows.iter().rev().map(|row| {
                    known = row.then(known);
                    known
                }));
                self.later = S::default();
            }
            self.tails.pop();
            self.rows.pop_front();
        }
    }

    /// What is known of all rows in the frame.
    pub(super) fn all(&self) -> S {
        if self.rows.len() <= ROWS_IN_ORDER_MAX {
            return self.rows.iter().fold(S::default(), |known, row| known.then(*row));
        }
        self.tails.last().copied().unwrap_or_default().then(self.later)
    }

    /// The memory of the rows, in bytes.
    pub(super) fn allocated_bytes(&self) -> usize {
        (self.rows.capacity() + self.tails.capacity()) * size_of::<S>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows themselves, as far as their order shows: the first, the last, and how many.
    #[derive(Debug, Default, Clone, Copy, PartialEq)]
    struct Ends(Option<(usize, usize)>, usize);

    impl Summary for Ends {
        fn then(self, later: Self) -> Self {
            let ends = match (self.0, later.0) {
                (Some((first, _)), Some((_, last))) => Some((first, last)),
                (ends, None) | (None, ends) => ends,
            };
            Self(ends, self.1 + later.1)
        }
    }

    #[test]
    fn a_frame_knows_the_rows_that_are_in_it() {
        for length in [1, 2, 3, 63, 64, 65, 66, 200, 1000] {
            let mut frame = Frame::default();
            for row in 0..1500_usize {
                frame.push(Ends(Some((row, row)), 1));
                frame.pop(usize::from(row >= length));
                let first = (row + 1).saturating_sub(length);
                assert_eq!(frame.all(), Ends(Some((first, row)), row + 1 - first), "{length} rows, at {row}");
            }
        }
    }

    #[test]
    fn a_frame_that_all_rows_leave_is_empty_and_fills_again() {
        let mut frame = Frame::default();
        for row in 0..100 {
            frame.push(Ends(Some((row, row)), 1));
        }
        frame.pop(40);
        frame.pop(60);
        assert_eq!(frame.all(), Ends::default());
        frame.push(Ends(Some((7, 7)), 1));
        assert_eq!(frame.all(), Ends(Some((7, 7)), 1));
    }
}
