//! Calls of the peer service. Nothing depends on an answer, so that any failure is none.

use std::time::Duration;

use prost::Message;
use tonic::Status;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;
use url::Url;

use super::super::channels::Channels;
use super::messages::{MESSAGE_BYTES_MAX, PROGRESS, ProgressAnswer, ProgressCall};
use crate::io::WaitReport;
use crate::watchdog::WorkerPulse;

/// How long a worker may take to tell how far it is.
const PROGRESS_TIMEOUT: Duration = Duration::from_millis(500);

/// How far an attempt's tasks on a worker are: the bytes that they have begun to read, and their pulse.
pub(crate) async fn progress_of(
    channels: &Channels,
    url: &Url,
    query_id: &str,
    attempt: u64,
) -> Option<(u64, WorkerPulse)> {
    let asked = ProgressCall { query_id: query_id.to_owned(), attempt };
    let answer = call::<ProgressCall, ProgressAnswer>(channels, url, PROGRESS, asked, PROGRESS_TIMEOUT).await;
    let answer = answer?;
    let longest = Duration::from_millis(answer.longest_ms);
    let waits = (!answer.waits.is_empty()).then_some(WaitReport { text: answer.waits, longest });
    let cpu = Duration::from_millis(answer.cpu_ms);
    let pulse = WorkerPulse { read_bytes: answer.read_bytes, cpu, waits: waits.into_iter().collect() };
    Some((answer.begun_bytes, pulse))
}

/// One call, or nothing.
pub(super) async fn call<Asked, Answer>(
    channels: &Channels,
    url: &Url,
    path: &'static str,
    asked: Asked,
    within: Duration,
) -> Option<Answer>
where
    Asked: Message + Send + Sync + 'static,
    Answer: Message + Default + Send + Sync + 'static,
{
    let channel = channels.signed(url).ok()?;
    let mut client =
        Grpc::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX);
    let answer = async {
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Asked, Answer>::default();
        client.unary(tonic::Request::new(asked), PathAndQuery::from_static(path), codec).await
    };
    match tokio::time::timeout(within, answer).await {
        Ok(Ok(answer)) => Some(answer.into_inner()),
        Ok(Err(status)) => {
            tracing::debug!(%url, path, %status, "a peer did not answer");
            None
        }
        Err(_) => None,
    }
}
