//! Columns of floating-point numbers that DataFusion's own morselizer decodes, with one `NaN`.
//!
//! In: expressions over the table's columns. Out: expressions over one file's, as the factory within gives them, in which each column that
//! may hold such numbers is mended where it is read. Of a struct it is the field that is mended, so that only that field is decoded.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::physical_expr::expressions::{CastExpr, Column};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::defaults::MissingColumns;
use crate::functions::Canonical;
use crate::types::{Form, holds_floats};

/// See the module.
#[derive(Debug)]
pub(super) struct CanonicalColumns(pub(super) MissingColumns);

impl PhysicalExprAdapterFactory for CanonicalColumns {
    fn create(&self, logical: SchemaRef, physical: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let inner = self.0.create(logical, Arc::clone(&physical))?;
        Ok(Arc::new(Adapter { inner, physical }))
    }
}

#[derive(Debug)]
struct Adapter {
    inner: Arc<dyn PhysicalExprAdapter>,
    physical: SchemaRef,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let mended = self.inner.rewrite(expr)?.transform_down(|expr| {
            if !is_read(&expr) {
                return Ok(Transformed::no(expr));
            }
            let expr = if holds_floats(&expr.data_type(&self.physical)?) { self.mended(expr)? } else { expr };
            Ok(Transformed::new(expr, true, TreeNodeRecursion::Jump))
        });
        Ok(mended?.data)
    }
}

impl Adapter {
    fn mended(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let (function, options) = (Canonical::function(Form::OneNan), Arc::new(ConfigOptions::default()));
        Ok(Arc::new(ScalarFunctionExpr::try_new(function, vec![expr], &self.physical, options)?))
    }
}

/// Whether an expression is a column, or a field of one.
fn is_read(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let field =
        ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref()).and_then(|call| call.args().first());
    let cast = expr.downcast_ref::<CastExpr>().map(CastExpr::expr);
    expr.is::<Column>() || field.or(cast).is_some_and(is_read)
}
