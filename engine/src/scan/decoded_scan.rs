//! Reads a file's columns through the decoded tier: what is there is taken as it is, what is not is decoded and left there.
//!
//! ```text
//!  footer ─► rows left ─► for each row group:  columns of the tier ─┐
//!                                              other columns, decoded ─► batches ─► projection
//! ```
//!
//! A row group of which the page index leaves only parts is taken from the tier if all of its columns are there; else just
//! those parts are decoded, and nothing is kept. Files that this cannot read (nested columns, bloom filters, INT96) go to
//! DataFusion's own morselizer.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{ParquetAccessPlan, ParquetFileMetrics, RowGroupAccess};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::{ProjectionExprs, Projector};
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_expr_common::physical_expr::snapshot_generation;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{StreamExt, TryFutureExt};
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::ParquetMetaData;

use super::defaults::MissingColumns;
use super::named::{Named, decoding};
use super::opened::OpenedFile;
use super::row_group::{Batches, GroupReader, Kept, Source, rows_left};
use super::second_reading::with_second_reading;
use super::suspect::Suspect;
use crate::Error;
use crate::io::{BATCH_ROWS, CacheMode, ColumnKey, DataFile, DecodedColumn, ReaderFactory};

/// Bytes of a value that is not of fixed width, beside its text: a view.
const VIEW_BYTES: usize = 16;

/// One partition of a scan that takes its columns from the decoded tier.
pub(super) struct DecodedScan {
    pub(super) readers: Arc<ReaderFactory>,
    /// The table's columns.
    pub(super) table: SchemaRef,
    /// Over the table's columns.
    pub(super) projection: ProjectionExprs,
    /// The names of the columns that are read.
    pub(super) columns: Arc<[String]>,
    pub(super) predicate: Option<Arc<dyn PhysicalExpr>>,
    pub(super) missing: MissingColumns,
    pub(super) metrics: ExecutionPlanMetricsSet,
    pub(super) partition: usize,
}

impl DecodedScan {
    /// Plans a file; `otherwise` takes those that cannot be read here.
    pub(super) fn plan_file(
        self: &Arc<Self>,
        file: PartitionedFile,
        otherwise: Arc<dyn Morselizer>,
    ) -> Box<dyn MorselPlanner> {
        let scan = Arc::clone(self);
        let named = Suspect::new(file.clone(), &self.readers, &self.columns, self.predicate.is_none());
        Box::new(Planner::Open(Box::pin(async move {
            let opened = decoding(named.location(), async {
                let data_file = scan.readers.file(&file)?;
                let footer = scan.readers.footer(&data_file).await?;
                Split::new(scan, &file, data_file, &footer.metadata)
            });
            match opened.await.map_err(|error| named.told(error))? {
                Some(split) => Ok(Box::new(Planner::Opened(Arc::new(split))) as Box<dyn MorselPlanner>),
                None => Ok(Named::new(otherwise.plan_file(file)?, &named) as Box<dyn MorselPlanner>),
            }
        })))
    }
}

type Opening = futures::future::BoxFuture<'static, Result<Box<dyn MorselPlanner>>>;

/// A file on its way to batches.
enum Planner {
    Open(Opening),
    Opened(Arc<Split>),
}

impl Debug for Planner {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Opened(_) => "Opened",
        })
    }
}

impl MorselPlanner for Planner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        Ok(Some(match *self {
            Self::Open(opening) => MorselPlan::new().with_pending_planner(opening),
            Self::Opened(split) => MorselPlan::new().with_morsels(vec![Box::new(SplitMorsel(split))]),
        }))
    }
}

struct SplitMorsel(Arc<Split>);

impl Debug for SplitMorsel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SplitMorsel").field(&self.0.file.location).finish()
    }
}

impl Morsel for SplitMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let split = self.0;
        let groups = futures::stream::iter(split.rows_left().row_group_indexes());
        groups.map(move |group| Arc::clone(&split).batches(group)).flatten().boxed()
    }
}

/// The row groups of a file that one partition reads.
pub(super) struct Split {
    scan: Arc<DecodedScan>,
    /// For the reader.
    planned: PartitionedFile,
    pub(super) file: DataFile,
    opened: OpenedFile,
    arrow: ArrowReaderMetadata,
    /// The columns that are read, as positions among the file's; ascending.
    columns: Vec<usize>,
    /// Those columns.
    schema: SchemaRef,
    projector: Projector,
    output: SchemaRef,
    metrics: ParquetFileMetrics,
    /// The rows left, and the generation of the filters that this was told by.
    left: Mutex<(u64, Arc<ParquetAccessPlan>)>,
}

impl Split {
    /// `None` if the file cannot be read here.
    fn new(
        scan: Arc<DecodedScan>,
        planned: &PartitionedFile,
        file: DataFile,
        metadata: &Arc<ParquetMetaData>,
    ) -> Result<Option<Self>> {
        let opened = OpenedFile::new(planned, metadata, &scan.table, &scan.missing)?;
        let projection = scan.projection.clone().try_map_exprs(|expr| opened.rewrite(expr))?;
        let columns = projection.column_indices();
        let filtered = scan.predicate.is_some();
        if !columns.iter().all(|column| is_plain(&opened, *column)) || (filtered && has_bloom_filters(metadata)) {
            return Ok(None);
        }
        let schema = Arc::new(opened.schema.project(&columns)?);
        let projector =
            projection.try_map_exprs(|expr| reassign_expr_columns(expr, &schema))?.make_projector(&schema)?;
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(&opened.schema));
        let metrics = ParquetFileMetrics::new(scan.partition, &file.location, &scan.metrics);
        let generation = scan.predicate.as_ref().map_or(0, snapshot_generation);
        let left = opened.access_plan(scan.predicate.as_ref(), &metrics);
        Ok(Some(Self {
            arrow: ArrowReaderMetadata::try_new(Arc::clone(metadata), options)?,
            output: Arc::new(scan.projection.project_schema(&scan.table)?),
            planned: planned.clone(),
            left: Mutex::new((generation, Arc::new(left))),
            scan,
            file,
            opened,
            columns,
            schema,
            projector,
            metrics,
        }))
    }

    /// The rows that are left by now.
    fn rows_left(&self) -> Arc<ParquetAccessPlan> {
        let mut left = self.left.lock();
        let generation = self.scan.predicate.as_ref().map_or(0, snapshot_generation);
        if left.0 != generation {
            let metrics = ParquetFileMetrics::new(0, "", &ExecutionPlanMetricsSet::new());
            *left = (generation, Arc::new(self.opened.access_plan(self.scan.predicate.as_ref(), &metrics)));
        }
        Arc::clone(&left.1)
    }

    fn key(&self, row_group: usize, column: usize) -> ColumnKey {
        ColumnKey { file: self.file.key.clone(), row_group, column }
    }

    /// A row group's batches. If it is damaged, it is read once more from the store.
    fn batches(self: Arc<Self>, row_group: usize) -> BoxStream<'static, Result<RecordBatch>> {
        let access = self.rows_left().inner()[row_group].clone();
        let opened = Arc::clone(&self).open(row_group, access.clone());
        let first = opened.map_ok(GroupReader::into_stream).try_flatten_stream().boxed();
        with_second_reading(first, move || async move {
            let fresh = Arc::new(self.afresh(row_group).await?);
            Ok(fresh.open(row_group, access).await?.into_stream())
        })
    }

    /// The same file, of which nothing is kept any more.
    async fn afresh(&self, row_group: usize) -> Result<Self> {
        let (readers, rows) = (&self.scan.readers, self.opened.metadata.row_group(row_group).num_rows());
        readers.forget(&self.file);
        let footer = readers.footer(&self.file).await?;
        let is_same = footer.metadata.row_groups().get(row_group).is_some_and(|group| group.num_rows() == rows);
        let fresh = Self::new(Arc::clone(&self.scan), &self.planned, self.file.clone(), &footer.metadata)?;
        fresh.filter(|_| is_same).ok_or_else(|| {
            let (location, reason) = (self.file.location.to_string(), "its footer came damaged".to_owned());
            Error::DamagedFile { location, reason }.into()
        })
    }

    /// Begins to read a row group.
    async fn open(self: Arc<Self>, row_group: usize, access: RowGroupAccess) -> Result<GroupReader> {
        let rows = usize::try_from(self.opened.metadata.row_group(row_group).num_rows())
            .map_err(|_| internal_datafusion_err!("a row group of {} has less than no rows", self.file.location))?;
        let taken = self.take(row_group);
        let complete = taken.iter().all(Option::is_some);
        let leaves = self.columns.iter().filter_map(|column| leaf_of(&self.opened.metadata, *column));
        let batch_rows = self.opened.batch_rows(row_group, leaves);
        let (taken, selection) = match &access {
            RowGroupAccess::Selection(selection) if !complete => (vec![None; taken.len()], Some(selection.clone())),
            // Columns of the tier come in batches of one size.
            _ if !complete && batch_rows < BATCH_ROWS => (vec![None; taken.len()], None),
            _ => (taken, None),
        };
        self.count(row_group, &access, &taken)?;
        let source = if complete || !access.should_scan() {
            Source::Taken(rows_left(&access, rows))
        } else {
            let missing: Vec<usize> = (0..taken.len()).filter(|position| taken[*position].is_none()).collect();
            let may_keep = selection.is_none() && batch_rows == BATCH_ROWS;
            let kept = if may_keep { self.keep(row_group, rows, &missing) } else { Vec::new() };
            let expected = selection.as_ref().map_or(rows, RowSelection::row_count);
            let batches = Box::pin(self.decode(row_group, &missing, selection, batch_rows)?);
            Source::Decoded { batches, expected, missing, kept }
        };
        Ok(GroupReader::new(self, row_group, taken, source))
    }

    /// The columns that the tier has.
    fn take(&self, row_group: usize) -> Vec<Option<DecodedColumn>> {
        let fields = self.columns.iter().zip(self.schema.fields());
        let tier = self.scan.readers.decoded();
        fields.map(|(column, field)| tier.get(&self.key(row_group, *column), field.data_type())).collect()
    }

    /// Counts what the tier gave by the bytes that would have been decoded for it.
    fn count(&self, row_group: usize, access: &RowGroupAccess, taken: &[Option<DecodedColumn>]) -> Result<()> {
        let given = self.columns.iter().zip(taken).filter(|(_, taken)| taken.is_some());
        for (column, _) in given.filter(|_| access.should_scan()) {
            let Some(leaf) = leaf_of(&self.opened.metadata, *column) else { continue };
            let bytes = self.opened.ranges(row_group, leaf, access).iter().map(|range| range.end - range.start).sum();
            self.file.io.scan_decoded(bytes)?;
            self.metrics.bytes_scanned.add(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// Room to keep those of the columns that are about to be decoded for which there is some, if the query may.
    fn keep(&self, row_group: usize, rows: usize, missing: &[usize]) -> Vec<Option<Kept>> {
        let may = self.scan.readers.cache_mode() == CacheMode::On;
        let bytes = |position: &usize| {
            let leaf = leaf_of(&self.opened.metadata, self.columns[*position])?;
            let chunk = self.opened.metadata.row_group(row_group).column(leaf);
            let fixed = self.schema.field(*position).data_type().primitive_width();
            let text = if fixed.is_some() { 0 } else { usize::try_from(chunk.uncompressed_size()).ok()? };
            Some(rows.checked_mul(fixed.unwrap_or(VIEW_BYTES))?.checked_add(text)? as u64)
        };
        let keep = |position: &usize| {
            let reservation = self.scan.readers.decoded().reserve(bytes(position)?)?;
            Some(Kept::new(reservation))
        };
        missing.iter().map(|position| keep(position).filter(|_| may)).collect()
    }

    /// Batches of the missing columns.
    fn decode(
        &self,
        row_group: usize,
        missing: &[usize],
        selection: Option<RowSelection>,
        batch_rows: usize,
    ) -> Result<Batches> {
        let scan = &self.scan;
        let reader: Box<dyn AsyncFileReader> =
            scan.readers.open(scan.partition, &self.planned, &scan.metrics, batch_rows)?;
        let mask = ProjectionMask::roots(
            self.opened.metadata.file_metadata().schema_descr(),
            missing.iter().map(|position| self.columns[*position]),
        );
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, self.arrow.clone())
            .with_row_groups(vec![row_group])
            .with_projection(mask)
            .with_batch_size(batch_rows);
        Ok(match selection {
            Some(selection) => builder.with_row_selection(selection).build()?,
            None => builder.build()?,
        })
    }

    /// Leaves a column in the tier, by its position among those that are read.
    pub(super) fn insert(&self, row_group: usize, position: usize, column: DecodedColumn) {
        self.scan.readers.decoded().insert(self.key(row_group, self.columns[position]), column);
    }

    /// Columns as the scan gives them.
    pub(super) fn project(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        let projected = self.projector.project_batch(&batch)?;
        if projected.schema() == self.output {
            return Ok(projected);
        }
        // A file's columns may be declared nullable where the table's are not.
        let options = RecordBatchOptions::new().with_row_count(Some(projected.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.output), projected.columns().to_vec(), &options)?)
    }
}

/// Whether a column is flat, of a type that the decoder gives by itself.
fn is_plain(opened: &OpenedFile, column: usize) -> bool {
    let leaf = leaf_of(&opened.metadata, column);
    let descriptor = opened.metadata.file_metadata().schema_descr();
    let int96 = leaf.is_some_and(|leaf| descriptor.column(leaf).physical_type() == PhysicalType::INT96);
    let data_type = opened.schema.field(column).data_type();
    leaf.is_some() && !int96 && !data_type.is_nested() && !matches!(data_type, DataType::Dictionary(..))
}

/// The leaf of a flat column.
fn leaf_of(metadata: &ParquetMetaData, column: usize) -> Option<usize> {
    let descriptor = metadata.file_metadata().schema_descr();
    (column..descriptor.num_columns()).find(|leaf| descriptor.get_column_root_idx(*leaf) == column)
}

fn has_bloom_filters(metadata: &ParquetMetaData) -> bool {
    let mut chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    chunks.any(|chunk| chunk.bloom_filter_offset().is_some())
}
