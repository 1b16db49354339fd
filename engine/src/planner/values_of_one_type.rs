//! Columns of VALUES have the type in which all of their values are what they are.
//!
//! In: a logical plan, where DataFusion has made `(1e-20), (0.5)` a column of decimal(30, 15), in which the first is zero, and a date and a
//! timestamp one of nanoseconds, which end in 2262. Out: the same plan with floating-point numbers, and with timestamps of the given
//! precision, and with the schemas that follow from that; also within lists, structs and maps.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Fields};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Values, cast};
use datafusion::optimizer::analyzer::AnalyzerRule;

use super::wider_nested::mended;
use super::wider_type_wins::widen_within;

/// The pass.
#[derive(Debug)]
pub(super) struct ValuesOfOneType;

impl AnalyzerRule for ValuesOfOneType {
    fn name(&self) -> &str {
        "values_of_one_type"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mut any_changed = false;
        let analyzed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Values(values) => {
                let widened = widened(values)?;
                any_changed |= widened.transformed;
                Ok(widened.update_data(LogicalPlan::Values))
            }
            // What is above them has their types.
            other if any_changed => Ok(Transformed::yes(other.recompute_schema()?)),
            other => Ok(Transformed::no(other)),
        });
        Ok(analyzed?.data)
    }
}

fn widened(values: Values) -> Result<Transformed<Values>> {
    let empty = DFSchema::empty();
    let winner_of = |(place, column): (usize, &DataType)| {
        if !column.is_decimal() && !matches!(column, DataType::Timestamp(..)) && !column.is_nested() {
            return None;
        }
        let types: Vec<DataType> = values
            .values
            .iter()
            .filter_map(|row| {
                let value = meant(row.get(place)?, column);
                // What is within a list has not met its likes yet.
                let data_type = match column.is_nested() {
                    true => widen_within(value.clone(), &empty).ok()?.data.get_type(&empty),
                    false => value.get_type(&empty),
                };
                data_type.ok().filter(|ty| !ty.is_null())
            })
            .collect();
        mended(column, &types.iter().collect::<Vec<_>>())
    };
    let types = values.schema.fields().iter().map(|field| field.data_type());
    let winners: Vec<Option<DataType>> = types.enumerate().map(winner_of).collect();
    if winners.iter().all(Option::is_none) {
        return Ok(Transformed::no(values));
    }
    let Values { schema, values: mut rows } = values;
    for row in &mut rows {
        for ((value, winner), field) in row.iter_mut().zip(&winners).zip(schema.fields()) {
            if let Some(winner) = winner {
                *value = cast(meant(value, field.data_type()).clone(), winner.clone());
            }
        }
    }
    let fields = schema.fields().iter().zip(winners).map(|(field, winner)| {
        let field = field.as_ref().clone();
        Arc::new(match winner {
            Some(winner) => field.with_data_type(winner),
            None => field,
        })
    });
    let schema = DFSchema::from_unqualified_fields(Fields::from_iter(fields), HashMap::new())?;
    Ok(Transformed::yes(Values { schema: Arc::new(schema), values: rows }))
}

/// The value as it was before it was cast to its column's type.
fn meant<'a>(value: &'a Expr, column: &DataType) -> &'a Expr {
    match value {
        Expr::Cast(Cast { expr, field }) if field.data_type() == column => expr,
        other => other,
    }
}
