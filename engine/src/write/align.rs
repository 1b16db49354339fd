//! Lays the columns of a source out as a table's columns: by position or by name, with defaults for those left out.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::Ident;
use iceberg::spec::NestedField;

use super::coerce::{Target, coerce};
use super::literal::repeated;
use super::plan::WritePlan;
use crate::functions::Zone;
use crate::names::did_you_mean;
use crate::{Error, Result};

/// Where each column of the table comes from.
pub(super) struct Alignment {
    plan: Arc<WritePlan>,
    /// By the table's column: the source's column, or none for the default.
    origins: Vec<Option<usize>>,
    /// Of the session: what local times and texts are of.
    zone: Zone,
}

impl Alignment {
    /// The source's columns are the named columns, in that order; all of the table's if none is named.
    ///
    /// # Errors
    /// If a name is no column or there twice, if the numbers differ, or if a column that needs a value gets none.
    pub(super) fn by_position(plan: &Arc<WritePlan>, columns: &[Ident], source: &Schema) -> Result<Self> {
        let fields = plan.schema.as_struct().fields();
        let targets = targets(plan, columns)?;
        if targets.len() != source.fields().len() {
            return Err(Error::Invalid(format!(
                "INSERT into table {} names {} columns, and the query gives {}",
                plan.table,
                targets.len(),
                source.fields().len()
            )));
        }
        let mut origins = vec![None; fields.len()];
        for (position, target) in targets.into_iter().enumerate() {
            origins[target] = Some(position);
        }
        Self::checked(plan, origins)
    }

    /// Every column of the source is a column of the table by its name.
    ///
    /// # Errors
    /// If the source has a column that the table has not, or twice, or if a column that needs a value gets none.
    pub(super) fn by_name(plan: &Arc<WritePlan>, source: &Schema) -> Result<Self> {
        let mut origins = vec![None; plan.schema.as_struct().fields().len()];
        for (position, field) in source.fields().iter().enumerate() {
            let target = find(plan, field.name(), false)?;
            if origins[target].replace(position).is_some() {
                return Err(Error::Invalid(format!(
                    "the rows for table {} have column {} twice",
                    plan.table,
                    field.name()
                )));
            }
        }
        Self::checked(plan, origins)
    }

    fn checked(plan: &Arc<WritePlan>, origins: Vec<Option<usize>>) -> Result<Self> {
        for (field, origin) in plan.schema.as_struct().fields().iter().zip(&origins) {
            if origin.is_none() && field.required && field.write_default.is_none() {
                return Err(Error::Data(format!(
                    "column {} of table {} is NOT NULL and has no default: give it a value",
                    field.name, plan.table
                )));
            }
        }
        Ok(Self { plan: Arc::clone(plan), origins, zone: Zone::UTC })
    }

    /// The same, for local times of that zone.
    #[must_use]
    pub(super) fn in_zone(self, zone: Zone) -> Self {
        Self { zone, ..self }
    }

    /// A batch of the source as a batch of the table.
    pub(super) fn align(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let schema = &self.plan.arrow_schema;
        let mut columns = Vec::with_capacity(self.origins.len());
        let fields = self.plan.schema.as_struct().fields().iter().zip(schema.fields());
        for ((field, arrow), origin) in fields.zip(&self.origins) {
            columns.push(match origin {
                Some(position) => coerce(
                    batch.column(*position),
                    Target {
                        table: &self.plan.table,
                        path: &field.name,
                        field,
                        data_type: arrow.data_type(),
                        zone: self.zone,
                    },
                )?,
                None => repeated(field.write_default.as_ref(), arrow.data_type(), batch.num_rows(), &field.name)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }
}

/// The positions of the named columns, or of all.
fn targets(plan: &WritePlan, columns: &[Ident]) -> Result<Vec<usize>> {
    if columns.is_empty() {
        return Ok((0..plan.schema.as_struct().fields().len()).collect());
    }
    let mut targets: Vec<usize> = Vec::with_capacity(columns.len());
    for column in columns {
        let target = find(plan, &column.value, column.quote_style.is_some())?;
        if targets.contains(&target) {
            return Err(Error::Invalid(format!("INSERT into table {} names column {column} twice", plan.table)));
        }
        targets.push(target);
    }
    Ok(targets)
}

/// The fields that INSERT's columns name, in their order.
pub(super) fn target_fields<'a>(plan: &'a WritePlan, columns: &[Ident]) -> Result<Vec<&'a NestedField>> {
    let fields = plan.schema.as_struct().fields();
    Ok(targets(plan, columns)?.into_iter().map(|position| fields[position].as_ref()).collect())
}

/// The column of that name or, unless it is quoted, the one that differs only in case.
fn find(plan: &WritePlan, name: &str, quoted: bool) -> Result<usize> {
    let fields = plan.schema.as_struct().fields();
    if let Some(exact) = fields.iter().position(|field| field.name == name) {
        return Ok(exact);
    }
    let mut alike = fields.iter().enumerate().filter(|(_, field)| field.name.eq_ignore_ascii_case(name));
    match (alike.next(), alike.next()) {
        (Some((position, _)), None) if !quoted => Ok(position),
        _ => Err(Error::NotFound {
            kind: "column",
            name: format!("{name} of table {}", plan.table),
            hint: did_you_mean(name, fields.iter().map(|field| field.name.clone())),
        }),
    }
}
