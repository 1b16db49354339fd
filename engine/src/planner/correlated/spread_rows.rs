//! What looks at several rows of a correlated subquery, for all outer rows at once: windows, LIMIT and DISTINCT ON.
//!
//! In: such a node, below which outer columns are named. Out: the same by the outer values, too: windows are parted by them, and
//! the rows that LIMIT counts are numbered within them.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef, Result};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::expr::Sort as SortKey;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, Projection,
    SkipType, Sort, Window, lit,
};

use super::outer_values::{OuterValues, refused};
use super::spread::{Spread, keep};
use crate::planner::distinct_on_keys::without_repetition;

impl OuterValues<'_> {
    pub(super) fn sort_keys(
        &self,
        keys: Vec<SortKey>,
        values: &[Column],
        inputs: &[DFSchemaRef],
    ) -> Result<Vec<SortKey>> {
        let own = self.as_own(values);
        keys.into_iter().map(|key| Ok(key.with_expr(own.put_into(key.expr.clone(), inputs)?))).collect()
    }

    pub(super) fn distinct_on(&self, distinct: DistinctOn) -> Result<Spread> {
        let DistinctOn { on_expr, select_expr, sort_expr, input, .. } = distinct;
        let inputs = [Arc::clone(input.schema())];
        let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
        let (own, columns) = (self.as_own(&values), values.iter().cloned().map(Expr::Column));
        let on = on_expr.into_iter().map(|expr| own.put_into(expr, &inputs));
        let on = columns.clone().map(Ok).chain(on).collect::<Result<Vec<_>>>()?;
        let select = select_expr.into_iter().map(|expr| own.put_into_named(expr, &inputs));
        let select = select.chain(columns.clone().map(Ok)).collect::<Result<Vec<_>>>()?;
        let sort = match sort_expr {
            None => None,
            Some(keys) => {
                let first = columns.map(|column| column.sort(true, false));
                Some(first.chain(self.sort_keys(keys, &values, &inputs)?).collect())
            }
        };
        // A key that is an outer column is one of the values.
        let (distinct, _) = without_repetition(DistinctOn::try_new(on, select, sort, Arc::new(input))?);
        Ok((LogicalPlan::Distinct(Distinct::On(distinct)), values))
    }

    pub(super) fn window(&self, window: Window) -> Result<Spread> {
        let columns = window.schema.columns();
        let inputs = [Arc::clone(window.input.schema())];
        let (input, values) = self.spread(Arc::unwrap_or_clone(window.input))?;
        let own = self.as_own(&values);
        let exprs = window.window_expr.into_iter().map(|expr| {
            let name = NamePreserver::new_for_projection().save(&expr);
            Ok(name.restore(parted_by(own.put_into(expr, &inputs)?, &values)?))
        });
        let window = Window::try_new(exprs.collect::<Result<Vec<_>>>()?, Arc::new(input))?;
        Ok((keep(LogicalPlan::Window(window), columns, &values)?, values))
    }

    /// Numbers the rows of each outer value, and keeps those between the limits.
    pub(super) fn limit(&self, limit: Limit) -> Result<Spread> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(refused("LIMIT or OFFSET of more than a number in a correlated subquery; write the number"));
        };
        // Behind a projection, the order of the rows is no longer seen.
        if let LogicalPlan::Projection(Projection { expr, input, .. }) = limit.input.as_ref() {
            let below = LogicalPlan::Limit(Limit { input: Arc::clone(input), ..limit.clone() });
            let projection = Projection::try_new(expr.clone(), Arc::new(below))?;
            return self.spread(LogicalPlan::Projection(projection));
        }
        let columns = limit.input.schema().columns();
        let (input, values, keys) = match Arc::unwrap_or_clone(limit.input) {
            LogicalPlan::Sort(Sort { expr, input, fetch: None }) => {
                let inputs = [Arc::clone(input.schema())];
                let (input, values) = self.spread(Arc::unwrap_or_clone(input))?;
                let keys = self.sort_keys(expr, &values, &inputs)?;
                (input, values, keys)
            }
            other => {
                let (input, values) = self.spread(other)?;
                (input, values, Vec::new())
            }
        };
        let name = self.names().fresh("row");
        let partition = values.iter().cloned().map(Expr::Column).collect();
        let mut number = row_number().partition_by(partition);
        if !keys.is_empty() {
            number = number.order_by(keys);
        }
        let number = number.build()?.alias(&name);
        let position = Expr::Column(Column::new_unqualified(&name));
        let mut between = position.clone().gt(lit(skip as u64));
        if let Some(fetch) = fetch {
            between = between.and(position.lt_eq(lit(skip.saturating_add(fetch) as u64)));
        }
        let numbered = LogicalPlanBuilder::from(input).window([number])?.filter(between)?.build()?;
        Ok((keep(numbered, columns, &values)?, values))
    }
}

/// A window function that does not look beyond the rows of one outer value.
fn parted_by(expr: Expr, values: &[Column]) -> Result<Expr> {
    let parted = expr.transform_up(|expr| match expr {
        Expr::WindowFunction(mut function) => {
            function.params.partition_by.extend(values.iter().cloned().map(Expr::Column));
            Ok(Transformed::yes(Expr::WindowFunction(function)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(parted.data)
}
