//! The bounded queue between writers and the committer.

use std::{collections::VecDeque, time::Duration};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::Transaction;
use crate::commit::Reply;

/// The most bytes of one batch (a larger transaction is a batch of its own), so that a burst of
/// large objects does not become one long pause.
const BATCH_BYTES: usize = 4 << 20;

/// A transaction, and the channel for its answer.
pub(crate) struct Request {
    pub(crate) transaction: Transaction,
    pub(crate) reply: Reply,
}

/// Why a request was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    max: usize,
}

struct State {
    requests: VecDeque<Request>,
    /// Set to wake the committer without a request.
    poked: bool,
    closed: bool,
}

// === impl Queue ===

impl Queue {
    pub(crate) fn new(max: usize) -> Self {
        let state = State { requests: VecDeque::new(), poked: false, closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), max: max.max(1) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn push(&self, request: Request) -> Result<(), (Refused, Request)> {
        let mut state = self.state();
        if state.closed {
            return Err((Refused::Closed, request));
        }
        if state.requests.len() >= self.max {
            return Err((Refused::Full, request));
        }
        state.requests.push_back(request);
        self.filled.notify_one();
        Ok(())
    }

    /// Wakes the committer without a request.
    pub(crate) fn poke(&self) {
        self.state().poked = true;
        self.filled.notify_one();
    }

    /// Waits for requests, a poke or the end of `timeout`; `None` when the queue is closed and
    /// empty.
    pub(crate) fn take(&self, max: usize, timeout: Option<Duration>) -> Option<Vec<Request>> {
        let idle = |state: &mut State| state.requests.is_empty() && !state.poked && !state.closed;
        let mut state = self.state();
        match timeout {
            None => self.filled.wait_while(&mut state, idle),
            Some(timeout) => drop(self.filled.wait_while_for(&mut state, idle, timeout)),
        }
        if state.closed && state.requests.is_empty() && !state.poked {
            return None;
        }
        state.poked = false;
        let mut bytes = 0;
        let mut batch = Vec::new();
        while batch.len() < max.max(1) {
            let Some(next) = state.requests.front() else { break };
            bytes += next.transaction.weight();
            if !batch.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            batch.extend(state.requests.pop_front());
        }
        Some(batch)
    }

    /// Refuses further requests; queued ones are still returned by [`Self::take`].
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
    }

    /// Refuses further requests, and returns all queued ones.
    pub(crate) fn close_and_drain(&self) -> VecDeque<Request> {
        let mut state = self.state();
        state.closed = true;
        std::mem::take(&mut state.requests)
    }
}
