//! Sums, means and spreads of floating-point numbers.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Float64Type;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::{Statistic, Summary};

/// Gives each number that is not NULL.
fn numbers(values: &[ArrayRef], take: impl FnMut(f64)) {
    values[0].as_primitive::<Float64Type>().iter().flatten().for_each(take);
}

/// How many numbers there are, and their sum.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::functions) struct Total {
    count: u64,
    sum: f64,
}

impl Summary for Total {
    fn then(self, later: Self) -> Self {
        // Of −0.0 alone the sum is −0.0.
        let sum = if self.count == 0 { later.sum } else { self.sum + later.sum };
        let sum = if later.count == 0 { self.sum } else { sum };
        Self { count: self.count + later.count, sum }
    }
}

/// What a sum is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::functions) enum FloatSum {
    /// `sum`.
    Sum,
    /// `avg`.
    Average,
}

impl Statistic for FloatSum {
    type Summary = Total;

    fn rows(self, values: &[ArrayRef], mut take: impl FnMut(Total)) -> Result<()> {
        numbers(values, |sum| take(Total { count: 1, sum }));
        Ok(())
    }

    fn answer(self, known: Total) -> ScalarValue {
        let value = match self {
            Self::Sum => known.sum,
            Self::Average => known.sum / known.count as f64,
        };
        ScalarValue::Float64((known.count > 0).then_some(value))
    }
}

/// How many numbers there are, their mean, and the sum of the squares of their distances from it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Moments {
    count: u64,
    mean: f64,
    squares: f64,
}

impl Summary for Moments {
    /// Chan, Golub and LeVeque's way to join two parts. Numbers that are all the same have no distance, whatever their parts.
    fn then(self, later: Self) -> Self {
        if self.count == 0 || later.count == 0 {
            return if self.count == 0 { later } else { self };
        }
        let count = self.count + later.count;
        let distance = later.mean - self.mean;
        let share = later.count as f64 / count as f64;
        let squares = self.squares + later.squares + distance * distance * self.count as f64 * share;
        Self { count, mean: self.mean + distance * share, squares }
    }
}

/// What a spread is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    /// The rows are a sample of others: `var_samp` and `stddev`, not `var_pop` and `stddev_pop`.
    pub(super) sample: bool,
    /// `stddev` and `stddev_pop`.
    pub(super) root: bool,
}

impl Statistic for Spread {
    type Summary = Moments;

    #[expect(clippy::eq_op, reason = "the distance of infinity from itself is not a number")]
    fn rows(self, values: &[ArrayRef], mut take: impl FnMut(Moments)) -> Result<()> {
        numbers(values, |mean| take(Moments { count: 1, mean, squares: mean - mean }));
        Ok(())
    }

    fn answer(self, known: Moments) -> ScalarValue {
        let divisor = known.count.saturating_sub(u64::from(self.sample));
        let variance = known.squares / divisor as f64;
        let value = if self.root { variance.sqrt() } else { variance };
        ScalarValue::Float64((divisor > 0).then_some(value))
    }
}

/// DataFusion's accumulator of all rows, but that the spread of one number alone is that of a number: of one `NaN` it is `NaN`, not 0.
#[derive(Debug)]
pub(super) struct WholeSpread {
    inner: Box<dyn Accumulator>,
    spread: Spread,
}

impl WholeSpread {
    pub(super) fn new(inner: Box<dyn Accumulator>, spread: Spread) -> Self {
        Self { inner, spread }
    }
}

impl Accumulator for WholeSpread {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let state = self.inner.state()?;
        match &state[..] {
            [
                ScalarValue::UInt64(Some(count)),
                ScalarValue::Float64(Some(mean)),
                ScalarValue::Float64(Some(squares)),
            ] => Ok(self.spread.answer(Moments { count: *count, mean: *mean, squares: *squares })),
            _ => self.inner.evaluate(),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}
