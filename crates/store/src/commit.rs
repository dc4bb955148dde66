//! The result of a transaction.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use futures_channel::oneshot;

use crate::{Entry, Failure, Revision};

/// A committed transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision; the newest revision if it changed nothing.
    pub revision: Revision,
    /// For each op the entry that it stored; `None` for deletes and checks.
    pub stored: Vec<Option<Entry>>,
    /// For each op the entry of its key before.
    pub previous: Vec<Option<Entry>>,
}

/// Why a transaction was not committed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// An expectation does not hold.
    #[error("{key} is not as expected: it {}", .current.as_ref().map_or_else(
        || "does not exist".to_owned(),
        |entry| format!("was last changed at revision {}", entry.revision)
    ))]
    Conflict {
        /// The index of the op.
        index: usize,
        /// Its key.
        key: Arc<str>,
        /// The current entry of the key.
        current: Option<Entry>,
    },
    /// Too many transactions are queued.
    #[error("too many changes are waiting for the disk; try again later")]
    Full,
    /// The transaction can never be committed.
    #[error("the transaction is not valid: {reason}")]
    Invalid {
        /// Why not.
        reason: &'static str,
    },
    /// The disk failed. It is unknown whether this transaction exists after a restart.
    #[error("the change could not be made durable")]
    Failed(#[source] Failure),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

pub(crate) type Answer = Result<Committed, CommitError>;
pub(crate) type Reply = oneshot::Sender<Answer>;

/// The pending result of a transaction, which resolves when it is durable. Dropping it does not
/// undo the transaction.
#[derive(Debug)]
#[must_use = "a transaction is committed only once this resolves to Ok"]
pub struct Commit(State);

#[derive(Debug)]
enum State {
    Refused(Option<CommitError>),
    Waiting(oneshot::Receiver<Answer>),
}

// === impl Commit ===

impl Commit {
    pub(crate) fn refused(error: CommitError) -> Self {
        Self(State::Refused(Some(error)))
    }

    pub(crate) fn waiting(answer: oneshot::Receiver<Answer>) -> Self {
        Self(State::Waiting(answer))
    }

    /// Blocks the thread until the result is known.
    pub fn wait(self) -> Result<Committed, CommitError> {
        block_on(self)
    }
}

impl Future for Commit {
    type Output = Result<Committed, CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(CommitError::Closed))),
            // A dropped sender means that the committer has ended.
            State::Waiting(answer) => Pin::new(answer)
                .poll(context)
                .map(|answer| answer.unwrap_or(Err(CommitError::Closed))),
        }
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        thread::park();
    }
}
