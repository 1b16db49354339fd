//! A query run once for each row of its parameters: the rows of all runs, one run after the other.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Field, Fields, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::parser::Statement as DFStatement;
use futures::{StreamExt, TryStreamExt};
use tracing::Instrument;

use super::Parameters;
use crate::plan::Planned;
use crate::query::QueryContext;
use crate::{Engine, Error, Result, Session, trace};

/// Rows of parameters that one query may be run with: each is planned by itself.
const RUNS_MAX: usize = 1_000;

impl Engine {
    /// Pins, plans, places and executes a query for each row of its parameters, all on the same snapshots.
    pub(crate) async fn run_for_each(
        self: &Arc<Self>,
        statement: DFStatement,
        parameters: &Parameters,
        session: &Session,
        query: &Arc<QueryContext>,
    ) -> Result<SendableRecordBatchStream> {
        let runs = parameters.row_count();
        if runs == 0 || runs > RUNS_MAX {
            let message = format!("a query can be run with 1 to {RUNS_MAX} rows of parameters, and {runs} are bound");
            return Err(Error::Invalid(message));
        }
        let tables = self.pin(&statement, session, query).instrument(trace::pin(query)).await?;
        let rights = tables.rights.clone();
        if runs == 1 {
            let values = parameters.values(0)?;
            let planning = self.plan_with(statement, &values, tables, session);
            let rows = self.execute(planning.instrument(trace::plan(query)).await?, query)?;
            return Ok(self.if_still_allowed(rights, rows));
        }
        let mut plans = Vec::with_capacity(runs);
        for row in 0..runs {
            let values = parameters.values(row)?;
            let planning = self.plan_with(statement.clone(), &values, tables.clone(), session);
            plans.push(planning.instrument(trace::plan(query)).await?);
        }
        let rows = self.execute_in_turn(plans, query)?;
        Ok(self.if_still_allowed(rights, rows))
    }

    fn execute_in_turn(
        self: &Arc<Self>,
        plans: Vec<Planned>,
        query: &Arc<QueryContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schemas: Vec<SchemaRef> = plans.iter().map(|planned| nullable(&planned.physical.schema())).collect();
        let Some(schema) = schemas.first().cloned() else {
            return Err(Error::Internal("a query without runs".to_owned()));
        };
        if schemas.iter().any(|other| *other != schema) {
            let message = "the columns of the query differ from one row of its parameters to another";
            return Err(Error::Invalid(message.to_owned()));
        }
        let (engine, query, columns) = (Arc::clone(self), Arc::clone(query), Arc::clone(&schema));
        let runs = futures::stream::iter(plans).map(move |planned| {
            // The run before has ended, and has said so to all that worked for it.
            query.goes_on();
            engine.execute(planned, &query).map_err(DataFusionError::from)
        });
        let rows = runs.try_flatten().map(move |batch| {
            let batch = batch?;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = Arc::clone(&columns);
            Ok::<_, DataFusionError>(RecordBatch::try_new_with_options(columns, batch.columns().to_vec(), &options)?)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// One value may be NULL where another is not.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| Field::clone(field).with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Fields>()))
}
