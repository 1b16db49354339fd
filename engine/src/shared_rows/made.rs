//! Rows that are made once, by whoever asks first, and held for all.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use futures::TryStreamExt;
use futures::future::{BoxFuture, FutureExt, Shared};
use parking_lot::Mutex;
use tokio_util::task::AbortOnDropHandle;

use crate::panics;

/// What the memory is reserved for.
const CONSUMER: &str = "rows of a CTE that is named more than once";

/// Batches, and the memory that they have.
pub(super) struct Held {
    pub(super) batches: Vec<RecordBatch>,
    _memory: MemoryReservation,
}

type Making = Shared<BoxFuture<'static, Result<Arc<Held>, Arc<DataFusionError>>>>;

/// See the module.
#[derive(Default)]
pub(super) struct MadeRows(Mutex<Option<Making>>);

impl Debug for MadeRows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("MadeRows")
    }
}

impl MadeRows {
    /// The rows, which a task of its own takes from `begin` unless that was done. What failed is tried again by whoever asks next.
    ///
    /// # Errors
    /// Those of the query that makes them, or if there is no memory for them.
    pub(super) async fn get(
        &self,
        context: &Arc<TaskContext>,
        begin: impl FnOnce() -> Result<SendableRecordBatchStream>,
    ) -> Result<Arc<Held>> {
        let making = {
            let mut making = self.0.lock();
            let usable = making.as_ref().filter(|making| !matches!(making.peek(), Some(Err(_)))).cloned();
            match usable {
                Some(usable) => usable,
                None => {
                    let memory = MemoryConsumer::new(CONSUMER).register(context.memory_pool());
                    let begun = make(begin()?, memory).boxed().shared();
                    making.insert(begun).clone()
                }
            }
        };
        making.await.map_err(DataFusionError::Shared)
    }
}

async fn make(rows: SendableRecordBatchStream, memory: MemoryReservation) -> Result<Arc<Held>, Arc<DataFusionError>> {
    // On the threads that compute: this is a part of the query.
    let collected = AbortOnDropHandle::new(tokio::spawn(async move {
        let kept = rows.try_fold((Vec::new(), memory), |(mut batches, memory), batch| async move {
            memory.try_grow(batch.get_array_memory_size())?;
            batches.push(batch);
            Ok((batches, memory))
        });
        kept.await.map(|(batches, memory)| Arc::new(Held { batches, _memory: memory }))
    }));
    match collected.await {
        Ok(held) => held.map_err(Arc::new),
        Err(error) => Err(Arc::new(panics::ended("a query", error).into())),
    }
}
