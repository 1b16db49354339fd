//! Rows that several places of a query read, made once.
//!
//! ```text
//! CTE that calls random() ─► marked by the dialect ─► named more than once: SharedRowsNode ─► SharedRowsExec ─┐
//!                                                                             SharedRowsExec ─┴─► one task's rows
//! ```
//! In: a plan in which DataFusion wrote a CTE out as often as it is named. Out: the same, where the rows of each that is volatile are made
//! once, held in memory that is reserved, and given to all. What is named once is left as it is. Such a plan runs in this process.

mod made;
mod node;
mod operator;
mod planner;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{Extension, LogicalPlan, SubqueryAlias};

use self::made::MadeRows;
use self::node::SharedRowsNode;
pub(crate) use self::operator::SHARED_ROWS;
pub(crate) use self::planner::SharingPlanner;
use crate::Error;

/// What the alias of a marked query begins with; a number follows, or what comes next.
pub(crate) const MARK: &str = "\u{1}volatile ";
/// The same for one that stands within a recursive query.
pub(crate) const MARK_WITHIN: &str = "\u{1}volatile within ";

/// Makes the rows of marked queries that are read more than once the same everywhere.
///
/// # Errors
/// If such a query cannot be run by itself: it depends on a row of a query around it, or on a step of a recursive one.
pub(crate) fn share(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut counts = HashMap::new();
    count(&plan, 1, &mut counts)?;
    counts.retain(|_, count| *count > 1);
    if counts.is_empty() {
        return Ok(plan);
    }
    let mut made: HashMap<String, Arc<MadeRows>> = HashMap::new();
    let shared = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::SubqueryAlias(marked) = plan else { return Ok(Transformed::no(plan)) };
        if !counts.contains_key(marked.alias.table()) {
            return Ok(Transformed::no(LogicalPlan::SubqueryAlias(marked)));
        }
        check_stands_alone(&marked)?;
        let rows = made.entry(marked.alias.table().to_owned()).or_default();
        let node = node(marked.input, Arc::clone(rows));
        Ok(Transformed::yes(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(node), marked.alias)?)))
    })?;
    Ok(shared.data)
}

/// A plan whose copies all give the same rows.
pub(crate) fn once(plan: Arc<LogicalPlan>) -> LogicalPlan {
    node(plan, Arc::default())
}

fn node(plan: Arc<LogicalPlan>, rows: Arc<MadeRows>) -> LogicalPlan {
    let node = SharedRowsNode::new(Arc::unwrap_or_clone(plan), rows);
    LogicalPlan::Extension(Extension { node: Arc::new(node) })
}

/// Counts how often each marked query is read. A step of a recursive query is taken many times.
fn count(plan: &LogicalPlan, times: usize, counts: &mut HashMap<String, usize>) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::RecursiveQuery(query) if times == 1 => {
                count(&query.static_term, 1, counts)?;
                count(&query.recursive_term, 2, counts)?;
                return Ok(TreeNodeRecursion::Jump);
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let name = alias.alias.table();
                // What is made within a step is made once in each.
                let times = if name.starts_with(MARK_WITHIN) { 1 } else { times };
                if name.starts_with(MARK) {
                    *counts.entry(name.to_owned()).or_default() += times;
                }
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}

fn check_stands_alone(marked: &SubqueryAlias) -> Result<()> {
    let refused = |why: &str| {
        let feature = format!("a CTE with a volatile function that is named more than once {why}");
        Err(Error::unsupported("this query", feature).into())
    };
    if marked.alias.table().starts_with(MARK_WITHIN) {
        return refused("within a recursive query");
    }
    match marked.input.all_out_ref_exprs().is_empty() {
        true => Ok(()),
        false => refused("and that names columns of a query around it"),
    }
}
