//! `EXTRACT(… FROM …)` and `SUBSTRING(… FROM …)` call our functions: DataFusion's planners call its own, whatever is registered by their
//! names. DataFusion 55.2.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult};
use datafusion::logical_expr::{Expr, ScalarUDF};

use crate::functions::{DatePart, substring};

/// The pass, to be asked before DataFusion's planners.
#[derive(Debug)]
pub(super) struct OwnForms;

impl ExprPlanner for OwnForms {
    fn plan_extract(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let function = Arc::new(ScalarUDF::new_from_impl(DatePart::default()));
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
    }

    fn plan_substring(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(substring(), args))))
    }
}
