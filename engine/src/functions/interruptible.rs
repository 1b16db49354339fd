//! Conditions of joins that a query can be stopped in.
//!
//! A join compares all pairs of two batches and goes on to the next ones until it has rows to give: with a condition that
//! nothing meets, for hours within one poll, in which its thread does nothing else and the query cannot be cancelled. So
//! each evaluation of the condition looks whether the query was stopped, and from time to time lets another thread take
//! over what waits for this one.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::ScalarFunctionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::Error;

/// How long what waits for this thread may have to wait.
const TURN: Duration = Duration::from_millis(100);
/// Long enough for another thread to take over.
const HANDOVER: Duration = Duration::from_micros(100);

/// The plan with joins that stop soon after `stopped` is set, and leave room for other queries.
pub(crate) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    stopped: &Arc<AtomicBool>,
    options: &Arc<ConfigOptions>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let guard = |filter: &JoinFilter| -> Result<JoinFilter> {
        let function = interruptible_function(Arc::clone(stopped));
        let condition = vec![Arc::clone(filter.expression())];
        let condition = ScalarFunctionExpr::try_new(function, condition, filter.schema(), Arc::clone(options))?;
        Ok(JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema())))
    };
    let guarded = plan.transform_up(|plan| {
        let join: Arc<dyn ExecutionPlan> = if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            match join.filter() {
                Some(filter) => join.builder().with_filter(Some(guard(filter)?)).build_exec()?,
                None => plan,
            }
        } else if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let filter = join.filter().map(guard).transpose()?;
            Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?)
        } else if let Some(join) = plan.downcast_ref::<SortMergeJoinExec>() {
            let mut join = join.clone();
            join.filter = join.filter.as_ref().map(guard).transpose()?;
            Arc::new(join)
        } else if plan.is::<CrossJoinExec>() {
            plan
        } else {
            return Ok(Transformed::no(plan));
        };
        // One batch of input can make thousands of output, and whoever takes them need not look up in between.
        Ok(Transformed::yes(Arc::new(CooperativeExec::new(join)) as Arc<dyn ExecutionPlan>))
    })?;
    Ok(guarded.data)
}

/// The function that such conditions call, for a process where they arrive by its name.
pub(crate) fn interruptible_function(stopped: Arc<AtomicBool>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Interruptible::new(stopped)))
}

/// Gives a condition's value, unless the query was stopped.
#[derive(Debug)]
struct Interruptible {
    stopped: Arc<AtomicBool>,
    signature: Signature,
}

impl Interruptible {
    fn new(stopped: Arc<AtomicBool>) -> Self {
        Self { stopped, signature: Signature::any(1, Volatility::Volatile) }
    }
}

impl PartialEq for Interruptible {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.stopped, &other.stopped)
    }
}

impl Eq for Interruptible {}

impl Hash for Interruptible {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.stopped).hash(state);
    }
}

impl ScalarUDFImpl for Interruptible {
    fn name(&self) -> &str {
        "interruptible"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [condition] => Ok(condition.clone()),
            _ => internal_err!("a join has one condition"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [condition] => {
                Ok(Arc::new(Field::new(self.name(), condition.data_type().clone(), condition.is_nullable())))
            }
            _ => internal_err!("a join has one condition"),
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if self.stopped.load(Relaxed) {
            return Err(Error::Cancelled.into());
        }
        make_way();
        match args.args.pop() {
            Some(condition) => Ok(condition),
            None => internal_err!("a join has one condition"),
        }
    }
}

/// Lets another thread run the tasks of this one, if that was not done for a while.
fn make_way() {
    thread_local!(static LAST: Cell<Option<Instant>> = const { Cell::new(None) });
    let last = LAST.get().unwrap_or_else(|| {
        let now = Instant::now();
        LAST.set(Some(now));
        now
    });
    let many_threads =
        || Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if last.elapsed() >= TURN && many_threads() {
        tokio::task::block_in_place(|| std::thread::sleep(HANDOVER));
        LAST.set(Some(Instant::now()));
    }
}
