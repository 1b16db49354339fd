//! `information_schema`: what schemas, tables and columns a catalog has, asked of the catalog when it is read.
//!
//! Filters like `table_schema = 'x'` limit what is asked. Source: SQL:2023 part 11, the columns that clients use.

mod rows;

pub(crate) use rows::all_namespaces;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use polynya_catalog::Catalog;

use crate::access::Access;
use crate::names::{TableName, did_you_mean};
use crate::{Engine, Error, Result};

/// The schema's name.
pub(crate) const INFORMATION_SCHEMA: &str = "information_schema";

/// One view of `information_schema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    Schemata,
    Tables,
    Views,
    Columns,
}

const VIEWS: [(&str, View); 4] =
    [("schemata", View::Schemata), ("tables", View::Tables), ("views", View::Views), ("columns", View::Columns)];

/// The view that `name` names, of what the caller sees.
pub(crate) fn table(engine: &Arc<Engine>, name: &TableName, access: &Arc<Access>) -> Result<Arc<dyn TableProvider>> {
    let catalog = engine.catalog(&name.catalog, access)?;
    let Some((_, view)) = VIEWS.iter().find(|(view, _)| view.eq_ignore_ascii_case(&name.table)) else {
        let hint = did_you_mean(&name.table, VIEWS.iter().map(|(view, _)| (*view).to_owned()));
        return Err(Error::NotFound { kind: "table", name: name.to_string(), hint });
    };
    Ok(Arc::new(InformationSchemaView { catalog, view: *view, schema: schema(*view) }))
}

fn schema(view: View) -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let int = |name: &str| Field::new(name, DataType::Int32, true);
    let fields = match view {
        View::Schemata => vec![text("catalog_name", false), text("schema_name", false), text("schema_owner", true)],
        View::Tables => vec![
            text("table_catalog", false),
            text("table_schema", false),
            text("table_name", false),
            text("table_type", false),
        ],
        View::Views => vec![
            text("table_catalog", false),
            text("table_schema", false),
            text("table_name", false),
            text("view_definition", true),
        ],
        View::Columns => vec![
            text("table_catalog", false),
            text("table_schema", false),
            text("table_name", false),
            text("column_name", false),
            int("ordinal_position"),
            text("column_default", true),
            text("is_nullable", false),
            text("data_type", false),
            int("numeric_precision"),
            int("numeric_scale"),
            int("datetime_precision"),
            text("column_comment", true),
        ],
    };
    Arc::new(Schema::new(fields))
}

#[derive(Debug)]
struct InformationSchemaView {
    catalog: Arc<dyn Catalog>,
    view: View,
    schema: SchemaRef,
}

/// Equalities in the filters that limit what the catalog is asked.
#[derive(Debug, Default)]
struct Wanted {
    schema: Option<String>,
    table: Option<String>,
}

impl Wanted {
    fn of(filters: &[Expr]) -> Self {
        Self { schema: equality(filters, "table_schema"), table: equality(filters, "table_name") }
    }
}

/// The text that a filter says a column equals.
fn equality(filters: &[Expr], column: &str) -> Option<String> {
    filters.iter().find_map(|filter| {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else { return None };
        match (left.as_ref(), right.as_ref()) {
            (Expr::Column(name), Expr::Literal(value, _)) | (Expr::Literal(value, _), Expr::Column(name))
                if name.name() == column =>
            {
                text(value)
            }
            _ => None,
        }
    })
}

fn text(value: &ScalarValue) -> Option<String> {
    value.try_as_str().flatten().map(str::to_owned)
}

#[async_trait]
impl TableProvider for InformationSchemaView {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let wanted = Wanted::of(filters);
        let batch = match self.view {
            View::Schemata => rows::schemata(self.catalog.as_ref(), &self.schema).await?,
            View::Tables => rows::tables(self.catalog.as_ref(), &self.schema, &wanted).await?,
            View::Views => datafusion::arrow::array::RecordBatch::new_empty(Arc::clone(&self.schema)),
            View::Columns => rows::columns(self.catalog.as_ref(), &self.schema, &wanted).await?,
        };
        let source = MemorySourceConfig::try_new_exec(&[vec![batch]], Arc::clone(&self.schema), projection.cloned())?;
        Ok(source)
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
