//! Joins with LATERAL subqueries as joins with what these have for all outer rows.
//!
//! In: a join whose right side names columns of its left. Out: the same rows from a join that does not:
//! ```text
//! Inner Join: condition             for   Inner Join: condition
//!   AND k = v (null-safe)                   Scan: t
//!   Scan: t                                 LATERAL (… k …)
//!   the subquery for all v, with v
//! ```

use std::sync::Arc;

use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::logical_plan::JoinConstraint;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, SubqueryAlias};

use super::outer_values::{Names, OuterValues, refused};
use super::references::{lateral, outer_columns};
use super::spread::keep;

/// The join of a relation with a subquery that names its columns; any other join as it is.
pub(super) fn apart(join: Join, names: &Names) -> Result<LogicalPlan> {
    let Some(subquery) = lateral(&join.right) else { return Ok(LogicalPlan::Join(join)) };
    let plan = subquery.subquery.as_ref().clone();
    let mut columns = outer_columns(&plan)?;
    columns.retain(|column| join.left.schema().has_column(column));
    let is_known = matches!(join.join_type, JoinType::Inner | JoinType::Left);
    if !is_known {
        return Err(refused("LATERAL on the right of this kind of join; use JOIN or LEFT JOIN"));
    }
    let (mut right, mut same) = (plan, None);
    let mut values = Vec::new();
    let mut outer = None;
    if !columns.is_empty() {
        let found = OuterValues::of(&join.left, columns, names)?;
        (right, values) = found.spread(right)?;
        outer = Some(found);
    }
    if let LogicalPlan::SubqueryAlias(SubqueryAlias { alias, .. }) = join.right.as_ref() {
        right = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(right), alias.clone())?);
        values = values.into_iter().map(|value| Column::new(Some(alias.clone()), value.name)).collect();
    }
    if let Some(outer) = outer {
        same = Some(outer.same_as_outer(join.left.schema(), &values)?);
    }
    let columns = join.schema.columns();
    let filter: Option<Expr> = conjunction(same.into_iter().chain(join.filter));
    let joined = Join::try_new(
        join.left,
        Arc::new(right),
        join.on,
        filter,
        join.join_type,
        JoinConstraint::On,
        join.null_equality,
        join.null_aware,
    )?;
    keep(LogicalPlan::Join(joined), columns, &[])
}
