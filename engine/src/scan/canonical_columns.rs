//! Columns that DataFusion's own morselizer decodes, in the form in which values compare as SQL's do.
//!
//! In: expressions over the table's columns. Out: expressions over one file's, as the factory within gives them, in which
//! * floating-point numbers have one `NaN`;
//! * nothing lies below a NULL, which a decoder leaves there for fields that are NOT NULL.
//!
//! Of a struct it is the field that is mended where that is enough, so that only that field is decoded.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::functions::core::getfield::GetFieldFunc;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use super::defaults::MissingColumns;
use crate::functions::Canonical;
use crate::types::{Form, holds_floats, may_hide};

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
        let mended = self.inner.rewrite(expr)?.transform_down(|expr| match self.read(&expr) {
            Some(read) => Ok(Transformed::new(self.mended(expr, &read)?, true, TreeNodeRecursion::Jump)),
            None => Ok(Transformed::no(expr)),
        });
        Ok(mended?.data)
    }
}

/// What an expression reads of a column.
struct Read {
    is_nullable: bool,
    data_type: DataType,
    /// Whether it has no NULL of its own where something around it is NULL.
    is_hidden: bool,
}

impl Adapter {
    /// What an expression reads, if it is a column, or a field of one.
    fn read(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<Read> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            let field = self.physical.field_with_name(column.name()).ok()?;
            let (is_nullable, data_type) = (field.is_nullable(), field.data_type().clone());
            return Some(Read { is_nullable, data_type, is_hidden: false });
        }
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            return self.read(cast.expr());
        }
        let call = ScalarFunctionExpr::try_downcast_func::<GetFieldFunc>(expr.as_ref())?;
        let (base, names) = call.args().split_first()?;
        let mut read = self.read(base)?;
        for name in names {
            let name = name.downcast_ref::<Literal>().and_then(|name| name.value().try_as_str().flatten());
            let field = match &read.data_type {
                DataType::Struct(fields) => name.and_then(|name| fields.find(name)).map(|(_, field)| Arc::clone(field)),
                _ => None,
            };
            // What is not a field is a key of a map.
            let Some(field) = field else { break };
            read = Read {
                is_nullable: read.is_nullable || field.is_nullable(),
                data_type: field.data_type().clone(),
                is_hidden: read.is_hidden || (read.is_nullable && !field.is_nullable()),
            };
        }
        Some(read)
    }

    fn mended(&self, expr: Arc<dyn PhysicalExpr>, read: &Read) -> Result<Arc<dyn PhysicalExpr>> {
        let expr = match read {
            Read { is_hidden: true, .. } => self.of_mended_column(expr)?,
            Read { is_nullable, data_type, .. } if may_hide(*is_nullable, data_type) => {
                self.call(Form::NullsBelow, expr)?
            }
            _ => expr,
        };
        if holds_floats(&expr.data_type(&self.physical)?) { self.call(Form::OneNan, expr) } else { Ok(expr) }
    }

    /// The same of a column that is mended as a whole.
    fn of_mended_column(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let mended = expr.transform_down(|expr| match expr.is::<Column>() {
            true => Ok(Transformed::new(self.call(Form::NullsBelow, expr)?, true, TreeNodeRecursion::Jump)),
            false => Ok(Transformed::no(expr)),
        });
        Ok(mended?.data)
    }

    fn call(&self, form: Form, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let (function, options) = (Canonical::function(form), Arc::new(ConfigOptions::default()));
        Ok(Arc::new(ScalarFunctionExpr::try_new(function, vec![expr], &self.physical, options)?))
    }
}
