//! Writes batches into data files: one open file for each partition, in bounded memory.
//!
//! In: batches in the write schema, in any order. Out: the data files, all of them in the store. Files that are
//! large enough are closed and sent in the background. When memory runs short, the largest file ends its row group;
//! when too many files are open, the largest is closed. A writer that is dropped leaves files, which its statement deletes
//! (`change`).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use iceberg::spec::{DataFile, Struct};
use tokio::task::JoinSet;

use super::file::DataFileWriter;
use super::plan::WritePlan;
use crate::change::Unfinished;
use crate::{Result, panics};

/// Files open at once, one for each partition.
const OPEN_FILES: usize = 100;
/// Files being finished and sent at once.
const FINISHING_FILES: usize = 8;
/// Memory that one file has in any case, and that is not worth a row group of its own.
const LEAST_RELIEF_BYTES: usize = 1 << 20;

/// Writes the data files of one statement.
pub(super) struct TableWriter {
    plan: Arc<WritePlan>,
    open: HashMap<Struct, DataFileWriter>,
    finishing: JoinSet<Result<DataFile>>,
    finished: Vec<DataFile>,
    unfinished: Unfinished,
    memory: MemoryReservation,
    rows: u64,
}

impl TableWriter {
    pub(super) fn new(plan: WritePlan, pool: &Arc<dyn MemoryPool>, unfinished: &Unfinished) -> Self {
        let consumer = MemoryConsumer::new(format!("writing table {}", plan.table)).with_can_spill(true);
        Self {
            unfinished: unfinished.clone(),
            plan: Arc::new(plan),
            open: HashMap::new(),
            finishing: JoinSet::new(),
            finished: Vec::new(),
            memory: consumer.register(pool),
            rows: 0,
        }
    }

    pub(super) fn plan(&self) -> &Arc<WritePlan> {
        &self.plan
    }

    /// Writes rows to the files of their partitions.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        for (partition, rows) in self.plan.partitioner.split(batch)? {
            self.push(partition, rows).await?;
        }
        self.stay_within_memory().await
    }

    async fn push(&mut self, partition: Struct, rows: RecordBatch) -> Result<()> {
        if !self.open.contains_key(&partition) {
            if self.open.len() >= OPEN_FILES {
                self.close_largest().await?;
            }
            let location = self.plan.new_location(&partition);
            let file = DataFileWriter::new(&self.plan, location, partition.clone(), &self.unfinished)?;
            self.open.insert(partition.clone(), file);
        }
        let target = self.plan.properties.target_file_size_bytes;
        let Some(file) = self.open.get_mut(&partition) else { return Ok(()) };
        file.push(rows).await?;
        if file.file_bytes() >= target {
            self.close(&partition).await?;
        }
        Ok(())
    }

    /// Ends row groups, largest first, until the pool is content.
    async fn stay_within_memory(&mut self) -> Result<()> {
        loop {
            let held = self.open.values().map(DataFileWriter::memory_bytes).sum();
            let Err(refused) = self.memory.try_resize(held) else { return Ok(()) };
            let largest = self.open.values_mut().max_by_key(|file| file.memory_bytes());
            let Some(largest) = largest else { return Err(refused.into()) };
            let before = largest.memory_bytes();
            largest.relieve().await?;
            if before - largest.memory_bytes().min(before) < LEAST_RELIEF_BYTES {
                // Row groups are closed already; what is left is on its way to the store.
                if self.open.len() == 1 {
                    return Err(refused.into());
                }
                self.close_largest().await?;
            }
        }
    }

    async fn close_largest(&mut self) -> Result<()> {
        let largest = self.open.iter().max_by_key(|(_, file)| file.memory_bytes());
        match largest.map(|(partition, _)| partition.clone()) {
            Some(partition) => self.close(&partition).await,
            None => Ok(()),
        }
    }

    /// Finishes a partition's file in the background; the partition's next rows start another.
    async fn close(&mut self, partition: &Struct) -> Result<()> {
        while self.finishing.len() >= FINISHING_FILES {
            self.wait_for_one().await?;
        }
        if let Some(file) = self.open.remove(partition) {
            self.finishing.spawn(self.unfinished.track(file.finish()));
        }
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        match self.finishing.join_next().await {
            None => Ok(()),
            Some(Ok(file)) => {
                self.finished.push(file?);
                Ok(())
            }
            Some(Err(error)) => Err(panics::ended("a task that wrote a file", error)),
        }
    }

    /// Finishes all files. What they hold is in the store, and in no snapshot yet.
    pub(super) async fn finish(mut self) -> Result<Written> {
        let partitions: Vec<Struct> = self.open.keys().cloned().collect();
        for partition in partitions {
            self.close(&partition).await?;
        }
        while !self.finishing.is_empty() {
            self.wait_for_one().await?;
        }
        let mut files = std::mem::take(&mut self.finished);
        files.sort_by(|left, right| left.file_path().cmp(right.file_path()));
        Ok(Written { rows: self.rows, files })
    }
}

/// What a finished writer leaves.
pub(super) struct Written {
    pub(super) rows: u64,
    pub(super) files: Vec<DataFile>,
}
