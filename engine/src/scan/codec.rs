//! Carries Iceberg scans to workers whole, and beside them the one operator of ours that workers run.
//!
//! DataFusion's encoding of a Parquet scan keeps schemas, projections, predicates and byte ranges, but drops what a file's
//! extensions, the column mapping and the reader are. So a scan is encoded as DataFusion's Parquet scan, with ours beside
//! it, and put together again on the other side, where the catalog's store is found by the catalog's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, ScalarValue, internal_datafusion_err, internal_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    PhysicalExtensionCodec, PhysicalPlanDecodeContext, PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf;
use iceberg::spec::Schema as IcebergSchema;
use polynya_catalog::Storage;
use prost::Message;

use super::file::IcebergFile;
use super::schema_mapping::ColumnMapping;
use super::source::{IcebergSource, ScanContext};
use crate::Error;
use crate::cluster::TaskIo;
use crate::io::{DataCaches, ReaderFactory};
use crate::narrow_rows::NarrowRowsExec;

/// Stores that a worker keeps open.
const STORAGES_MAX: u64 = 256;

/// Encodes and decodes [`IcebergSource`] scans.
#[derive(Debug)]
pub struct ScanCodec {
    caches: DataCaches,
    /// Stores by their properties: connections outlive a task.
    storages: moka::sync::Cache<BTreeMap<String, String>, Arc<Storage>>,
}

impl ScanCodec {
    /// Arrived scans read through these caches.
    pub(crate) fn new(caches: DataCaches) -> Self {
        Self { caches, storages: moka::sync::Cache::new(STORAGES_MAX) }
    }
}

/// A scan on the wire.
// No `Debug`: credentials are not to be printed.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct EncodedScan {
    #[prost(string, tag = "1")]
    catalog: String,
    #[prost(string, tag = "2")]
    table: String,
    #[prost(string, tag = "3")]
    schema_json: String,
    #[prost(string, optional, tag = "4")]
    name_mapping_json: Option<String>,
    /// DataFusion's own encoding of the Parquet scan inside.
    #[prost(bytes = "vec", tag = "5")]
    parquet: Vec<u8>,
    /// The files of all groups, in order.
    #[prost(message, repeated, tag = "6")]
    files: Vec<EncodedFile>,
    /// What the table's store is opened with: credentials, too.
    #[prost(btree_map = "string, string", tag = "7")]
    storage: BTreeMap<String, String>,
    #[prost(bool, tag = "8")]
    complete: bool,
    #[prost(bool, tag = "9")]
    reordered: bool,
}

/// What DataFusion's encoding drops of a file.
#[derive(Clone, PartialEq, Message)]
struct EncodedFile {
    #[prost(string, tag = "1")]
    location: String,
    #[prost(uint64, tag = "2")]
    size_bytes: u64,
    #[prost(message, repeated, tag = "3")]
    constants: Vec<EncodedConstant>,
}

/// A partition's value for a column, by field id.
#[derive(Clone, PartialEq, Message)]
struct EncodedConstant {
    #[prost(int32, tag = "1")]
    field_id: i32,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // A scan has no input.
        if let [input] = inputs {
            return Ok(Arc::new(NarrowRowsExec::decode(buf, Arc::clone(input))?));
        }
        let encoded = EncodedScan::decode(buf).map_err(|error| DataFusionError::External(Box::new(error)))?;
        let node = protobuf::PhysicalPlanNode::decode(encoded.parquet.as_slice())
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        let plan = converter.proto_to_execution_plan(&node, &PhysicalPlanDecodeContext::new(ctx, self))?;
        let (config, parquet) = parquet_scan(&plan)?;
        let schema: IcebergSchema = serde_json::from_str(&encoded.schema_json)
            .map_err(|error| internal_datafusion_err!("the schema of {} did not survive: {error}", encoded.table))?;
        let names = encoded.name_mapping_json.as_deref();
        let mapping = Arc::new(ColumnMapping::new(encoded.table.clone(), Arc::new(schema), names)?);
        let storage = self.storage(encoded.storage)?;
        let io = ctx.session_config().get_extension::<TaskIo>().map(|task| Arc::clone(&task.0)).unwrap_or_default();
        io.meter.publish(FileSource::metrics(&parquet));
        let readers = ReaderFactory::new(storage, io, self.caches.clone(), Arc::clone(&mapping));
        let scan = ScanContext { catalog: encoded.catalog, mapping, readers: Arc::new(readers) };
        let source = IcebergSource::arrived(parquet, Arc::new(scan), encoded.complete, encoded.reordered);
        let groups = attach(&config.file_groups, encoded.files)?;
        let config = FileScanConfigBuilder::from(config).with_source(Arc::new(source)).with_file_groups(groups).build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        if let Some(narrow) = node.downcast_ref::<NarrowRowsExec>() {
            return narrow.encode(buf);
        }
        let Some((config, source)) = iceberg_scan(&node) else {
            return internal_err!("{} cannot be sent to a worker", node.name());
        };
        let files = config.file_groups.iter().flat_map(FileGroup::files).map(encode_file).collect::<Result<_>>()?;
        let inner = FileScanConfigBuilder::from(config.clone()).with_source(Arc::new(source.parquet().clone())).build();
        let inner: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(inner);
        let mapping = &source.scan().mapping;
        let encoded = EncodedScan {
            catalog: source.scan().catalog.clone(),
            table: mapping.table().to_owned(),
            schema_json: serde_json::to_string(mapping.schema().as_ref())
                .map_err(|error| internal_datafusion_err!("the schema of {}: {error}", mapping.table()))?,
            name_mapping_json: mapping.name_mapping_json(),
            parquet: converter.execution_plan_to_proto(&inner, self)?.encode_to_vec(),
            files,
            storage: source.scan().readers.storage().properties().into_iter().collect(),
            complete: source.is_complete(),
            reordered: source.is_reordered(),
        };
        encoded.encode(buf).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

impl ScanCodec {
    fn storage(&self, properties: BTreeMap<String, String>) -> Result<Arc<Storage>> {
        if let Some(known) = self.storages.get(&properties) {
            return Ok(known);
        }
        let opened = Storage::new(&properties.clone().into_iter().collect()).map_err(Error::from)?;
        self.storages.insert(properties, Arc::clone(&opened));
        Ok(opened)
    }
}

fn parquet_scan(plan: &Arc<dyn ExecutionPlan>) -> Result<(FileScanConfig, ParquetSource)> {
    let scan = plan.downcast_ref::<DataSourceExec>().and_then(|exec| exec.downcast_to_file_source::<ParquetSource>());
    match scan {
        Some((config, source)) => Ok((config.clone(), source.clone())),
        None => internal_err!("an Iceberg scan arrived without its Parquet side"),
    }
}

/// The Iceberg scan that a plan is, if it is one.
pub(crate) fn iceberg_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<(&FileScanConfig, &IcebergSource)> {
    plan.downcast_ref::<DataSourceExec>()?.downcast_to_file_source::<IcebergSource>()
}

fn encode_file(file: &PartitionedFile) -> Result<EncodedFile> {
    let Some(file) = IcebergFile::of(file) else { return internal_err!("a scan has a file that it did not plan") };
    let constants = file.constants.iter().flat_map(|constants| constants.iter()).map(|(field_id, value)| {
        let value = protobuf::ScalarValue::try_from(value)?.encode_to_vec();
        Ok(EncodedConstant { field_id: *field_id, value })
    });
    Ok(EncodedFile {
        location: file.location.to_string(),
        size_bytes: file.size_bytes,
        constants: constants.collect::<Result<_>>()?,
    })
}

/// Gives the files of all groups back what travelled beside them.
fn attach(groups: &[FileGroup], encoded: Vec<EncodedFile>) -> Result<Vec<FileGroup>> {
    if groups.iter().map(|group| group.files().len()).sum::<usize>() != encoded.len() {
        return internal_err!("a scan arrived with {} descriptions for another number of files", encoded.len());
    }
    let mut encoded = encoded.into_iter();
    let group = |group: &FileGroup| {
        let files = group.files().iter().cloned().zip(encoded.by_ref()).map(|(mut file, encoded)| {
            file.extensions.insert(decode_file(encoded)?);
            Ok(file)
        });
        files.collect::<Result<Vec<_>>>().map(FileGroup::new)
    };
    groups.iter().map(group).collect()
}

fn decode_file(encoded: EncodedFile) -> Result<IcebergFile> {
    let constants = encoded.constants.iter().map(|constant| {
        let value = protobuf::ScalarValue::decode(constant.value.as_slice())
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok((constant.field_id, ScalarValue::try_from(&value)?))
    });
    let constants = constants.collect::<Result<Vec<_>>>()?;
    Ok(IcebergFile {
        location: Arc::from(encoded.location),
        size_bytes: encoded.size_bytes,
        constants: (!constants.is_empty()).then(|| Arc::new(constants)),
    })
}
