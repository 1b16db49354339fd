//! The side that has pages: tells which, gives them, and keeps what it is handed. Tells the coordinator how far tasks are.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use super::super::begun::BegunBytes;
use super::super::tasks::Tasks;
use super::messages::{
    Empty, KEEP, MESSAGE_BYTES_MAX, PAGES, PROGRESS, PagesCall, ProgressAnswer, ProgressCall, SERVICE, SUMMARY,
    SomePages, SummaryAnswer, WirePage,
};
use super::summary::Summary;
use crate::io::{CacheMode, PageCache, PageKey};

/// A summary is made anew after so many times what making it took, so that no more than that share of a core goes into it: a
/// worker that has just come then learns of pages that its peers have only just read. After a second at the latest.
const SUMMARY_SHARE: u32 = 20;
const SUMMARY_AGE_MAX: Duration = Duration::from_secs(1);
/// Calls for pages that are answered at once; more wait.
const CALLS_MAX: usize = 16;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct PeerService {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    cache: Arc<PageCache>,
    begun: Arc<BegunBytes>,
    instance: String,
    tasks: Arc<Tasks>,
    summary: Mutex<Option<Made>>,
    calls: Semaphore,
}

/// A summary, and until when it is given as it is.
#[derive(Debug)]
struct Made {
    summary: Summary,
    good_until: Instant,
}

impl Made {
    fn of(cache: &PageCache) -> Self {
        let begun = Instant::now();
        let summary = Summary::of(&cache.keys());
        let age = (begun.elapsed() * SUMMARY_SHARE).min(SUMMARY_AGE_MAX);
        Self { summary, good_until: Instant::now() + age }
    }
}

impl PeerService {
    /// The service of the process that calls itself `instance`.
    pub(crate) fn new(cache: Arc<PageCache>, begun: Arc<BegunBytes>, tasks: Arc<Tasks>, instance: &str) -> Self {
        let instance = instance.to_owned();
        let state =
            State { cache, begun, instance, tasks, summary: Mutex::default(), calls: Semaphore::new(CALLS_MAX) };
        Self { state: Arc::new(state) }
    }
}

impl State {
    fn summary(&self) -> SummaryAnswer {
        let mut known = self.summary.lock();
        let made = known.take().filter(|made| Instant::now() < made.good_until);
        let bits = known.insert(made.unwrap_or_else(|| Made::of(&self.cache))).summary.bits();
        SummaryAnswer { bits, instance: self.instance.clone(), is_draining: self.tasks.is_draining() }
    }

    /// Those of the pages that are here, as far as one message goes.
    async fn pages(&self, call: PagesCall) -> Result<SomePages, Status> {
        let _permit = self.calls.acquire().await.map_err(|_| Status::unavailable("the worker ends"))?;
        let (mut pages, mut bytes) = (Vec::new(), 0);
        for wire in call.keys {
            let key = PageKey::from(wire.clone());
            if let Some((page, _)) = self.cache.get(&key, CacheMode::Read).await {
                bytes += page.len() + wire.encoded_len();
                if bytes > MESSAGE_BYTES_MAX / 2 {
                    break;
                }
                pages.push(WirePage { key: wire, bytes: page });
            }
        }
        Ok(SomePages { pages })
    }

    fn keep(&self, handed: SomePages) {
        for (key, page) in handed.pages.into_iter().filter_map(WirePage::checked) {
            // A copy: the page is a slice of the message.
            self.cache.insert(&key, &bytes::Bytes::copy_from_slice(&page));
        }
    }
}

impl NamedService for PeerService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for PeerService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        let state = Arc::clone(&self.state);
        async move {
            Ok(match call.uri().path() {
                SUMMARY => grpc::<SummaryAnswer, Empty>().unary(Summarise(state), call).await,
                PAGES => grpc::<SomePages, PagesCall>().unary(Give(state), call).await,
                KEEP => grpc::<Empty, SomePages>().unary(Keep(state), call).await,
                PROGRESS => grpc::<ProgressAnswer, ProgressCall>().unary(Tell(state), call).await,
                _ => Status::unimplemented("there is no such call").into_http(),
            })
        }
        .boxed()
    }
}

fn grpc<Answer, Call>() -> Grpc<ProstCodec<Answer, Call>>
where
    Answer: Message + Send + 'static,
    Call: Message + Default + Send + 'static,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

struct Summarise(Arc<State>);

impl UnaryService<Empty> for Summarise {
    type Response = SummaryAnswer;
    type Future = Ready<Result<Response<SummaryAnswer>, Status>>;

    fn call(&mut self, _: Request<Empty>) -> Self::Future {
        ready(Ok(Response::new(self.0.summary())))
    }
}

struct Give(Arc<State>);

impl UnaryService<PagesCall> for Give {
    type Response = SomePages;
    type Future = BoxFuture<'static, Result<Response<SomePages>, Status>>;

    fn call(&mut self, call: Request<PagesCall>) -> Self::Future {
        let state = Arc::clone(&self.0);
        async move { state.pages(call.into_inner()).await.map(Response::new) }.boxed()
    }
}

struct Keep(Arc<State>);

impl UnaryService<SomePages> for Keep {
    type Response = Empty;
    type Future = Ready<Result<Response<Empty>, Status>>;

    fn call(&mut self, handed: Request<SomePages>) -> Self::Future {
        self.0.keep(handed.into_inner());
        ready(Ok(Response::new(Empty {})))
    }
}

struct Tell(Arc<State>);

impl UnaryService<ProgressCall> for Tell {
    type Response = ProgressAnswer;
    type Future = Ready<Result<Response<ProgressAnswer>, Status>>;

    fn call(&mut self, asked: Request<ProgressCall>) -> Self::Future {
        let ProgressCall { query_id, attempt } = asked.into_inner();
        let pulse = self.0.begun.pulse(&query_id, attempt);
        let waits: Vec<&str> = pulse.waits.iter().map(|waits| waits.text.as_str()).collect();
        let longest = pulse.waits.iter().map(|waits| waits.longest).max().unwrap_or_default();
        ready(Ok(Response::new(ProgressAnswer {
            begun_bytes: self.0.begun.bytes(&query_id, attempt),
            read_bytes: pulse.read_bytes,
            cpu_ms: pulse.cpu.as_millis() as u64,
            waits: waits.join("; "),
            longest_ms: longest.as_millis() as u64,
        })))
    }
}
