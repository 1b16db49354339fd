//! The tasks of a worker, from the calls that bring them: counted, refused while the worker drains, and told when nobody
//! wants them any more.
//!
//! A call that brings a task stays open for as long as its query runs. When it ends, however it does, the task's functions
//! stop: a join that compares all pairs would otherwise go on for hours.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;
use tracing::Span;

use super::attempt::DRAINING;
use crate::computing::Threads;

/// Names a task to the session that is built for it. Never read from outside: it is always replaced.
const TASK: HeaderName = HeaderName::from_static("x-polynya-task");
/// The call that brings a task.
const BRINGS_TASK: &str = "/CoordinatorChannel";

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    draining: AtomicBool,
    next: AtomicU64,
    running: Mutex<HashMap<u64, Task>>,
    ended: Notify,
}

/// A task, from its call's beginning to its end.
#[derive(Debug)]
struct Task {
    stopped: Arc<AtomicBool>,
    span: Span,
    threads: Option<Arc<Threads>>,
}

/// Names a task to what executes it.
#[derive(Debug)]
pub(super) struct TaskNumber(u64);

impl Tasks {
    /// Refuses tasks from now on, and waits for those that run.
    pub(crate) async fn drain(&self) {
        {
            // Whoever enters has either been seen by the check below, or sees this.
            let _running = self.running.lock();
            self.draining.store(true, Relaxed);
        }
        loop {
            let ended = self.ended.notified();
            if self.running.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Whether tasks are refused.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        self.running.lock().len()
    }

    /// What is set when the task that these headers name is over.
    pub(super) fn stopped(&self, headers: &HeaderMap) -> Arc<AtomicBool> {
        // A task that is not known ended while it came.
        let known = number(headers).and_then(|number| Some(Arc::clone(&self.running.lock().get(&number)?.stopped)));
        known.unwrap_or_else(|| Arc::new(AtomicBool::new(true)))
    }

    /// Keeps a span open until the task that these headers name is over.
    pub(super) fn keep(&self, headers: &HeaderMap, span: Span) {
        let Some(number) = number(headers) else { return };
        if let Some(task) = self.running.lock().get_mut(&number) {
            task.span = span;
        }
    }

    /// The task that these headers name.
    pub(super) fn number(headers: &HeaderMap) -> Option<TaskNumber> {
        number(headers).map(TaskNumber)
    }

    /// A task computes on these threads: its query has them until it is over, and no longer.
    pub(super) fn computes_on(&self, number: &TaskNumber, threads: &Arc<Threads>) {
        if let Some(task) = self.running.lock().get_mut(&number.0) {
            threads.stops_with(&task.stopped);
            task.threads = Some(Arc::clone(threads));
        }
    }

    fn enter(self: &Arc<Self>) -> Option<Running> {
        let mut running = self.running.lock();
        if self.is_draining() {
            return None;
        }
        let number = self.next.fetch_add(1, Relaxed);
        running.insert(number, Task { stopped: Arc::default(), span: Span::none(), threads: None });
        Some(Running { tasks: Arc::clone(self), number })
    }
}

/// The task that headers name.
fn number(headers: &HeaderMap) -> Option<u64> {
    headers.get(&TASK)?.to_str().ok()?.parse().ok()
}

/// A task that somebody wants.
struct Running {
    tasks: Arc<Tasks>,
    number: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let task = self.tasks.running.lock().remove(&self.number);
        if let Some(Task { stopped, span, threads }) = task {
            stopped.store(true, Relaxed);
            drop((span, threads));
        }
        self.tasks.ended.notify_waiters();
    }
}

/// The worker's service, its tasks watched.
#[derive(Debug, Clone)]
pub(super) struct WatchTasks<S> {
    pub(super) inner: S,
    pub(super) tasks: Arc<Tasks>,
}

impl<S: NamedService> NamedService for WatchTasks<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for WatchTasks<S>
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

    fn call(&mut self, mut call: http::Request<Body>) -> Self::Future {
        if !call.uri().path().ends_with(BRINGS_TASK) {
            return self.inner.call(call).boxed();
        }
        let Some(running) = self.tasks.enter() else {
            return futures::future::ready(Ok(Status::unavailable(DRAINING).into_http())).boxed();
        };
        call.headers_mut().insert(TASK, HeaderValue::from(running.number));
        let answer = self.inner.call(call);
        async move {
            let answer = answer.await?;
            // The answer's body lives for as long as the call.
            Ok(answer.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _ = &running;
                    frame
                }))
            }))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(running: &Running) -> HeaderMap {
        HeaderMap::from_iter([(TASK, HeaderValue::from(running.number))])
    }

    #[tokio::test]
    async fn a_task_is_stopped_when_its_call_ends_and_draining_waits_for_it() {
        let tasks = Arc::new(Tasks::default());
        let running = tasks.enter().unwrap();
        let stopped = tasks.stopped(&named(&running));
        assert!(!stopped.load(Relaxed));
        let draining = tokio::spawn({
            let tasks = Arc::clone(&tasks);
            async move { tasks.drain().await }
        });
        while !tasks.draining.load(Relaxed) {
            tokio::task::yield_now().await;
        }
        assert!(tasks.enter().is_none(), "a task came while the worker drained");
        assert!(!draining.is_finished());
        drop(running);
        draining.await.unwrap();
        assert!(stopped.load(Relaxed));
    }

    #[test]
    fn a_task_that_nobody_brought_is_stopped() {
        let tasks = Arc::new(Tasks::default());
        assert!(tasks.stopped(&HeaderMap::new()).load(Relaxed));
    }
}
