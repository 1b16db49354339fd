//! Whether a query has one row at most by its form.

use datafusion::logical_expr::{
    Aggregate, Distinct, FetchType, Filter, JoinType, LogicalPlan, Projection, Sort, SubqueryAlias, Window,
};

/// Whether a plan has one row at most, whatever the tables hold. (DataFusion's `max_rows` takes a query without FROM for none.)
pub(crate) fn has_one_row_at_most(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(Aggregate { group_expr, .. }) => group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1)))) || has_one_row_at_most(&limit.input)
        }
        LogicalPlan::Projection(Projection { input, .. })
        | LogicalPlan::Filter(Filter { input, .. })
        | LogicalPlan::Window(Window { input, .. })
        | LogicalPlan::Sort(Sort { input, .. })
        | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. })
        | LogicalPlan::Distinct(Distinct::All(input)) => has_one_row_at_most(input),
        LogicalPlan::Subquery(subquery) => has_one_row_at_most(&subquery.subquery),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => has_one_row_at_most(&join.left),
            JoinType::RightSemi | JoinType::RightAnti => has_one_row_at_most(&join.right),
            JoinType::Inner | JoinType::Left | JoinType::Right => {
                has_one_row_at_most(&join.left) && has_one_row_at_most(&join.right)
            }
            _ => false,
        },
        _ => false,
    }
}
