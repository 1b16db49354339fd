//! A correlated subquery for all outer rows at once.
//!
//! In: a subquery's plan and the values that its outer columns have. Out: the rows that the subquery has for each of these
//! values, with the values behind the columns of its own, in a plan that names no outer column any more:
//! ```text
//! count(*) of nothing is 0:   Projection: count(*), v       for   Aggregate: count(*)
//!                               Aggregate: by v, count(*) of what is there        Filter: k = outer(v)
//!                                 Left Join: v = v'                                 Scan: t
//!                                   the outer values v
//!                                   Filter: k = v'
//!                                     Cross Join: Scan: t, the outer values v'
//! ```
//! (T. Neumann and A. Kemper, Unnesting Arbitrary Queries, BTW 2015; here without moving the values down.) What is not known
//! here is refused.

use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::logical_plan::JoinConstraint;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Distinct, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SubqueryAlias, Union,
};

use super::outer_values::{OuterValues, refused};
use super::references::{Values, lateral, outer_columns, schemas};
use super::{lateral_join, spread_aggregate};

/// A plan, and its columns with the outer values.
pub(super) type Spread = (LogicalPlan, Vec<Column>);

impl OuterValues<'_> {
    /// The rows of a plan for each of the outer values, with these behind its own columns.
    pub(super) fn spread(&self, plan: LogicalPlan) -> Result<Spread> {
        if !self.names_of(&plan)? {
            let (values, columns) = self.placed()?;
            return Ok((LogicalPlanBuilder::from(plan).cross_join(values)?.build()?, columns));
        }
        let inputs = schemas(&plan);
        match plan {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => {
                let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
                let predicate = self.as_own(&values).put_into(predicate, &inputs)?;
                Ok((LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?), values))
            }
            LogicalPlan::Projection(Projection { expr, input, .. }) => {
                let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
                let own = self.as_own(&values);
                let exprs = expr.into_iter().map(|expr| own.put_into_named(expr, &inputs));
                let mut exprs = exprs.collect::<Result<Vec<_>>>()?;
                exprs.extend(values.iter().cloned().map(Expr::Column));
                Ok((LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?), values))
            }
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
                let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
                let values = values.into_iter().map(|value| Column::new(Some(alias.clone()), value.name)).collect();
                Ok((LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias)?), values))
            }
            LogicalPlan::Subquery(subquery) => self.spread(Arc::unwrap_or_clone(subquery.subquery)),
            LogicalPlan::Aggregate(aggregate) => spread_aggregate::spread(self, aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
                Ok((LogicalPlan::Distinct(Distinct::All(Arc::new(input))), values))
            }
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.distinct_on(distinct),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Sort(Sort { expr, input, fetch: None }) => {
                let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
                let expr = self.sort_keys(expr, &values, &inputs)?;
                Ok((LogicalPlan::Sort(Sort { expr, input: Arc::new(input), fetch: None }), values))
            }
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) if lateral(&join.right).is_some() => {
                self.spread(lateral_join::apart(join, self.names())?)
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Unnest(_) => Err(refused("unnest() in a correlated subquery of this form; join instead")),
            LogicalPlan::RecursiveQuery(_) => {
                Err(refused("an outer column in a recursive query; join with the recursive query instead"))
            }
            other => {
                let feature = format!("an outer column below {} in a subquery; join instead", other.display());
                Err(refused(feature))
            }
        }
    }

    /// Whether a plan names any of the outer columns.
    pub(super) fn names_of(&self, plan: &LogicalPlan) -> Result<bool> {
        Ok(outer_columns(plan)?.iter().any(|column| self.columns().contains(column)))
    }

    /// The outer columns with those that have their values.
    pub(super) fn as_own(&self, values: &[Column]) -> Values {
        Values(self.columns().iter().cloned().zip(values.iter().cloned()).collect())
    }

    pub(super) fn same_columns(&self, left: &[Column], right: &[Column]) -> Expr {
        self.same(left.iter().cloned().map(Expr::Column), right.iter().cloned().map(Expr::Column))
    }

    fn join(&self, join: Join) -> Result<Spread> {
        use JoinType::{Inner, Left, LeftAnti, LeftSemi, Right, RightAnti, RightSemi};
        let (in_left, in_right) = (self.names_of(&join.left)?, self.names_of(&join.right)?);
        let (for_left, for_right) = match join.join_type {
            Inner => (in_left || !in_right, in_right),
            Left | LeftSemi | LeftAnti => (true, in_right),
            Right | RightSemi | RightAnti => (in_left, true),
            other => return Err(refused(format!("an outer column below a {other} join in a subquery; join instead"))),
        };
        let inputs = [Arc::clone(join.left.schema()), Arc::clone(join.right.schema())];
        let columns = join.schema.columns();
        let side = |input: Arc<LogicalPlan>, wanted| match wanted {
            true => self.spread(Arc::unwrap_or_clone(input)),
            false => Ok((Arc::unwrap_or_clone(input), Vec::new())),
        };
        let (left, left_values) = side(join.left, for_left)?;
        let (right, right_values) = side(join.right, for_right)?;
        let values = if for_left { &left_values } else { &right_values };
        // Keys of a join belong to one side each, which may not have the values.
        let own = self.as_own(values);
        if join.on.iter().any(|(left, right)| left.contains_outer() || right.contains_outer()) {
            return Err(refused("an outer column in a join's USING in a subquery; write the condition in WHERE"));
        }
        let filter = join.filter.map(|filter| own.put_into(filter, &inputs)).transpose()?;
        let same = (for_left && for_right).then(|| self.same_columns(&left_values, &right_values));
        let joined = LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(right),
            join.on,
            conjunction(same.into_iter().chain(filter)),
            join.join_type,
            JoinConstraint::On,
            join.null_equality,
            join.null_aware,
        )?);
        match join.join_type {
            Right | RightSemi | RightAnti => Ok((keep(joined, columns, &right_values)?, right_values)),
            _ => {
                let values = values.clone();
                Ok((keep(joined, columns, &values)?, values))
            }
        }
    }

    /// The outer values have one name in all inputs, which have their columns by their places.
    fn union(&self, union: Union) -> Result<Spread> {
        let names: Vec<String> = self.columns().iter().map(|_| self.names().fresh("outer")).collect();
        let columns = union.schema.columns();
        let inputs = union.inputs.into_iter().map(|input| {
            let own = input.schema().columns();
            let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
            let own = own.into_iter().zip(&columns).map(|(own, column)| match own == *column {
                true => Expr::Column(own),
                false => Expr::Column(own).alias_qualified(column.relation.clone(), &column.name),
            });
            let values = values.into_iter().zip(&names).map(|(value, name)| Expr::Column(value).alias(name));
            let exprs = own.chain(values).collect();
            Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)))
        });
        let union = Union::try_new(inputs.collect::<Result<Vec<_>>>()?)?;
        let values: Vec<Column> = names.into_iter().map(Column::new_unqualified).collect();
        Ok((keep(LogicalPlan::Union(union), columns, &values)?, values))
    }
}

/// A plan with these columns only, and the outer values behind them.
pub(super) fn keep(plan: LogicalPlan, columns: Vec<Column>, values: &[Column]) -> Result<LogicalPlan> {
    let columns = columns.into_iter().chain(values.iter().cloned()).map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}
