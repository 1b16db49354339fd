//! A request's body that has to come: when its client sends nothing for too long, the call fails and its stream is free.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::body::Body;
use tonic::{Code, Status};

use crate::status::status;

/// How long a client may send nothing in the middle of a request.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The body, which fails when nothing comes for too long.
pub(crate) fn timely(body: Body) -> Body {
    within(SILENCE_MAX, body)
}

fn within(patience: Duration, body: Body) -> Body {
    Body::new(Timely { body, patience, silence: None })
}

struct Timely {
    body: Body,
    patience: Duration,
    /// Since the last piece came.
    silence: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Timely {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.silence = None;
            return Poll::Ready(frame);
        }
        let patience = self.patience;
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        std::task::ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(too_slow())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_slow() -> Status {
    let message = format!("the rest of the request did not come within {} s", SILENCE_MAX.as_secs());
    status(Code::DeadlineExceeded, "08006", message, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;

    /// A body of which nothing ever comes.
    struct Silent;

    impl hyper::body::Body for Silent {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Pending
        }
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_fails_and_one_that_ends_does_not() {
        let patience = Duration::from_millis(50);
        let failed = next(&mut within(patience, Body::new(Silent))).await.unwrap().unwrap_err();
        assert_eq!(failed.code(), Code::DeadlineExceeded);
        assert!(next(&mut timely(Body::empty())).await.is_none());
    }
}
