//! What is said about a partition's rows, as Protocol Buffers. The rows themselves are Flight's messages.

use arrow_flight::FlightData;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion_distributed::{ExecuteTaskRequest, MaybeEncoded, ProducerHead, TaskKey};
use prost::Message;
use std::sync::Arc;
use uuid::Uuid;

use super::failure;

/// The service's name and its call.
pub(super) const SERVICE: &str = "polynya.Exchange";
pub(super) const TAKE: &str = "/polynya.Exchange/Take";

/// Asks for one partition of a task. Its rows are wanted for as long as the call's own side stays open.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TakeCall {
    #[prost(bytes = "bytes", tag = "1")]
    query_id: Bytes,
    #[prost(uint64, tag = "2")]
    stage: u64,
    #[prost(uint64, tag = "3")]
    task: u64,
    #[prost(uint64, tag = "4")]
    partition: u64,
    /// How the task's rows are parted for those who take them, if they are: a partitioning, encoded.
    #[prost(bytes = "bytes", optional, tag = "5")]
    parted: Option<Bytes>,
    /// For how many partitions the task's rows are repeated, if they are.
    #[prost(uint64, optional, tag = "6")]
    repeated: Option<u64>,
}

impl TakeCall {
    /// One call for each of the partitions that are asked for.
    pub(super) fn each(request: ExecuteTaskRequest, context: &Arc<TaskContext>) -> Result<Vec<Self>> {
        let (parted, repeated) = match request.producer_head {
            ProducerHead::None => (None, None),
            ProducerHead::BroadcastExec { output_partitions } => (None, Some(output_partitions as u64)),
            ProducerHead::RepartitionExec { partitioning } => (Some(Bytes::from(partitioning.encode(context)?)), None),
        };
        let key = request.task_key;
        let call = |partition: usize| Self {
            query_id: Bytes::copy_from_slice(key.query_id.as_bytes()),
            stage: key.stage_id as u64,
            task: key.task_number as u64,
            partition: partition as u64,
            parted: parted.clone(),
            repeated,
        };
        Ok((request.target_partition_start..request.target_partition_end).map(call).collect())
    }

    /// The query whose rows are wanted.
    pub(super) fn query(&self) -> &[u8] {
        &self.query_id
    }

    /// As datafusion-distributed has it.
    pub(super) fn request(self) -> Result<ExecuteTaskRequest> {
        let query_id = Uuid::from_slice(&self.query_id)
            .map_err(|error| internal_datafusion_err!("a task's query has no id: {error}"))?;
        let partition = self.partition as usize;
        Ok(ExecuteTaskRequest {
            task_key: TaskKey { query_id, stage_id: self.stage as usize, task_number: self.task as usize },
            target_partition_start: partition,
            target_partition_end: partition + 1,
            producer_head: match (self.parted, self.repeated) {
                (Some(parted), _) => {
                    ProducerHead::RepartitionExec { partitioning: MaybeEncoded::Encoded(parted.into()) }
                }
                (None, Some(repeated)) => ProducerHead::BroadcastExec { output_partitions: repeated as usize },
                (None, None) => ProducerHead::None,
            },
        })
    }
}

/// The last message of a partition.
#[derive(Clone, PartialEq, Message)]
struct EndMessage {
    #[prost(uint64, optional, tag = "1")]
    rows: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    failure: Option<Bytes>,
}

/// How a partition ended: with so many rows, or with an error.
pub(super) type End = Result<u64>;

/// The frame that says so. Others have no metadata.
pub(super) fn end_frame(end: &End) -> FlightData {
    let end = match end {
        Ok(rows) => EndMessage { rows: Some(*rows), failure: None },
        Err(error) => EndMessage { rows: None, failure: Some(failure::encode(error).into()) },
    };
    FlightData::new().with_app_metadata(end.encode_to_vec())
}

/// How the partition ended, if the frame is its last.
pub(super) fn end_of(frame: &FlightData) -> Option<End> {
    if frame.app_metadata.is_empty() {
        return None;
    }
    Some(match EndMessage::decode(frame.app_metadata.clone()) {
        Ok(EndMessage { rows: Some(rows), failure: None }) => Ok(rows),
        Ok(EndMessage { failure: Some(told), .. }) => Err(failure::decode(&told)),
        Ok(_) => Err(internal_datafusion_err!("a partition's end says neither rows nor an error")),
        Err(error) => Err(DataFusionError::External(Box::new(error))),
    })
}
