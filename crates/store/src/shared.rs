//! What the handles, the watches and the committer thread share.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use futures_channel::oneshot;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::{
    CommitError, Failure, Revision,
    memory::{Change, Memory},
    queue::Queue,
    registry::Registry,
};

/// What the handles, the watches and the committer share.
pub(crate) struct Shared {
    pub(crate) dir: Arc<Path>,
    /// Held for writing only to publish a batch, never while waiting for the disk.
    memory: RwLock<Memory>,
    pub(crate) queue: Queue,
    pub(crate) watches: Registry,
    /// The revision up to which the history is to be removed, as requested.
    pub(crate) compact_to: AtomicU64,
    closed: AtomicBool,
    pub(crate) failure: OnceLock<Failure>,
    /// The callers that wait for a failure.
    failure_waiters: Mutex<Vec<oneshot::Sender<Failure>>>,
}

// === impl Shared ===

impl Shared {
    pub(crate) fn new(dir: &Path, memory: Memory, queue_max: usize) -> Self {
        Self {
            dir: dir.into(),
            memory: RwLock::new(memory),
            queue: Queue::new(queue_max),
            watches: Registry::default(),
            compact_to: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            failure: OnceLock::new(),
            failure_waiters: Mutex::default(),
        }
    }

    pub(crate) fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read()
    }

    /// Makes a durable batch visible.
    pub(crate) fn publish(&self, changes: Vec<Change>, floor: Option<Revision>) {
        let wakers = {
            let mut memory = self.memory.write();
            let wakers = self.watches.take_waiting(memory.end(), &changes);
            for change in changes {
                memory.apply(change);
            }
            if let Some(floor) = floor {
                memory.trim(floor);
            }
            wakers
        };
        for waker in wakers {
            waker.wake();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn refusal(&self) -> CommitError {
        self.failure.get().cloned().map_or(CommitError::Closed, CommitError::Failed)
    }

    pub(crate) fn failure_waiter(&self) -> oneshot::Receiver<Failure> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.failure_waiters.lock();
        // Under the lock, so that a concurrent failure either finds the waiter or is found here.
        match self.failure.get() {
            Some(failure) => drop(sender.send(failure.clone())),
            None => waiters.push(sender),
        }
        receiver
    }

    /// Records that the disk has failed.
    pub(crate) fn fail(&self, failure: &Failure) {
        let waiters = {
            let mut waiters = self.failure_waiters.lock();
            let _ = self.failure.set(failure.clone());
            std::mem::take(&mut *waiters)
        };
        for waiter in waiters {
            let _ = waiter.send(failure.clone());
        }
    }

    /// The committer has ended: refuses the requests that still wait. Watches of a failed store
    /// stay open, since reads go on; their readers learn of the failure by
    /// [`Self::failure_waiter`].
    pub(crate) fn end(&self) {
        for request in self.queue.close_and_drain() {
            let _ = request.reply.send(Err(self.refusal()));
        }
        if self.failure.get().is_some() {
            return;
        }
        let wakers = {
            // Under the lock, so that no watch begins to wait between the two steps.
            let _memory = self.memory.write();
            self.closed.store(true, Ordering::Release);
            self.watches.take_all()
        };
        for waker in wakers {
            waker.wake();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dir", &self.dir).finish_non_exhaustive()
    }
}
