//! `bit_xor` over frames that move: NULL where the frame has no value; DataFusion's gives 0 once it has had one.

use arrow::array::{Array, ArrayRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

/// DataFusion's accumulator, and how many values are in it.
#[derive(Debug)]
pub(super) struct SlidingXor {
    inner: Box<dyn Accumulator>,
    count: usize,
}

impl SlidingXor {
    pub(super) fn new(inner: Box<dyn Accumulator>) -> Self {
        Self { inner, count: 0 }
    }
}

fn valid(values: &[ArrayRef]) -> usize {
    values[0].len() - values[0].null_count()
}

impl Accumulator for SlidingXor {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += valid(values);
        self.inner.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count -= valid(values);
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        if self.count > 0 { Ok(value) } else { ScalarValue::try_from(value.data_type()) }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}
