//! `corr`, `covar_pop`, `covar_samp` and `regr_…` as PostgreSQL defines them.
//!
//! DataFusion's give numbers where one of the two columns has no variance, `NULL` where PostgreSQL gives 1 or `NaN`, lose digits where
//! they sum squares by group, and subtract what leaves a window's frame ([`super::sliding`]). Names are DataFusion's; `regr_count` is
//! a bigint. `DISTINCT` pairs, which DataFusion does not tell from others, are refused. DataFusion 55.2.

mod groups;
mod summary;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, not_impl_err};
use datafusion::functions_aggregate::correlation::corr_udaf;
use datafusion::functions_aggregate::covariance::{covar_pop_udaf, covar_samp_udaf};
use datafusion::functions_aggregate::regr;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, Signature,
};

use self::groups::GroupPairs;
use self::summary::{PairStatistic, Pairs};
use super::sliding::{Sliding, Statistic, Summary};

/// An aggregate of pairs, with DataFusion's name and signature.
#[derive(Debug)]
pub(super) struct PairAggregate {
    named: Arc<AggregateUDF>,
    statistic: PairStatistic,
}

impl PairAggregate {
    /// All of them.
    pub(super) fn all() -> [Self; 12] {
        [
            (covar_samp_udaf(), PairStatistic::CovarSamp),
            (covar_pop_udaf(), PairStatistic::CovarPop),
            (corr_udaf(), PairStatistic::Corr),
            (regr::regr_slope_udaf(), PairStatistic::Slope),
            (regr::regr_intercept_udaf(), PairStatistic::Intercept),
            (regr::regr_count_udaf(), PairStatistic::Count),
            (regr::regr_r2_udaf(), PairStatistic::R2),
            (regr::regr_avgx_udaf(), PairStatistic::AverageX),
            (regr::regr_avgy_udaf(), PairStatistic::AverageY),
            (regr::regr_sxx_udaf(), PairStatistic::Sxx),
            (regr::regr_syy_udaf(), PairStatistic::Syy),
            (regr::regr_sxy_udaf(), PairStatistic::Sxy),
        ]
        .map(|(named, statistic)| Self { named, statistic })
    }

    fn check(&self, args: &AccumulatorArgs) -> Result<()> {
        if args.is_distinct {
            return not_impl_err!("{}(DISTINCT …); select distinct pairs in a subquery", self.named.name());
        }
        Ok(())
    }
}

impl PartialEq for PairAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.statistic == other.statistic
    }
}

impl Eq for PairAggregate {}

impl std::hash::Hash for PairAggregate {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.statistic.hash(state);
    }
}

impl AggregateUDFImpl for PairAggregate {
    fn name(&self) -> &str {
        self.named.name()
    }

    fn aliases(&self) -> &[String] {
        self.named.aliases()
    }

    fn signature(&self) -> &Signature {
        self.named.signature()
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(if self.statistic == PairStatistic::Count { DataType::Int64 } else { DataType::Float64 })
    }

    fn is_nullable(&self) -> bool {
        self.statistic != PairStatistic::Count
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(self.statistic.answer(Pairs::default()))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.check(&args)?;
        Ok(Box::new(AllPairs { pairs: Pairs::default(), statistic: self.statistic }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.check(&args)?;
        Ok(Box::new(Sliding::new(self.statistic)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        self.check(&args)?;
        Ok(Box::new(GroupPairs::new(self.statistic)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name, ty| Arc::new(Field::new(format_state_name(args.name, name), ty, true));
        let number = |name| field(name, DataType::Float64);
        let count = field("count", DataType::UInt64);
        Ok(vec![count, number("mean_x"), number("mean_y"), number("xx"), number("yy"), number("xy")])
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.named.documentation()
    }
}

impl Statistic for PairStatistic {
    type Summary = Pairs;

    fn rows(self, values: &[ArrayRef], mut take: impl FnMut(Pairs)) -> Result<()> {
        let [ys, xs] = [0, 1].map(|at| values[at].as_primitive::<Float64Type>());
        for (y, x) in ys.iter().zip(xs) {
            if let (Some(y), Some(x)) = (y, x) {
                take(Pairs::one(y, x));
            }
        }
        Ok(())
    }

    fn answer(self, known: Pairs) -> ScalarValue {
        match self {
            Self::Count => ScalarValue::Int64(Some(known.count.cast_signed())),
            _ => ScalarValue::Float64(self.of(&known)),
        }
    }
}

/// All pairs of one group.
#[derive(Debug)]
struct AllPairs {
    pairs: Pairs,
    statistic: PairStatistic,
}

impl Accumulator for AllPairs {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.statistic.rows(values, |pair| self.pairs = self.pairs.then(pair))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        groups::parts(states).for_each(|part| self.pairs = self.pairs.then(part));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = groups::columns(&[self.pairs]);
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.statistic.answer(self.pairs))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
