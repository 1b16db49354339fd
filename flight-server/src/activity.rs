//! Counts the work in flight, so that a shutdown can wait for it.
//!
//! Statements and result streams hold an [`ActivityGuard`] while they run. Once draining has begun no new statement may
//! start, but results that clients were already promised may still be fetched.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Code, Status};

use crate::status::status;

/// The work in flight.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    running: usize,
    draining: bool,
}

/// One running statement or stream; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct ActivityGuard {
    state: Arc<watch::Sender<State>>,
}

impl Activity {
    /// Nothing runs yet.
    pub(crate) fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Starts a statement; refused while draining.
    pub(crate) fn start_statement(&self) -> Result<ActivityGuard, Status> {
        if self.state.borrow().draining {
            let message = "the server is shutting down: connect again in a moment";
            return Err(status(Code::Unavailable, "57P01", message, None));
        }
        Ok(self.start_stream())
    }

    /// Starts a stream of a result that was promised earlier; allowed while draining.
    pub(crate) fn start_stream(&self) -> ActivityGuard {
        self.state.send_modify(|state| state.running += 1);
        ActivityGuard { state: Arc::clone(&self.state) }
    }

    /// How many statements and streams run.
    pub(crate) fn running(&self) -> usize {
        self.state.borrow().running
    }

    /// Refuses new statements from here on.
    pub(crate) fn begin_draining(&self) {
        self.state.send_modify(|state| state.draining = true);
    }

    /// Waits until nothing runs.
    pub(crate) async fn idle(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = state.wait_for(|state| state.running == 0).await;
    }
}

impl Drop for ActivityGuard {
    fn drop(&mut self) {
        self.state.send_modify(|state| state.running = state.running.saturating_sub(1));
    }
}
