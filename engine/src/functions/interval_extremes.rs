//! `min()` and `max()` of intervals, by their lengths ([`Form::Justified`]).
//!
//! In: intervals of months, days and nanoseconds. Out: the shortest or longest of them as it was given: of 24 hours and a day, which are
//! equal, either.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::sliding::{Statistic, Summary};
use crate::types::Form;

/// An interval beside the form in which it is compared.
type Keyed = (IntervalMonthDayNano, IntervalMonthDayNano);

/// What is known of some rows: the one that `min()` or `max()` gives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extreme<const LARGEST: bool>(Option<Keyed>);

impl<const LARGEST: bool> Summary for Extreme<LARGEST> {
    fn then(self, later: Self) -> Self {
        let is_later = match (&self.0, &later.0) {
            (Some(one), Some(other)) => {
                if LARGEST {
                    other.0 >= one.0
                } else {
                    other.0 <= one.0
                }
            }
            (_, other) => other.is_some(),
        };
        if is_later { later } else { self }
    }
}

/// What is asked of a frame that moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfFrame<const LARGEST: bool>;

impl<const LARGEST: bool> Statistic for OfFrame<LARGEST> {
    type Summary = Extreme<LARGEST>;

    fn rows(self, values: &[ArrayRef], take: impl FnMut(Self::Summary)) -> Result<()> {
        let [intervals] = values else { return Ok(()) };
        let keys = Form::Justified.of(intervals)?;
        let keys = keys.as_primitive::<IntervalMonthDayNanoType>();
        let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
        keys.iter().flatten().zip(intervals.iter().flatten()).map(|keyed| Extreme(Some(keyed))).for_each(take);
        Ok(())
    }

    fn answer(self, known: Self::Summary) -> ScalarValue {
        ScalarValue::IntervalMonthDayNano(known.0.map(|(_, interval)| interval))
    }
}

/// The accumulator of rows that only come.
#[derive(Debug, Default)]
pub(super) struct Growing<const LARGEST: bool>(Extreme<LARGEST>);

impl<const LARGEST: bool> Accumulator for Growing<LARGEST> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        OfFrame::<LARGEST>.rows(values, |row| self.0 = self.0.then(row))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(OfFrame::<LARGEST>.answer(self.0))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
