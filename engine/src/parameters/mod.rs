//! The values of a statement's parameters: from a client's rows to literals in a plan.
//!
//! ```text
//! describe: statement ─► types of its parameters       bind: client's rows ─► rows of these types (Parameters)
//! run:      statement + one row ─► plan with typed variables ─► plan with literals ─► as any other statement
//! ```
//! A bound statement is planned for its values, as if they had been written into it: the planner knows their types,
//! and pruning sees literals. Values that do not fit are refused here, with the parameter's number; nothing wraps around.

mod declared;
mod fit;
mod place;
mod runs;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;

pub(crate) use declared::{Declared, infer};
pub(crate) use place::{as_columns, as_variables, bind_variables, name_items, ordinal_of, provider};

use self::place::name_of;
use crate::memory::Reserved;
use crate::options::zone_of_session;
use crate::{Error, Result, Session};

/// Values for a statement's parameters: one row for each time that it runs.
#[derive(Clone)]
pub struct Parameters {
    /// None if nothing is bound: the statement runs once, without values.
    rows: Option<RecordBatch>,
    bytes: usize,
    /// The memory that they have, for as long as somebody keeps them.
    _held: Option<Arc<Reserved>>,
}

impl Parameters {
    /// Nothing is bound.
    pub fn none() -> Self {
        Self { rows: None, bytes: 0, _held: None }
    }

    /// A client's rows, in the types that the statement's parameters have where these are known.
    ///
    /// A number for a decimal or floating parameter that does not fit its type stays the number that it is, so that it is
    /// compared exactly, and stored as INSERT stores it.
    ///
    /// # Errors
    /// If there is not one column for each parameter, or a value does not fit its parameter; the parameter is named.
    pub fn bind(declared: &Schema, rows: &RecordBatch, session: &Session) -> Result<Self> {
        let zone = zone_of_session(session);
        check_count(declared.fields().len(), rows.num_columns())?;
        if rows.num_columns() == 0 {
            return Ok(Self::none());
        }
        let mut fields = Vec::with_capacity(rows.num_columns());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(rows.num_columns());
        for (index, (values, field)) in rows.columns().iter().zip(declared.fields()).enumerate() {
            let values = fit::fit(values, field.data_type(), index + 1, zone)?;
            fields.push(Field::new(name_of(index + 1), values.data_type().clone(), true));
            columns.push(values);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        // A message's columns share its buffer, which each of them would count.
        let bytes = rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum();
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        Ok(Self { rows: Some(rows), bytes, _held: None })
    }

    /// The same values, with the memory that was reserved for them.
    #[must_use]
    pub fn holding(self, held: Reserved) -> Self {
        Self { _held: Some(Arc::new(held)), ..self }
    }

    /// How often the statement runs.
    pub fn row_count(&self) -> usize {
        self.rows.as_ref().map_or(1, RecordBatch::num_rows)
    }

    /// Whether there are values.
    pub fn is_bound(&self) -> bool {
        self.rows.is_some()
    }

    /// How much the values are, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The values as a table, whose columns are named as the parameters are.
    pub(crate) fn batch(&self) -> Option<&RecordBatch> {
        self.rows.as_ref()
    }

    /// The values of one run.
    pub(crate) fn values(&self, row: usize) -> Result<Vec<ScalarValue>> {
        let Some(rows) = &self.rows else { return Ok(Vec::new()) };
        rows.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, row)?)).collect()
    }

    /// Refuses to run a statement with more or fewer values than it takes.
    pub(crate) fn check(&self, expected: usize) -> Result<()> {
        check_count(expected, self.rows.as_ref().map_or(0, RecordBatch::num_columns))
    }
}

/// The values stay out: they may be secrets.
impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parameters").field("is_bound", &self.is_bound()).field("rows", &self.row_count()).finish()
    }
}

fn check_count(expected: usize, given: usize) -> Result<()> {
    if expected == given { Ok(()) } else { Err(Error::ParameterCount { expected, given }) }
}

/// The parameters of a statement as a schema, in order. One whose type is not known has the type Null.
pub(crate) fn schema(declared: Declared) -> SchemaRef {
    let types = declared.into_iter().enumerate();
    let fields = types.map(|(index, ty)| Field::new(name_of(index + 1), ty.unwrap_or(DataType::Null), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
