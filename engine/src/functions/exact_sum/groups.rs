//! Exact sums of many groups at once, one 128-bit number each.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::Decimal128Type;
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::NullState;

use super::{Exact, Outcome};

/// The sums, by the number of the group.
#[derive(Debug)]
pub(super) struct GroupSums<T> {
    sums: Vec<i128>,
    /// Which groups have a value at all.
    seen: NullState,
    outcome: Outcome,
    values: PhantomData<fn() -> T>,
}

impl<T: Exact> GroupSums<T> {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { sums: Vec::new(), seen: NullState::new(), outcome, values: PhantomData }
    }

    fn add<V: Exact>(
        &mut self,
        values: &ArrayRef,
        groups: &[usize],
        filter: Option<&BooleanArray>,
        groups_total: usize,
    ) -> Result<()> {
        self.sums.resize(groups_total, 0);
        let sums = &mut self.sums;
        let mut overflow = false;
        self.seen.accumulate(groups, values.as_primitive::<V>(), filter, groups_total, |group, value| {
            let (sum, over) = sums[group].overflowing_add(value.into());
            sums[group] = sum;
            overflow |= over;
        });
        if overflow { Err(self.outcome.overflow("is beyond 128 bits and")) } else { Ok(()) }
    }
}

impl<T: Exact> GroupsAccumulator for GroupSums<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.add::<T>(&values[0], group_indices, opt_filter, total_num_groups)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.add::<Decimal128Type>(&values[0], group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let nulls = self.seen.build(emit_to);
        let sums: Vec<T::Native> = sums.into_iter().map(|sum| self.outcome.narrow::<T>(sum)).collect::<Result<_>>()?;
        let sums = PrimitiveArray::<T>::new(sums.into(), nulls);
        Ok(Arc::new(sums.with_data_type(self.outcome.data_type.clone())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let sums = emit_to.take_needed(&mut self.sums);
        let sums = Decimal128Array::new(sums.into(), self.seen.build(emit_to));
        Ok(vec![Arc::new(sums.with_data_type(self.outcome.state_type()))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<T>();
        let kept = opt_filter.map(|filter| match filter.nulls() {
            Some(_) => NullBuffer::new(prep_null_mask_filter(filter).values().clone()),
            None => NullBuffer::new(filter.values().clone()),
        });
        let nulls = NullBuffer::union(values.nulls(), kept.as_ref());
        let sums: Vec<i128> = values.values().iter().map(|value| (*value).into()).collect();
        let sums = Decimal128Array::new(sums.into(), nulls);
        Ok(vec![Arc::new(sums.with_data_type(self.outcome.state_type()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.seen.size()
    }
}
