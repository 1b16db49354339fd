//! What a column is in a file that does not have it: its partition's value, its initial default, or null.
//!
//! Source: Iceberg specification, "Column Projection", in its order: identity-partition value, then initial default.
//! (Name mapping comes between the two there; it has been applied to the footer before expressions get here.)

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory, replace_columns_with_literals,
};
use iceberg::spec::{Literal, Schema as IcebergSchema};

use super::literals;
use super::manifest::PartitionConstants;

/// Rewrites expressions over the table's columns into expressions over one file's columns.
#[derive(Debug, Clone)]
pub(crate) struct MissingColumns {
    /// By column name.
    defaults: Arc<HashMap<String, ScalarValue>>,
    /// This file's partition values, by field id.
    constants: Option<Arc<PartitionConstants>>,
}

impl MissingColumns {
    /// The initial defaults of a schema, without partition values.
    pub(crate) fn new(schema: &IcebergSchema) -> Self {
        let fields = schema.as_struct().fields();
        let defaults =
            fields.iter().filter_map(|field| match (&field.initial_default, field.field_type.as_primitive_type()) {
                (Some(Literal::Primitive(value)), Some(primitive)) => {
                    Some((field.name.clone(), literals::scalar(primitive, value)?))
                }
                _ => None,
            });
        Self { defaults: Arc::new(defaults.collect()), constants: None }
    }

    /// The same with a file's partition values, which come first.
    pub(crate) fn with_constants(&self, constants: Option<Arc<PartitionConstants>>) -> Self {
        Self { constants, ..self.clone() }
    }

    /// What to put in place of the columns that `physical` lacks.
    fn replacements(&self, logical: &Schema, physical: &Schema) -> HashMap<String, ScalarValue> {
        let mut replacements = HashMap::new();
        for field in logical.fields().iter().filter(|field| physical.index_of(field.name()).is_err()) {
            if let Some(value) = self.constant(field).or_else(|| self.defaults.get(field.name()).cloned()) {
                replacements.insert(field.name().clone(), value);
            }
        }
        replacements
    }

    fn constant(&self, field: &FieldRef) -> Option<ScalarValue> {
        let id = super::field_id(field)?;
        let constants = self.constants.as_ref()?;
        let (_, value) = constants.iter().find(|(constant, _)| *constant == id)?;
        value.cast_to(field.data_type()).ok()
    }
}

impl PhysicalExprAdapterFactory for MissingColumns {
    fn create(
        &self,
        logical: SchemaRef,
        physical: SchemaRef,
    ) -> datafusion::common::Result<Arc<dyn PhysicalExprAdapter>> {
        let replacements = self.replacements(&logical, &physical);
        let aligned = Arc::new(align(&logical, &physical));
        let inner = DefaultPhysicalExprAdapterFactory.create(logical, aligned)?;
        Ok(Arc::new(Adapter { replacements, inner }))
    }
}

/// A file's field that differs from the table's only in nullability or metadata is the table's field: no cast is needed,
/// and statistics stay usable.
fn align(logical: &Schema, physical: &Schema) -> Schema {
    let fields = physical.fields().iter().map(|field| match logical.field_with_name(field.name()) {
        Ok(wanted) if wanted.data_type() == field.data_type() => Arc::new(wanted.clone()),
        _ => Arc::clone(field),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// One file's rewriter.
#[derive(Debug)]
struct Adapter {
    replacements: HashMap<String, ScalarValue>,
    inner: Arc<dyn PhysicalExprAdapter>,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> datafusion::common::Result<Arc<dyn PhysicalExpr>> {
        let expr =
            if self.replacements.is_empty() { expr } else { replace_columns_with_literals(expr, &self.replacements)? };
        self.inner.rewrite(expr)
    }
}
