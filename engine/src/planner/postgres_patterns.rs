//! Regular expressions mean what they mean in PostgreSQL: `.` is any character, a line's end too, and `$` in a replacement is itself.
//!
//! ```text
//! v ~ 'a.*b'                     ─►  v ~ '(?s)a.*b'
//! regexp_replace(v, 'a', '$1')   ─►  regexp_replace(v, 'a', regexp_replacement('$1'))
//! substring(v FROM 'a(.*)b')     ─►  substring_from(v, '(?s)a(.*)b')
//! ```
//! In: a logical plan before type coercion. Out: the same plan. It also keeps `NULL ~ '.*'` from becoming false: DataFusion knows that
//! one pattern, and not the other.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, ScalarUDF, binary_expr, cast, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::Replacement;

/// `.` matches line ends.
const DOT_IS_ALL: &str = "(?s)";

/// The pass.
#[derive(Debug)]
pub(super) struct PostgresPatterns;

impl AnalyzerRule for PostgresPatterns {
    fn name(&self) -> &str {
        "postgres_patterns"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    map_named(plan, |expr| {
        expr.transform_up(|expr| match expr {
            Expr::ScalarFunction(mut call) if is_of_pattern(&call, &schema) => {
                if let Some(pattern) = call.args.get_mut(1) {
                    *pattern = dot_is_all(std::mem::take(pattern));
                }
                Ok(Transformed::yes(Expr::ScalarFunction(call)))
            }
            other => Ok(rewrite_expr(other)),
        })
    })
}

/// Whether it is `substring(text FROM pattern)`, and not one of a position.
fn is_of_pattern(call: &ScalarFunction, schema: &DFSchema) -> bool {
    call.name() == "substring_from"
        && matches!(call.args.as_slice(), [_, pattern] if pattern.get_type(schema).is_ok_and(|ty| ty.is_string()))
}

fn rewrite_expr(expr: Expr) -> Transformed<Expr> {
    use Operator::{RegexIMatch, RegexMatch, RegexNotIMatch, RegexNotMatch};
    match expr {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch),
            right,
        }) => Transformed::yes(binary_expr(*left, op, dot_is_all(*right))),
        Expr::ScalarFunction(ScalarFunction { func, mut args }) => {
            // Where the flags are among the arguments.
            let flags = match func.name() {
                "regexp_like" | "regexp_match" => 2,
                "regexp_replace" | "regexp_count" => 3,
                "regexp_instr" => 4,
                _ => return Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })),
            };
            if args.len() > 1 && !sees_lines(args.get(flags)) {
                args[1] = dot_is_all(std::mem::take(&mut args[1]));
            }
            if func.name() == "regexp_replace" && args.len() > 2 {
                let text = cast(std::mem::take(&mut args[2]), DataType::Utf8);
                let translate = ScalarUDF::new_from_impl(Replacement::default());
                args[2] = translate.call(vec![text]);
            }
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
        }
        other => Transformed::no(other),
    }
}

/// Whether flags say that a pattern ends with a line, or may say so.
fn sees_lines(flags: Option<&Expr>) -> bool {
    match flags {
        None => false,
        Some(Expr::Literal(flags, _)) => flags.try_as_str().flatten().is_some_and(|flags| flags.contains(['m', 'n'])),
        Some(_) => true,
    }
}

fn dot_is_all(pattern: Expr) -> Expr {
    match pattern {
        Expr::Literal(value, metadata) => {
            let value = match value {
                ScalarValue::Utf8(Some(text)) => ScalarValue::Utf8(Some(with_flag(text))),
                ScalarValue::LargeUtf8(Some(text)) => ScalarValue::LargeUtf8(Some(with_flag(text))),
                ScalarValue::Utf8View(Some(text)) => ScalarValue::Utf8View(Some(with_flag(text))),
                other => other,
            };
            Expr::Literal(value, metadata)
        }
        computed => binary_expr(lit(DOT_IS_ALL), Operator::StringConcat, computed),
    }
}

/// Behind the `^` that it begins with, by which DataFusion knows patterns that it has a shorter way for.
fn with_flag(pattern: String) -> String {
    match pattern.strip_prefix('^') {
        _ if !pattern.contains('.') => pattern,
        Some(rest) if !pattern.contains('|') => format!("^{DOT_IS_ALL}{rest}"),
        _ => format!("{DOT_IS_ALL}{pattern}"),
    }
}
