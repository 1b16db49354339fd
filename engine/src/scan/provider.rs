//! A pinned table as DataFusion sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, Statistics};
use datafusion::config::{ParquetOptions, TableParquetOptions};
use datafusion::datasource::TableType;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use polynya_catalog::MetadataCache;

use super::manifest_cache::ManifestCache;
use super::planning::{Selection, select_files};
use super::source::{IcebergSource, ScanContext};
use super::{splits, statistics};
use crate::io::{DataCaches, ReaderFactory};
use crate::options::{Execution, PolynyaOptions};
use crate::pin::PinnedTable;
use crate::query::QueryContext;

/// Files that get statistics of their own, for filters that arrive while the query runs; more files get none.
const FILES_WITH_STATISTICS_MAX: usize = 2_000;

/// What scans share between queries.
#[derive(Debug)]
pub(crate) struct ScanCaches {
    pub(crate) metadata: Arc<MetadataCache>,
    pub(crate) manifests: ManifestCache,
    pub(crate) data: DataCaches,
}

impl ScanCaches {
    /// Forgets table metadata, manifests and footers, as a restart would.
    pub(crate) fn forget_metadata(&self) {
        self.metadata.clear();
        self.manifests.clear();
        self.data.footers.clear();
    }
}

/// A pinned table, for one query.
#[derive(Debug)]
pub(crate) struct IcebergTableProvider {
    table: Arc<PinnedTable>,
    caches: Arc<ScanCaches>,
    query: Arc<QueryContext>,
}

impl IcebergTableProvider {
    pub(crate) fn new(table: Arc<PinnedTable>, caches: Arc<ScanCaches>, query: Arc<QueryContext>) -> Self {
        Self { table, caches, query }
    }

    /// The columns that a scan reads or judges: those projected and those filtered on.
    fn wanted(&self, projection: Option<&Vec<usize>>, filters: &[Expr]) -> BTreeSet<usize> {
        let schema = self.table.arrow_schema();
        let mut wanted: BTreeSet<usize> = match projection {
            Some(projection) => projection.iter().copied().collect(),
            None => (0..schema.fields().len()).collect(),
        };
        for filter in filters {
            wanted.extend(filter.column_refs().into_iter().filter_map(|column| schema.index_of(column.name()).ok()));
        }
        wanted
    }

    fn source(&self, options: ParquetOptions) -> Arc<IcebergSource> {
        let mapping = Arc::clone(self.table.mapping());
        let storage = Arc::clone(self.table.storage());
        let readers = Arc::new(ReaderFactory::new(
            storage,
            Arc::clone(self.query.io()),
            self.caches.data.clone(),
            Arc::clone(&mapping),
        ));
        let parquet = ParquetSource::new(Arc::clone(self.table.arrow_schema()))
            .with_table_parquet_options(TableParquetOptions { global: options, ..TableParquetOptions::default() });
        let scan = ScanContext { catalog: self.table.name().catalog.clone(), mapping, readers };
        Arc::new(IcebergSource::new(parquet, Arc::new(scan)))
    }
}

#[async_trait]
impl TableProvider for IcebergTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.table.arrow_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.table.arrow_schema();
        let caches = &self.caches;
        let selected =
            select_files(&self.table, filters, schema, &caches.metadata, &caches.manifests, &self.query).await?;
        if selected.manifests.is_empty() {
            let projected = match projection {
                Some(projection) => Arc::new(schema.project(projection)?),
                None => Arc::clone(schema),
            };
            return Ok(Arc::new(EmptyExec::new(projected)));
        }
        let wanted = self.wanted(projection, filters);
        let statistics = statistics::of_selection(&selected, schema, &wanted);
        let mut groups = splits::file_groups(
            with_statistics(&selected, schema, &wanted),
            state.config().options().execution.target_partitions,
        );
        let options = state.config().options().extensions.get::<PolynyaOptions>();
        if options.is_some_and(|options| options.execution == Execution::Distributed) && groups.len() == 1 {
            // With one partition there would be nothing to distribute.
            groups.push(FileGroup::new(Vec::new()));
        }
        // Our reader takes files by their full location: the store's URL here is never used.
        let config = FileScanConfigBuilder::new(
            ObjectStoreUrl::local_filesystem(),
            self.source(state.config().options().execution.parquet.clone()),
        )
        .with_file_groups(groups)
        .with_statistics(statistics)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// The selected files, each with its own statistics unless there are very many.
fn with_statistics<'a>(
    selection: &'a Selection,
    schema: &SchemaRef,
    wanted: &BTreeSet<usize>,
) -> Vec<(&'a super::manifest::FileEntry, Option<Arc<Statistics>>)> {
    let each = selection.files().count() <= FILES_WITH_STATISTICS_MAX;
    let entries = selection.manifests.iter().flat_map(|(manifest, positions)| {
        positions.iter().map(move |position| {
            let own = each.then(|| statistics::of_file(manifest, *position, schema, wanted));
            (&manifest.files[*position], own)
        })
    });
    entries.collect()
}
