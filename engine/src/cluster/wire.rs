//! Threads that only speak with other processes.
//!
//! Who computes does not answer pings: a thread in the middle of a join looks at no socket for a while, and a worker that
//! is merely busy would be taken for lost. So connections, on both of their sides, are on threads of their own, and what a
//! call asks for is done on the others.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use crate::panics;

/// One thread moves some GB/s: enough for so many that compute.
const COMPUTING_THREADS_EACH: usize = 4;
/// A call that is answered also when nothing else is: whether the worker is there.
const IS_THERE: &str = "/GetWorkerInfo";

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Wire(Arc<Threads>);

/// Ended without waiting, since the last owner may be on a thread of another runtime.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Wire {
    /// Starts the threads. Without them, connections are on the caller's.
    pub(super) fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (cores / COMPUTING_THREADS_EACH).max(1);
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("wire").enable_all().build();
        let runtime = runtime.inspect_err(|error| tracing::warn!(%error, "connections have no threads of their own"));
        Self(Arc::new(Threads(runtime.ok())))
    }

    /// Runs it here, until it ends or the handle is dropped.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        AbortOnDropHandle::new(match &self.0.0 {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        })
    }
}

impl<T> hyper::rt::Executor<T> for Wire
where
    T: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: T) {
        self.spawn(work).detach();
    }
}

/// A service whose calls are made on the threads that compute.
#[derive(Debug, Clone)]
pub(super) struct Computed<S> {
    inner: S,
    compute: Handle,
}

impl<S> Computed<S> {
    pub(super) fn new(inner: S, compute: &Handle) -> Self {
        Self { inner, compute: compute.clone() }
    }
}

impl<S: NamedService> NamedService for Computed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Computed<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, call: http::Request<Body>) -> Self::Future {
        if call.uri().path().ends_with(IS_THERE) {
            return self.inner.call(call).boxed();
        }
        let answer = AbortOnDropHandle::new(self.compute.spawn(self.inner.call(call)));
        async move { answer.await.unwrap_or_else(|error| Ok(broken_off(error).into_http())) }.boxed()
    }
}

/// A call that panicked, or that the end of this process has stopped.
fn broken_off(error: JoinError) -> Status {
    match error.try_into_panic() {
        Ok(panic) => Status::internal(panics::broken_off(panics::logged("a call", panic.as_ref())).to_string()),
        Err(_) => Status::unavailable("the worker ends"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;
    use url::Url;

    use super::super::channels::Channels;
    use super::super::{Secret, WorkerService};
    use crate::{Engine, Settings};

    #[test]
    fn a_worker_that_computes_on_all_of_its_threads_answers() {
        let compute = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let secret = Secret::random();
        let (url, service) = compute.block_on(async {
            let engine = Engine::start(Settings::default()).await.unwrap();
            let service = WorkerService::new(&engine, &secret);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
            tokio::spawn(service.serve(listener, CancellationToken::new()));
            (url, service)
        });
        let (begun, has_begun) = std::sync::mpsc::channel();
        let busy = compute.spawn(async move {
            begun.send(()).unwrap();
            std::thread::sleep(Duration::from_secs(3));
        });
        has_begun.recv().unwrap();
        let caller = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let asked = Instant::now();
        let answers = caller.block_on(async { Channels::new(secret).answers(&url, Duration::from_secs(2)).await });
        assert!(answers, "no answer after {:?}", asked.elapsed());
        assert!(!busy.is_finished());
        drop(service);
    }
}
