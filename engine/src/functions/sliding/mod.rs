//! Aggregates of floating-point numbers over frames of a window that move: `sum`, `avg`, variances and standard deviations; and
//! `bit_xor`.
//!
//! DataFusion subtracts what leaves a frame. That is exact for integers and decimals. Of doubles it loses digits that are never found
//! again (after 1e17 has left, a sum of two ones is 0), a `NaN` or an infinity stays for good, and what has no variance seems to have
//! some. Here nothing is subtracted ([`frame::Frame`]). All else is DataFusion's. DataFusion 55.2.

mod frame;
mod moments;
mod windowed;
mod xor;

use std::fmt::Debug;

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::Accumulator;

use frame::Frame;
pub(super) use frame::Summary;
pub(super) use moments::FloatSum;
pub(super) use windowed::Windowed;

/// What is asked of the rows of a frame.
pub(super) trait Statistic: Copy + Debug + Send + Sync + 'static {
    /// What must be known of the rows.
    type Summary: Summary;

    /// Gives what is known of each row that counts: of none that has a NULL.
    fn rows(self, values: &[ArrayRef], take: impl FnMut(Self::Summary)) -> Result<()>;

    /// The answer.
    fn answer(self, known: Self::Summary) -> ScalarValue;
}

/// The accumulator of a frame that moves.
#[derive(Debug)]
pub(super) struct Sliding<T: Statistic> {
    frame: Frame<T::Summary>,
    statistic: T,
}

impl<T: Statistic> Sliding<T> {
    pub(super) fn new(statistic: T) -> Self {
        Self { frame: Frame::default(), statistic }
    }
}

impl<T: Statistic> Accumulator for Sliding<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.statistic.rows(values, |row| self.frame.push(row))
    }

    /// Rows leave in the order in which they came.
    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let mut count = 0;
        self.statistic.rows(values, |_| count += 1)?;
        self.frame.pop(count);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.statistic.answer(self.frame.all()))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("a window's frame is not summed in parts")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("a window's frame is not summed in parts")
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.frame.allocated_bytes()
    }
}
