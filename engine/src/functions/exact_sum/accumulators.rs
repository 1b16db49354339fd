//! Exact sums of one group: of all values, of distinct values, and of those in a window frame.

use std::collections::HashMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{ArrowPrimitiveType, Decimal128Type};
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::logical_expr::Accumulator;
use datafusion_functions_aggregate_common::utils::GenericDistinctBuffer;

use super::{Exact, Outcome};

fn scalar<T: Exact>(outcome: &Outcome, sum: Option<i128>) -> Result<ScalarValue> {
    let value = sum.map(|sum| outcome.narrow::<T>(sum)).transpose()?;
    ScalarValue::new_primitive::<T>(value, &outcome.data_type)
}

/// The sum of all values; values may be taken back, as a window's frame does.
#[derive(Debug)]
pub(super) struct RunningSum<T> {
    sum: i128,
    count: u64,
    outcome: Outcome,
    values: PhantomData<fn() -> T>,
}

impl<T: Exact> RunningSum<T> {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { sum: 0, count: 0, outcome, values: PhantomData }
    }

    fn add<V: Exact>(&mut self, values: &ArrayRef) -> Result<()> {
        self.sum = self.outcome.step_all(self.sum, values.as_primitive::<V>(), i128::overflowing_add)?;
        self.count += valid(values);
        Ok(())
    }

    fn total(&self) -> Option<i128> {
        (self.count > 0).then_some(self.sum)
    }
}

fn valid(values: &ArrayRef) -> u64 {
    (values.len() - values.null_count()) as u64
}

impl<T: Exact + Debug> Accumulator for RunningSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add::<T>(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add::<Decimal128Type>(&states[0])
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::new_primitive::<Decimal128Type>(self.total(), &self.outcome.state_type())?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        scalar::<T>(&self.outcome, self.total())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.sum = self.outcome.step_all(self.sum, values[0].as_primitive::<T>(), i128::overflowing_sub)?;
        self.count -= valid(&values[0]);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.outcome.name.capacity()
    }
}

/// The sum of distinct values.
#[derive(Debug)]
pub(super) struct DistinctSum<T: ArrowPrimitiveType> {
    values: GenericDistinctBuffer<T>,
    outcome: Outcome,
}

impl<T: Exact> DistinctSum<T> {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { values: GenericDistinctBuffer::new(outcome.data_type.clone()), outcome }
    }
}

impl<T: Exact + Debug> Accumulator for DistinctSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut values = self.values.values.iter().map(|value| value.0.into());
        let sum = values.try_fold(0_i128, i128::checked_add);
        let sum = sum.ok_or_else(|| self.outcome.overflow("is beyond 128 bits and"))?;
        scalar::<T>(&self.outcome, (!self.values.values.is_empty()).then_some(sum))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.size()
    }
}

/// The sum of the distinct values in a window's frame, which come and go.
#[derive(Debug)]
pub(super) struct SlidingDistinctSum<T> {
    /// How often each value is in the frame.
    counts: HashMap<i128, u64>,
    sum: i128,
    outcome: Outcome,
    values: PhantomData<fn() -> T>,
}

impl<T: Exact> SlidingDistinctSum<T> {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { counts: HashMap::new(), sum: 0, outcome, values: PhantomData }
    }

    fn change(&mut self, sum: Option<i128>) -> Result<()> {
        self.sum = sum.ok_or_else(|| self.outcome.overflow("is beyond 128 bits and"))?;
        Ok(())
    }
}

impl<T: Exact + Debug> Accumulator for SlidingDistinctSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<T>().iter().flatten().map(Into::into) {
            let count = self.counts.entry(value).or_default();
            *count += 1;
            if *count == 1 {
                self.change(self.sum.checked_add(value))?;
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in values[0].as_primitive::<T>().iter().flatten().map(Into::into) {
            let Some(count) = self.counts.get_mut(&value) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
                self.change(self.sum.checked_sub(value))?;
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        scalar::<T>(&self.outcome, (!self.counts.is_empty()).then_some(self.sum))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        not_impl_err!("a window's frame is not summed in parts")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        not_impl_err!("a window's frame is not summed in parts")
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.capacity() * size_of::<(i128, u64)>()
    }
}
