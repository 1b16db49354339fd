//! Encodes batches as Parquet, one row group at a time, its columns in parallel.
//!
//! In: batches in the write schema. Out: bytes to send, and at the end the footer. Columns are encoded by up to
//! `lanes` blocking tasks that each take the next column that is left. Never touches the store.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use bytes::Bytes;
use parking_lot::Mutex;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::TypePtr;

/// Rows below which one lane is quicker than several.
const PARALLEL_ROWS: usize = 4096;

/// One Parquet file that is being encoded.
pub(super) struct Encoder {
    schema: SchemaRef,
    file: SerializedFileWriter<Sink>,
    factory: ArrowRowGroupWriterFactory,
    sink: Sink,
    lanes: usize,
    /// The columns of the row group that is open.
    group: Option<Vec<ArrowColumnWriter>>,
    group_rows: usize,
}

/// Where the file's bytes gather until they are taken.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One top-level column's work: its leaf writers, and what to do with them.
struct Job {
    position: usize,
    writers: Vec<ArrowColumnWriter>,
    column: Option<(FieldRef, ArrayRef)>,
}

/// What a job leaves: writers that go on, or the column chunks of a row group that is closed.
enum Outcome {
    Open(Vec<ArrowColumnWriter>),
    Closed(Vec<ArrowColumnChunk>),
}

impl Encoder {
    pub(super) fn new(
        schema: SchemaRef,
        parquet_schema: TypePtr,
        properties: Arc<WriterProperties>,
        lanes: usize,
    ) -> Result<Self> {
        let sink = Sink::default();
        let file = SerializedFileWriter::new(sink.clone(), parquet_schema, properties)?;
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
        Ok(Self { schema, file, factory, sink, lanes: lanes.max(1), group: None, group_rows: 0 })
    }

    /// Rows in the row group that is open.
    pub(super) fn group_rows(&self) -> usize {
        self.group_rows
    }

    /// Bytes that the open row group will have, about.
    pub(super) fn group_bytes(&self) -> usize {
        self.group.iter().flatten().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }

    /// Memory held, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let open: usize = self.group.iter().flatten().map(ArrowColumnWriter::memory_size).sum();
        open + self.sink.0.lock().capacity()
    }

    /// Adds rows to the open row group.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let writers = match self.group.take() {
            Some(writers) => writers,
            None => self.factory.create_column_writers(self.file.flushed_row_groups().len())?,
        };
        let lanes = if batch.num_rows() < PARALLEL_ROWS { 1 } else { self.lanes };
        let columns = batch.columns().iter().map(|column| Some(Arc::clone(column)));
        let outcomes = run(self.jobs(writers, columns), lanes).await?;
        self.group_rows += batch.num_rows();
        let open = outcomes.into_iter().flat_map(|outcome| match outcome {
            Outcome::Open(writers) => writers,
            Outcome::Closed(_) => Vec::new(),
        });
        self.group = Some(open.collect());
        Ok(())
    }

    /// Ends the open row group, if there is one with rows.
    pub(super) async fn close_group(&mut self) -> Result<()> {
        let Some(writers) = self.group.take() else { return Ok(()) };
        let lanes = if self.group_rows < PARALLEL_ROWS { 1 } else { self.lanes };
        let outcomes = run(self.jobs(writers, std::iter::repeat(None)), lanes).await?;
        let mut group = self.file.next_row_group()?;
        for outcome in outcomes {
            let Outcome::Closed(chunks) = outcome else { continue };
            for chunk in chunks {
                chunk.append_to_row_group(&mut group)?;
            }
        }
        group.close()?;
        self.group_rows = 0;
        Ok(())
    }

    /// The bytes that are ready, which are then no longer here.
    pub(super) fn take_bytes(&mut self) -> Bytes {
        std::mem::take(&mut *self.sink.0.lock()).into()
    }

    /// Writes the footer. The row group must be closed.
    pub(super) fn finish(&mut self, iceberg_schema: String) -> Result<ParquetMetaData> {
        self.file.append_key_value_metadata(KeyValue::new("iceberg.schema".to_string(), iceberg_schema));
        self.file.finish()
    }

    fn jobs(&self, writers: Vec<ArrowColumnWriter>, columns: impl Iterator<Item = Option<ArrayRef>>) -> Vec<Job> {
        let mut writers = writers.into_iter();
        let fields = self.schema.fields().iter().zip(columns).enumerate();
        let jobs = fields.map(|(position, (field, column))| Job {
            position,
            writers: writers.by_ref().take(leaves(field.data_type())).collect(),
            column: column.map(|column| (Arc::clone(field), column)),
        });
        jobs.collect()
    }
}

/// How many Parquet columns an Arrow column becomes.
fn leaves(ty: &DataType) -> usize {
    match ty {
        DataType::Struct(fields) => fields.iter().map(|field| leaves(field.data_type())).sum(),
        DataType::List(element) => leaves(element.data_type()),
        DataType::Map(entries, _) => leaves(entries.data_type()),
        _ => 1,
    }
}

/// Does all jobs on `lanes` blocking tasks; the outcomes are in the columns' order.
async fn run(jobs: Vec<Job>, lanes: usize) -> Result<Vec<Outcome>> {
    let mut slots: Vec<Option<Outcome>> = jobs.iter().map(|_| None).collect();
    let lanes = lanes.min(jobs.len()).max(1);
    let queue = Arc::new(Mutex::new(jobs));
    let tasks: Vec<_> = (0..lanes)
        .map(|_| {
            let queue = Arc::clone(&queue);
            tokio::task::spawn_blocking(move || lane(&queue))
        })
        .collect();
    for task in tasks {
        let outcomes = task.await.map_err(|error| ParquetError::External(Box::new(error)))??;
        for (position, outcome) in outcomes {
            slots[position] = Some(outcome);
        }
    }
    Ok(slots.into_iter().flatten().collect())
}

fn lane(queue: &Mutex<Vec<Job>>) -> Result<Vec<(usize, Outcome)>> {
    let mut outcomes = Vec::new();
    loop {
        // The lock is let go before the work begins.
        let Some(job) = queue.lock().pop() else { return Ok(outcomes) };
        outcomes.push((job.position, job.run()?));
    }
}

impl Job {
    fn run(self) -> Result<Outcome> {
        let mut writers = self.writers;
        let Some((field, array)) = self.column else {
            let chunks = writers.into_iter().map(ArrowColumnWriter::close);
            return Ok(Outcome::Closed(chunks.collect::<Result<_>>()?));
        };
        for (writer, leaf) in writers.iter_mut().zip(compute_leaves(&field, &array)?) {
            writer.write(&leaf)?;
        }
        Ok(Outcome::Open(writers))
    }
}
