//! What an expression makes is in the one form that compares as SQL's values do.
//!
//! In: a logical plan after type coercion. Out: the same plan with [`Form::OneNan`] around what may make a `NaN` whose sign or bits a
//! processor chose, and [`Form::NullsBelow`] around what may make a NULL that hides values. Since columns are read in these forms,
//! too, nothing that compares, groups, sorts or prunes has to mind others.
//!
//! ```text
//! Filter: a * b - c >= 1                   Filter: one_nan(a * b - c) >= 1
//!   Aggregate: sum(d / 2) AS s       ─►      Projection: one_nan(s) AS s
//!                                              Aggregate: sum(one_nan(d / 2)) AS s
//! ```
//! Within arithmetic it does not matter which `NaN` it is, so a long expression is looked through once.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, WindowFunctionDefinition};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, Projection};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::Canonical;
use crate::types::{Form, holds_floats};

/// Functions that hand values on as they are, or make no floating-point numbers that the type would not tell of.
const HANDING_ON: &[&str] = &[
    "abs",
    "any_value",
    "array_agg",
    "array_element",
    "coalesce",
    "first_value",
    "get_field",
    "greatest",
    "lag",
    "last_value",
    "lead",
    "least",
    "make_array",
    "map",
    "map_extract",
    "map_values",
    "max",
    "min",
    "mode",
    "named_struct",
    "nth_value",
    "nullif",
    "nulls_below",
    "nvl",
    "nvl2",
    "one_nan",
    "struct",
];

/// Functions that DataFusion plans as a CASE.
const PLANNED_AS_CASE: &[&str] = &["coalesce", "nvl", "nvl2"];

/// The pass.
#[derive(Debug)]
pub(super) struct CanonicalValues;

impl AnalyzerRule for CanonicalValues {
    fn name(&self) -> &str {
        "canonical_values"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let rewritten = map_named(plan, |expr| expr.rewrite(&mut Settle { schema: &schema, around: Vec::new() }))?;
    rewritten.transform_data(settle_aggregates)
}

struct Settle<'s> {
    schema: &'s DFSchema,
    /// Of each expression around: whether it is arithmetic.
    around: Vec<bool>,
}

impl TreeNodeRewriter for Settle<'_> {
    type Node = Expr;

    fn f_down(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        self.around.push(is_arithmetic(&expr));
        Ok(Transformed::no(expr))
    }

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        self.around.pop();
        if let Expr::Literal(value, metadata) = expr {
            let is_concerned = value.data_type().is_nested() || value.data_type().is_floating();
            let value = if is_concerned { literal(value)? } else { value };
            return Ok(Transformed::new_transformed(Expr::Literal(value, metadata), is_concerned));
        }
        let is_within_arithmetic = self.around.last().is_some_and(|arithmetic| *arithmetic);
        let form = if is_within_arithmetic { None } else { form(&expr, self.schema) };
        Ok(match form {
            Some(form) => Transformed::yes(Canonical::call(form, expr)),
            None => Transformed::no(expr),
        })
    }
}

/// A value that a client sent, or that was computed before.
fn literal(value: ScalarValue) -> Result<ScalarValue> {
    Form::NullsBelow.of_scalar(Form::OneNan.of_scalar(value)?)
}

fn is_arithmetic(expr: &Expr) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => matches!(op, Plus | Minus | Multiply | Divide | Modulo),
        other => matches!(other, Expr::Negative(_)),
    }
}

/// What has to be mended of the values that an expression makes.
fn form(expr: &Expr, schema: &DFSchema) -> Option<Form> {
    let data_type = || expr.get_type(schema).ok();
    let may_hide = |data_type: DataType| data_type.is_nested().then_some(Form::NullsBelow);
    match expr {
        Expr::Case(_) => may_hide(data_type()?),
        Expr::ScalarFunction(call) if PLANNED_AS_CASE.contains(&call.name()) => may_hide(data_type()?),
        Expr::ScalarFunction(call) if HANDING_ON.contains(&call.name()) => None,
        Expr::Cast(cast) if holds_floats(cast.field.data_type()) => {
            holds_texts(&cast.expr.get_type(schema).ok()?).then_some(Form::OneNan)
        }
        Expr::TryCast(cast) if holds_floats(cast.field.data_type()) => {
            holds_texts(&cast.expr.get_type(schema).ok()?).then_some(Form::OneNan)
        }
        Expr::ScalarFunction(_) | Expr::HigherOrderFunction(_) => holds_floats(&data_type()?).then_some(Form::OneNan),
        arithmetic if is_arithmetic(arithmetic) => holds_floats(&data_type()?).then_some(Form::OneNan),
        _ => None,
    }
}

/// Whether there may be something in values of a type that is neither a number nor holds any.
fn holds_texts(data_type: &DataType) -> bool {
    !data_type.is_numeric() && !data_type.is_null()
}

/// Puts a projection above aggregates and windows that may make a `NaN`.
fn settle_aggregates(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let made: Vec<bool> = match &plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr.iter().map(makes_values).collect(),
        LogicalPlan::Window(window) => window.window_expr.iter().map(makes_values).collect(),
        _ => return Ok(Transformed::no(plan)),
    };
    let handed_on = plan.schema().fields().len().saturating_sub(made.len());
    let is_settled = |index: usize, data_type: &DataType| {
        let is_made = index.checked_sub(handed_on).and_then(|index| made.get(index)).copied().unwrap_or(false);
        is_made && holds_floats(data_type)
    };
    let fields = || plan.schema().iter().enumerate();
    if !fields().any(|(index, (_, field))| is_settled(index, field.data_type())) {
        return Ok(Transformed::no(plan));
    }
    let columns = fields().map(|(index, (qualifier, field))| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match is_settled(index, field.data_type()) {
            true => Canonical::call(Form::OneNan, column).alias_qualified(qualifier.cloned(), field.name()),
            false => column,
        }
    });
    let columns = columns.collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?)))
}

/// Whether an aggregate or a window function gives values that were not among its arguments.
fn makes_values(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => makes_values(&alias.expr),
        Expr::AggregateFunction(aggregate) => !HANDING_ON.contains(&aggregate.func.name()),
        Expr::WindowFunction(window) => match &window.fun {
            WindowFunctionDefinition::AggregateUDF(function) => !HANDING_ON.contains(&function.name()),
            WindowFunctionDefinition::WindowUDF(function) => !HANDING_ON.contains(&function.name()),
        },
        _ => false,
    }
}
