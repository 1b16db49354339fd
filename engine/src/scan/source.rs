//! The scan's `FileSource`: DataFusion's Parquet source with our reader, our column mapping, and our missing columns.
//!
//! The seam to keep clean: which rows of which columns is decided here and in `planning`; where their bytes come from is
//! the reader's business (`io`). DataFusion's own codec does not know this type, so it falls to [`super::ScanCodec`].

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource, ParquetSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::object_store::ObjectStore;
use datafusion::physical_expr::expressions::{Column, lit};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, SortOrderPushdownResult};
use datafusion_datasource::morsel::{MorselPlanner, Morselizer};
use parking_lot::Mutex;

use super::canonical_columns::CanonicalColumns;
use super::decoded_scan::DecodedScan;
use super::defaults::MissingColumns;
use super::file::IcebergFile;
use super::foresight::Foresight;
use super::manifest::PartitionConstants;
use super::named::Named;
use super::pieces::piece_bytes;
use super::schema_mapping::ColumnMapping;
use super::suspect::Suspect;
use crate::io::{BATCH_ROWS, CacheMode, PrefetchHandle, ReaderFactory};
use crate::types::holds_floats;

/// Reads the data files of one Iceberg table.
#[derive(Clone)]
pub struct IcebergSource {
    parquet: ParquetSource,
    scan: Arc<ScanContext>,
    /// Whether all rows will be asked for: neither reading ahead nor decoding whole columns could be for nothing.
    complete: bool,
    /// Whether files or row groups are taken in another order than the table's.
    reordered: bool,
    batch_rows: Option<usize>,
}

/// What every file of a scan shares.
#[derive(Debug)]
pub(crate) struct ScanContext {
    /// The catalog that the table belongs to.
    pub(crate) catalog: String,
    /// How files' columns become the table's.
    pub(crate) mapping: Arc<ColumnMapping>,
    /// Opens files.
    pub(crate) readers: Arc<ReaderFactory>,
}

impl IcebergSource {
    /// A source whose Parquet side was configured already: projection, predicate, options.
    pub(crate) fn new(parquet: ParquetSource, scan: Arc<ScanContext>) -> Self {
        let readers = Arc::clone(&scan.readers);
        let parquet = parquet.with_parquet_file_reader_factory(readers);
        Self { parquet, scan, complete: true, reordered: false, batch_rows: None }
    }

    /// A source that came from another process.
    pub(crate) fn arrived(parquet: ParquetSource, scan: Arc<ScanContext>, complete: bool, reordered: bool) -> Self {
        Self { complete, reordered, ..Self::new(parquet, scan) }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn is_reordered(&self) -> bool {
        self.reordered
    }

    /// Whether the files are in the memory of this process.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.scan.readers.storage().is_memory()
    }

    /// The Parquet side, for the codec.
    pub(crate) fn parquet(&self) -> &ParquetSource {
        &self.parquet
    }

    /// What every file of the scan shares.
    pub(crate) fn scan(&self) -> &Arc<ScanContext> {
        &self.scan
    }

    /// The same scan, reading nothing ahead: its reader may stop at any time.
    pub(crate) fn without_read_ahead(&self) -> Self {
        Self { complete: false, ..self.clone() }
    }

    /// Whether the scan goes through the tier of decoded columns.
    fn takes_decoded(&self, config: &FileScanConfig) -> bool {
        let readers = &self.scan.readers;
        readers.decoded().is_on()
            && readers.cache_mode() != CacheMode::Off
            && self.complete
            && config.limit.is_none()
            && !self.reordered
            && self.batch_rows == Some(BATCH_ROWS)
            && !self.parquet.table_parquet_options().global.pushdown_filters
            && self.parquet.table_schema().virtual_columns().is_empty()
    }

    /// The scan of a partition through the tier of decoded columns, if it goes there.
    fn decoded_scan(&self, config: &FileScanConfig, partition: usize) -> Option<Arc<DecodedScan>> {
        let projection = self.parquet.projection().filter(|_| self.takes_decoded(config))?;
        Some(Arc::new(DecodedScan {
            readers: Arc::clone(&self.scan.readers),
            table: Arc::clone(self.parquet.table_schema().table_schema()),
            projection: projection.clone(),
            columns: self.columns_read(),
            predicate: self.parquet.filter(),
            missing: MissingColumns::new(self.scan.mapping.schema()),
            metrics: self.parquet.metrics().clone(),
            partition,
        }))
    }

    /// Begins to read ahead for a partition.
    fn begin_read_ahead(&self, config: &FileScanConfig, partition: usize) -> Option<PrefetchHandle> {
        self.scan
            .readers
            .prefetch(self.foresight(config, partition).filter(|_| self.complete && config.limit.is_none())?)
    }

    /// What a partition will ask for.
    pub(crate) fn foresight(&self, config: &FileScanConfig, partition: usize) -> Option<Foresight> {
        let schema = Arc::clone(self.parquet.table_schema().table_schema());
        let columns = match self.parquet.projection() {
            Some(projection) => {
                projection.column_indices().into_iter().map(|index| schema.field(index).name().clone()).collect()
            }
            None => schema.fields().iter().map(|field| field.name().clone()).collect(),
        };
        Some(Foresight {
            files: config.file_groups.get(partition)?.files().to_vec(),
            readers: Arc::clone(&self.scan.readers),
            schema,
            columns,
            predicate: self.parquet.filter(),
            missing: MissingColumns::new(self.scan.mapping.schema()),
            takes_decoded: self.takes_decoded(config),
        })
    }

    /// The names of the columns that are decoded, for what is given and for the filter.
    fn columns_read(&self) -> Arc<[String]> {
        let schema = self.parquet.table_schema().table_schema();
        let filtered = self.parquet.filter().map(|filter| collect_columns(&filter)).unwrap_or_default();
        let filtered: HashSet<usize> = filtered.iter().map(Column::index).collect();
        let given = self.parquet.projection().map(|projection| projection.column_indices());
        let is_read =
            |index: &usize| given.as_ref().is_none_or(|given| given.contains(index)) || filtered.contains(index);
        let read = (0..schema.fields().len()).filter(is_read);
        read.map(|index| schema.field(index).name().clone()).collect()
    }

    fn rewrap(&self, source: &Arc<dyn FileSource>) -> Result<Arc<dyn FileSource>> {
        match source.downcast_ref::<ParquetSource>() {
            Some(parquet) => Ok(Arc::new(Self { parquet: parquet.clone(), ..self.clone() })),
            None => internal_err!("the Parquet source became a {} source", source.file_type()),
        }
    }
}

impl Debug for IcebergSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergSource").field("table", &self.scan.mapping.table()).finish_non_exhaustive()
    }
}

impl FileSource for IcebergSource {
    fn create_file_opener(
        &self,
        _object_store: Arc<dyn ObjectStore>,
        _base_config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        internal_err!("Iceberg scans open files as morsels")
    }

    fn create_morselizer(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        Ok(Box::new(IcebergMorselizer {
            decoded: self.decoded_scan(base_config, partition),
            _ahead: self.begin_read_ahead(base_config, partition),
            source: self.clone(),
            object_store,
            config: base_config.clone(),
            partition,
            missing: MissingColumns::new(self.scan.mapping.schema()),
            columns: self.columns_read(),
            by_constants: Mutex::default(),
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.parquet.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let source = self.parquet.with_batch_size(batch_size);
        Self { batch_rows: Some(batch_size), ..self.clone() }.rewrap(&source).unwrap_or(source)
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.parquet.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.parquet.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.parquet.metrics()
    }

    fn file_type(&self) -> &str {
        "iceberg"
    }

    fn fmt_extra(&self, t: DisplayFormatType, f: &mut Formatter) -> fmt::Result {
        write!(f, ", table={}", self.scan.mapping.table())?;
        self.parquet.fmt_extra(t, f)
    }

    /// Byte ranges are cut where row groups start, when the scan is planned; not again.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn FileSource>>> {
        // Parquet statistics leave NaN out, and NaN compares above every number: a filter on floats cannot skip by them.
        let schema = self.parquet.table_schema().table_schema();
        let safe: Vec<bool> = filters.iter().map(|filter| !mentions_float(filter, schema)).collect();
        let pushable =
            filters.iter().zip(&safe).filter(|(_, safe)| **safe).map(|(filter, _)| Arc::clone(filter)).collect();
        let pushed = self.parquet.try_pushdown_filters(pushable, config)?;
        let mut answers = pushed.filters.into_iter();
        let filters =
            safe.iter().map(|safe| if *safe { answers.next().unwrap_or(PushedDown::No) } else { PushedDown::No });
        let mut propagation = FilterPushdownPropagation::with_parent_pushdown_result(filters.collect());
        if let Some(source) = pushed.updated_node {
            propagation = propagation.with_updated_node(self.rewrap(&source)?);
        }
        Ok(propagation)
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
        eq_properties: &EquivalenceProperties,
    ) -> Result<SortOrderPushdownResult<Arc<dyn FileSource>>> {
        let reordered = Self { reordered: true, ..self.clone() };
        Ok(match self.parquet.try_pushdown_sort(order, eq_properties)? {
            SortOrderPushdownResult::Exact { inner } => {
                SortOrderPushdownResult::Exact { inner: reordered.rewrap(&inner)? }
            }
            SortOrderPushdownResult::Inexact { inner } => {
                SortOrderPushdownResult::Inexact { inner: reordered.rewrap(&inner)? }
            }
            SortOrderPushdownResult::Unsupported => SortOrderPushdownResult::Unsupported,
        })
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.parquet.reorder_files(files)
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        self.parquet.try_pushdown_projection(projection)?.map(|source| self.rewrap(&source)).transpose()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.parquet.apply_expressions(f)
    }
}

/// Whether a filter reads a floating-point column.
fn mentions_float(filter: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> bool {
    let mut found = false;
    let visited = filter.apply(|node| {
        if let Some(column) = node.downcast_ref::<Column>() {
            found |= schema.field_with_name(column.name()).is_ok_and(|field| holds_floats(field.data_type()));
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || visited.is_err()
}

/// Opens files through DataFusion's Parquet morselizer, one for each distinct tuple of partition constants.
struct IcebergMorselizer {
    /// Takes what files it can.
    decoded: Option<Arc<DecodedScan>>,
    /// Reading ahead ends with the partition.
    _ahead: Option<PrefetchHandle>,
    source: IcebergSource,
    object_store: Arc<dyn ObjectStore>,
    config: FileScanConfig,
    partition: usize,
    missing: MissingColumns,
    /// The names of the columns that are read.
    columns: Arc<[String]>,
    by_constants: Mutex<HashMap<Option<usize>, Arc<dyn Morselizer>>>,
}

impl IcebergMorselizer {
    /// The morselizer for files with these constants; files of one partition share the allocation, so its address is the key.
    fn inner(&self, constants: Option<&Arc<PartitionConstants>>) -> Result<Arc<dyn Morselizer>> {
        let key = constants.map(|constants| Arc::as_ptr(constants) as usize);
        if let Some(known) = self.by_constants.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let mut config = self.config.clone();
        config.expr_adapter_factory = Some(Arc::new(CanonicalColumns(self.missing.with_constants(constants.cloned()))));
        let store = Arc::clone(&self.object_store);
        // DataFusion 55.2 rewrites no expression of a file that has the table's own columns, unless there is a filter.
        let parquet = match self.source.parquet.filter() {
            Some(_) => self.source.parquet.clone(),
            None => self.source.parquet.with_predicate(lit(true)),
        };
        let morselizer: Arc<dyn Morselizer> = Arc::from(parquet.create_morselizer(store, &config, self.partition)?);
        self.by_constants.lock().insert(key, Arc::clone(&morselizer));
        Ok(morselizer)
    }
}

impl Debug for IcebergMorselizer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergMorselizer").field("partition", &self.partition).finish_non_exhaustive()
    }
}

impl Morselizer for IcebergMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let Some(constants) = IcebergFile::of(&file).map(|file| file.constants.clone()) else {
            return internal_err!("a scan of {} met a file that it did not plan", self.source.scan.mapping.table());
        };
        self.source.scan.readers.begin(piece_bytes(&file));
        let inner = self.inner(constants.as_ref())?;
        match &self.decoded {
            Some(decoded) => Ok(decoded.plan_file(file, inner)),
            None => {
                let is_whole = self.source.parquet.filter().is_none() && self.config.limit.is_none();
                let named = Suspect::new(file.clone(), &self.source.scan.readers, &self.columns, is_whole);
                Ok(Named::new(inner.plan_file(file)?, &named))
            }
        }
    }
}
