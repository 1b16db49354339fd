//! Keeps expressions from growing without bound while they are simplified.
//!
//! In: expressions whose operands have their types. Out: the same, or an error. DataFusion simplifies some expressions to others that
//! have an operand twice, and goes on within: 24 of them in each other would have 2^24 parts.
//!
//! | written | simplified | here |
//! |---|---|---|
//! | `CASE WHEN a THEN b ELSE c END` of booleans | `(a AND b) OR (NOT a AND c)` | if long, `CASE true WHEN a …`, which is left alone |
//! | `x BETWEEN a AND b` | `x >= a AND x <= b` | refused if it would be too long |
//! | `x ~ 'a|b'` | `x LIKE '%a%' OR x LIKE '%b%'` | the same |
//!
//! `functions/first_non_null.rs` and `bounded_filter_pushdown.rs` see to the others.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::Error;

/// Parts that an expression may have after it has been simplified, and how many times those that were written.
const PARTS_MAX: u64 = 5_000;
const REPEATED_MAX: u64 = 4;

/// Alternatives that a regular expression may become.
const ALTERNATIVES_MAX: u64 = 4;

/// Conditions of a boolean CASE that may become ANDs and ORs, unless all its values are literals.
const CONDITIONS_MAX: usize = 2;

/// The pass.
#[derive(Debug)]
pub(super) struct LimitRepetition;

impl AnalyzerRule for LimitRepetition {
    fn name(&self) -> &str {
        "limit_repetition"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        if !repeats_too_much(&plan)? {
            return Ok(plan);
        }
        let plan = plan.transform_up_with_subqueries(|plan| {
            map_named(plan, |expr| expr.transform_up(|expr| Ok(leave_alone(expr))))
        })?;
        match repeats_too_much(&plan.data)? {
            false => Ok(plan.data),
            true => Err(Error::TooComplex(format!(
                "an expression repeats its operands (BETWEEN, ~) within each other, and would have more than {PARTS_MAX} parts: \
                 compute the inner ones in a subquery"
            ))
            .into()),
        }
    }
}

/// Whether an expression of the plan would be too long when simplified.
fn repeats_too_much(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expr| {
            let (written, simplified) = parts(expr)?;
            found = simplified > PARTS_MAX && simplified > written.saturating_mul(REPEATED_MAX);
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

/// How many parts an expression has, and will have.
fn parts(expr: &Expr) -> Result<(u64, u64)> {
    let (mut written, mut simplified): (u64, u64) = (1, 1);
    let mut operand = 0;
    expr.apply_children(|child| {
        let (child_written, child_simplified) = parts(child)?;
        written = written.saturating_add(child_written);
        simplified = simplified.saturating_add(child_simplified.saturating_mul(repetitions(expr, operand)));
        operand += 1;
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok((written, simplified))
}

/// How often the simplified expression has an operand.
fn repetitions(expr: &Expr, operand: usize) -> u64 {
    match expr {
        Expr::Between(_) if operand == 0 => 2,
        Expr::BinaryExpr(BinaryExpr { op, right, .. })
            if operand == 0 && is_regex(*op) && matches!(right.as_ref(), Expr::Literal(..)) =>
        {
            ALTERNATIVES_MAX
        }
        // Its operands are a condition, its value, and so on: each condition is once more in those that follow.
        Expr::Case(case)
            if operand.is_multiple_of(2) && operand < 2 * case.when_then_expr.len() && may_become_ands(case) =>
        {
            case.when_then_expr.len() as u64 + 1
        }
        _ => 1,
    }
}

fn is_regex(op: Operator) -> bool {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
}

/// Whether its values may be booleans: those of other types are no literals of them.
fn may_become_ands(case: &Case) -> bool {
    let values = || case.when_then_expr.iter().map(|(_, value)| value.as_ref()).chain(case.else_expr.as_deref());
    let is_boolean = |value: &Expr| matches!(value, Expr::Literal(ScalarValue::Boolean(_) | ScalarValue::Null, _));
    case.expr.is_none()
        && values().all(|value| !matches!(value, Expr::Literal(..)) || is_boolean(value))
        && (case.when_then_expr.len() <= CONDITIONS_MAX || values().all(is_boolean))
}

/// A CASE that compares its conditions with true, which means the same.
fn leave_alone(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::Case(case) if may_become_ands(&case) => {
            Transformed::yes(Expr::Case(Case { expr: Some(Box::new(lit(true))), ..case }))
        }
        expr => Transformed::no(expr),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn analyzed(sql: &str) -> Result<String> {
        let plan = SessionContext::new().state().create_logical_plan(sql).await.unwrap();
        LimitRepetition.analyze(plan, &ConfigOptions::default()).map(|plan| plan.display_indent().to_string())
    }

    fn nested(levels: usize, around: &str) -> String {
        let inner = (0..levels).fold("v > 1".to_owned(), |inner, _| around.replace("{}", &inner));
        format!("SELECT {inner} AS w FROM (VALUES (1), (2)) AS t(v)")
    }

    #[tokio::test]
    async fn long_boolean_cases_are_left_alone_and_short_ones_simplified() {
        let case = "CASE WHEN {} THEN v > 2 ELSE v > 3 END";
        assert!(!analyzed(&nested(4, case)).await.unwrap().contains("CASE Boolean(true)"));
        assert!(analyzed(&nested(24, case)).await.unwrap().contains("CASE Boolean(true) WHEN"));
        let flat: String = (0..3_000).map(|value| format!(" WHEN v = {value} THEN false")).collect();
        let sql = format!("SELECT CASE{flat} ELSE true END AS w FROM (VALUES (1), (2)) AS t(v)");
        assert!(analyzed(&sql).await.unwrap().contains("CASE Boolean(true) WHEN"));
        assert!(!analyzed(&sql.replace("false", "1").replace("true", "2")).await.unwrap().contains("CASE Boolean"));
    }

    #[tokio::test]
    async fn what_is_written_once_may_be_long_and_what_doubles_is_refused() {
        let between = "({}) BETWEEN false AND true";
        assert!(analyzed(&nested(5, between)).await.is_ok());
        let refused = analyzed(&nested(24, between)).await.unwrap_err().to_string();
        assert!(refused.contains("BETWEEN"), "{refused}");
        let many: Vec<String> = (0..25_000).map(|value| value.to_string()).collect();
        let many = many.join(", ");
        assert!(analyzed(&format!("SELECT v IN ({many}) FROM (VALUES (1), (2)) AS t(v)")).await.is_ok());
    }
}
