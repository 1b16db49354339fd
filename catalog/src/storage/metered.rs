//! A store that counts what passes through it.
//!
//! Wraps any `ObjectStore`; counts on every meter it was given, when a request is sent, whether or not it succeeds.
//! Bytes are counted as they arrive, so that a read that is dropped half way counts half. Retries inside the wrapped
//! store are not seen.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::meter::RequestMeter;

/// Keys in one page of a listing, as S3, GCS and Azure return them.
const LIST_PAGE_KEYS: u64 = 1000;

type Meters = Arc<[Arc<RequestMeter>]>;

/// See the module.
#[derive(Debug)]
pub(super) struct Metered {
    inner: Arc<dyn ObjectStore>,
    meters: Meters,
}

impl Metered {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, meters: Meters) -> Self {
        Self { inner, meters }
    }

    fn count(&self, counter: fn(&RequestMeter) -> &AtomicU64, amount: u64) {
        count(&self.meters, counter, amount);
    }
}

fn count(meters: &Meters, counter: fn(&RequestMeter) -> &AtomicU64, amount: u64) {
    for meter in meters.iter() {
        counter(meter).fetch_add(amount, Relaxed);
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metered({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Metered {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.count(|m| &m.put, 1);
        self.count(|m| &m.bytes_written, payload.content_length() as u64);
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.count(|m| &m.put, 1);
        let upload = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(MeteredUpload { upload, meters: Arc::clone(&self.meters) }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            self.count(|m| &m.head, 1);
            return self.inner.get_opts(location, options).await;
        }
        self.count(|m| &m.get, 1);
        let result = self.inner.get_opts(location, options).await?;
        Ok(count_payload(result, &self.meters))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // The wrapped store would coalesce and send requests that are not seen here: coalesce here instead, so that
        // each request passes `get_opts` above.
        object_store::coalesce_ranges(
            ranges,
            |range: Range<u64>| async move {
                let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
                self.get_opts(location, options).await?.bytes().await
            },
            object_store::OBJECT_STORE_COALESCE_DEFAULT,
        )
        .await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let meters = Arc::clone(&self.meters);
        let counted = locations.inspect(move |_| count(&meters, |m| &m.delete, 1));
        self.inner.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count_pages(self.inner.list(prefix), &self.meters)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        count_pages(self.inner.list_with_offset(prefix, offset), &self.meters)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let result = self.inner.list_with_delimiter(prefix).await;
        let keys = result.as_ref().map_or(0, |r| (r.objects.len() + r.common_prefixes.len()) as u64);
        self.count(|m| &m.list, keys.div_ceil(LIST_PAGE_KEYS).max(1));
        result
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.count(|m| &m.put, 1);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.count(|m| &m.put, 1);
        self.count(|m| &m.delete, 1);
        self.inner.rename_opts(from, to, options).await
    }
}

/// Counts the bytes of a read as they arrive. A local file is read by its receiver, and counted whole.
fn count_payload(result: GetResult, meters: &Meters) -> GetResult {
    let payload = match result.payload {
        GetResultPayload::Stream(stream) => {
            let meters = Arc::clone(meters);
            GetResultPayload::Stream(
                stream
                    .inspect(move |piece| {
                        if let Ok(bytes) = piece {
                            count(&meters, |m| &m.bytes_read, bytes.len() as u64);
                        }
                    })
                    .boxed(),
            )
        }
        file => {
            count(meters, |m| &m.bytes_read, result.range.end - result.range.start);
            file
        }
    };
    GetResult { payload, ..result }
}

/// Counts one request at the first poll, and one more for every further page.
fn count_pages(
    inner: BoxStream<'static, Result<ObjectMeta>>,
    meters: &Meters,
) -> BoxStream<'static, Result<ObjectMeta>> {
    CountPages { inner, meters: Arc::clone(meters), left_in_page: 0 }.boxed()
}

struct CountPages {
    inner: BoxStream<'static, Result<ObjectMeta>>,
    meters: Meters,
    left_in_page: u64,
}

impl Stream for CountPages {
    type Item = Result<ObjectMeta>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left_in_page == 0 {
            count(&self.meters, |m| &m.list, 1);
            self.left_in_page = LIST_PAGE_KEYS;
        }
        let polled = self.inner.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(_))) = polled {
            self.left_in_page -= 1;
        }
        polled
    }
}

/// Counts each part, and the request that completes or aborts the upload.
#[derive(Debug)]
struct MeteredUpload {
    upload: Box<dyn MultipartUpload>,
    meters: Meters,
}

#[async_trait]
impl MultipartUpload for MeteredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        count(&self.meters, |m| &m.put, 1);
        count(&self.meters, |m| &m.bytes_written, data.content_length() as u64);
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        count(&self.meters, |m| &m.put, 1);
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        count(&self.meters, |m| &m.delete, 1);
        self.upload.abort().await
    }
}
