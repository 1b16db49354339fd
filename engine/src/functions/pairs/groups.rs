//! Pairs of numbers of many groups at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::accumulate::accumulate_multiple;

use super::summary::{PairStatistic, Pairs};
use crate::functions::sliding::Summary;

/// What is known of each group.
#[derive(Debug)]
pub(super) struct GroupPairs {
    groups: Vec<Pairs>,
    statistic: PairStatistic,
}

impl GroupPairs {
    pub(super) fn new(statistic: PairStatistic) -> Self {
        Self { groups: Vec::new(), statistic }
    }
}

/// What is known of parts, as columns.
pub(super) fn columns(parts: &[Pairs]) -> Vec<ArrayRef> {
    let number = |of: fn(&Pairs) -> f64| Arc::new(Float64Array::from_iter_values(parts.iter().map(of))) as ArrayRef;
    vec![
        Arc::new(UInt64Array::from_iter_values(parts.iter().map(|part| part.count))),
        number(|part| part.mean_x),
        number(|part| part.mean_y),
        number(|part| part.xx),
        number(|part| part.yy),
        number(|part| part.xy),
    ]
}

/// The parts that such columns tell of.
pub(super) fn parts(columns: &[ArrayRef]) -> impl Iterator<Item = Pairs> {
    let counts = columns[0].as_primitive::<UInt64Type>().values();
    let [mean_x, mean_y, xx, yy, xy] = [1, 2, 3, 4, 5].map(|at| columns[at].as_primitive::<Float64Type>().values());
    (0..counts.len()).map(move |at| Pairs {
        count: counts[at],
        mean_x: mean_x[at],
        mean_y: mean_y[at],
        xx: xx[at],
        yy: yy[at],
        xy: xy[at],
    })
}

impl GroupsAccumulator for GroupPairs {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize(total_num_groups, Pairs::default());
        let pairs = [0, 1].map(|at| values[at].as_primitive::<Float64Type>());
        accumulate_multiple(group_indices, &pairs, opt_filter, |group, row, pairs| {
            let group = &mut self.groups[group];
            *group = group.then(Pairs::one(pairs[0].value(row), pairs[1].value(row)));
        });
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups.resize(total_num_groups, Pairs::default());
        for (group, part) in group_indices.iter().zip(parts(values)) {
            self.groups[*group] = self.groups[*group].then(part);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emit_to.take_needed(&mut self.groups);
        Ok(match self.statistic {
            PairStatistic::Count => {
                Arc::new(Int64Array::from_iter_values(groups.iter().map(|pairs| pairs.count.cast_signed())))
            }
            statistic => Arc::new(groups.iter().map(|pairs| statistic.of(pairs)).collect::<Float64Array>()),
        })
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(columns(&emit_to.take_needed(&mut self.groups)))
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let pairs = [0, 1].map(|at| values[at].as_primitive::<Float64Type>());
        let rows: Vec<usize> = (0..values[0].len()).collect();
        let mut parts = vec![Pairs::default(); rows.len()];
        accumulate_multiple(&rows, &pairs, opt_filter, |row, _, pairs| {
            parts[row] = Pairs::one(pairs[0].value(row), pairs[1].value(row));
        });
        Ok(columns(&parts))
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Pairs>()
    }
}
