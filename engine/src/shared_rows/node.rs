//! The place in a logical plan where rows are that others read as well.
//!
//! Nothing is pushed through it, so that all places have the same plan below and the same columns.

use std::cmp::Ordering;
use std::fmt::{self, Formatter};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, Result, internal_err};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::made::MadeRows;
use super::operator::SHARED_ROWS;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct SharedRowsNode {
    input: LogicalPlan,
    rows: Arc<MadeRows>,
}

impl SharedRowsNode {
    pub(super) fn new(input: LogicalPlan, rows: Arc<MadeRows>) -> Self {
        Self { input, rows }
    }

    pub(super) fn rows(&self) -> &Arc<MadeRows> {
        &self.rows
    }
}

impl PartialEq for SharedRowsNode {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rows, &other.rows) && self.input == other.input
    }
}

impl Eq for SharedRowsNode {}

impl PartialOrd for SharedRowsNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for SharedRowsNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.input.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for SharedRowsNode {
    fn name(&self) -> &str {
        SHARED_ROWS
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str("SharedRows: made once")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Ok(Self { input, rows: Arc::clone(&self.rows) }),
            Err(inputs) => internal_err!("{SHARED_ROWS} of {} inputs", inputs.len()),
        }
    }
}
