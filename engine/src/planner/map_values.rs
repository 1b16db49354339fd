//! `m[k]` of a map, whatever types its keys are kept in, and whatever `k` is.
//!
//! In: a subscript, while SQL becomes a plan. Out: `map_extract(m, k)[1]` if it is one of a map, which is NULL where there is no such key.
//! DataFusion 55.2 takes it for the field of a struct: then `k` has to be a constant, and to have the very Arrow type of the keys.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::functions_nested::expr_fn::{array_element, map_extract};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};

/// The pass, to be asked before DataFusion's planners.
#[derive(Debug)]
pub(crate) struct MapValues;

impl ExprPlanner for MapValues {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if !access.expr.get_type(schema).is_ok_and(|ty| matches!(ty, DataType::Map(..))) {
            return Ok(PlannerResult::Original(access));
        }
        let RawFieldAccessExpr { field_access, expr } = access;
        let key = match field_access {
            GetFieldAccess::NamedStructField { name } => lit(name),
            GetFieldAccess::ListIndex { key } => *key,
            field_access @ GetFieldAccess::ListRange { .. } => {
                return Ok(PlannerResult::Original(RawFieldAccessExpr { field_access, expr }));
            }
        };
        let shown = match &key {
            Expr::Literal(value, _) => value.to_string(),
            key => key.schema_name().to_string(),
        };
        let name = format!("{}[{shown}]", expr.schema_name());
        Ok(PlannerResult::Planned(array_element(map_extract(expr, key), lit(1_i64)).alias(name)))
    }
}
