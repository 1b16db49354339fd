//! Floating-point numbers become decimals by the digits that they are written with.
//!
//! ```text
//! CAST(d AS decimal(10, 2))   ─►  decimal_of_float(d, NULL of decimal(10, 2), false)
//! ```
//! In: a logical plan after type coercion, where every conversion is a cast. Out: the same plan, of the same types, with
//! [`DecimalOfFloat`] for the casts that Arrow computes by multiplication.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::map_named;
use crate::functions::DecimalOfFloat;
use crate::types::becomes_decimal;

/// The pass.
#[derive(Debug)]
pub(super) struct DecimalsOfFloats;

impl AnalyzerRule for DecimalsOfFloats {
    fn name(&self) -> &str {
        "decimals_of_floats"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite_plan)?.data)
    }
}

fn rewrite_plan(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    map_named(plan, |expr| expr.transform_up(|expr| rewrite_expr(expr, &schema)))
}

fn rewrite_expr(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr, field }) => match is_concerned(&expr, field.data_type(), schema) {
            true => Ok(Transformed::yes(DecimalOfFloat::call(*expr, field.data_type(), false)?)),
            false => Ok(Transformed::no(Expr::Cast(Cast { expr, field }))),
        },
        Expr::TryCast(TryCast { expr, field }) => match is_concerned(&expr, field.data_type(), schema) {
            true => Ok(Transformed::yes(DecimalOfFloat::call(*expr, field.data_type(), true)?)),
            false => Ok(Transformed::no(Expr::TryCast(TryCast { expr, field }))),
        },
        Expr::ScalarFunction(call) if ["arrow_cast", "arrow_try_cast"].contains(&call.name()) => {
            arrow_cast(call, schema)
        }
        other => Ok(Transformed::no(other)),
    }
}

fn arrow_cast(mut call: ScalarFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let tries = call.name() == "arrow_try_cast";
    let to = Expr::ScalarFunction(call.clone()).get_type(schema);
    let is_ours = |to: &DataType| call.args.first().is_some_and(|number| is_concerned(number, to, schema));
    match to {
        Ok(to) if is_ours(&to) => Ok(Transformed::yes(DecimalOfFloat::call(call.args.remove(0), &to, tries)?)),
        _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
    }
}

fn is_concerned(value: &Expr, to: &DataType, schema: &DFSchema) -> bool {
    let is_decimal = to.is_decimal() || matches!(to, DataType::List(_));
    is_decimal && value.get_type(schema).is_ok_and(|from| becomes_decimal(&from, to))
}
