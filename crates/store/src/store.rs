//! The handle of a store.

use std::{
    fmt,
    future::Future,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
};

use futures_channel::oneshot;
use parking_lot::Mutex;

use crate::{
    Commit, CommitError, Entry, Failure, ListOptions, OpenError, Options, Page, ReadError,
    Revision, Transaction, Watch,
    committer::Committer,
    engine::{Disk, Engine},
    lock::Lock,
    memory::Memory,
    queue::{Refused, Request},
    shared::Shared,
};

/// A store. Clones share it; it is closed by [`Store::close`] or when the last clone is dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

/// Stops the committer when the last handle is dropped. Watches do not count as handles.
struct Owner {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

// === impl Store ===

impl Store {
    /// Opens the store in a directory, creating both if they do not exist.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = Lock::take(dir)?;
        let (disk, memory) = Disk::open(dir, options.expiry.as_ref())?;
        Self::start(dir, options, Box::new(disk), memory, Some(lock))
    }

    pub(crate) fn start(
        dir: &Path,
        options: Options,
        engine: Box<dyn Engine>,
        memory: Memory,
        lock: Option<Lock>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(dir, memory, options.queue_max));
        let committer = Committer { shared: shared.clone(), engine, options };
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || {
                // Released last, after the engine has closed its files.
                let _lock = lock;
                committer.run();
            })
            .map_err(|err| OpenError::io(dir, "start the committer thread", err))?;
        let committer = Mutex::new(Some(thread));
        let owner = Arc::new(Owner { shared: shared.clone(), committer });
        Ok(Self { shared, owner })
    }

    /// The newest durable revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.shared.memory().revision()
    }

    /// The floor of the history: lists and watches cannot start at revisions below it.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.shared.memory().floor()
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.shared.memory().get(key).map(|stored| stored.entry.clone())
    }

    /// The entries of the keys with a prefix, in key order.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the requested revision is not in the history.
    pub fn list(&self, prefix: &str, options: &ListOptions<'_>) -> Result<Page, ReadError> {
        self.shared.memory().list(prefix, options)
    }

    /// Submits a transaction. It is in the queue when this returns, even if the caller does not
    /// wait for the result; transactions of one thread are committed in the order of its calls.
    pub fn commit(&self, transaction: Transaction) -> Commit {
        let (reply, answer) = oneshot::channel();
        match self.shared.queue.push(Request { transaction, reply }) {
            Ok(()) => Commit::waiting(answer),
            Err((Refused::Full, _)) => Commit::refused(CommitError::Full),
            Err((Refused::Closed, _)) => Commit::refused(self.shared.refusal()),
        }
    }

    /// The changes under a prefix after a revision.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the revision is not in the history.
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, ReadError> {
        let next = {
            let memory = self.shared.memory();
            memory.check(after)?;
            memory.number_after(after)
        };
        Ok(Watch::new(self.shared.clone(), prefix, next))
    }

    /// Requests that the history up to and including a revision be removed. It is removed with the
    /// next batch, immediately if none is waiting.
    pub fn compact(&self, below: Revision) {
        self.shared.compact_to.fetch_max(below.get(), Ordering::AcqRel);
        self.shared.queue.poke();
    }

    /// Begins to remove the entries that have expired. The store does this itself, at the latest
    /// ten seconds after a deadline; a test that sets its own clock need not wait for that.
    pub fn expire(&self) {
        self.shared.queue.poke();
    }

    /// Resolves when the disk has failed, which ends all writing; otherwise never.
    pub fn failure(&self) -> impl Future<Output = Failure> + Send + 'static {
        let waiter = self.shared.failure_waiter();
        async move {
            match waiter.await {
                Ok(failure) => failure,
                Err(_closed) => std::future::pending().await,
            }
        }
    }

    /// The failure of the disk, if there was one.
    #[must_use]
    pub fn failed(&self) -> Option<Failure> {
        self.shared.failure.get().cloned()
    }

    /// Closes the store for all its handles: queued transactions are committed, later ones are
    /// refused, and watches end after the last event. Returns when the directory is unlocked.
    pub fn close(self) {
        self.owner.stop();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

// === impl Owner ===

impl Owner {
    fn stop(&self) {
        self.shared.queue.close();
        let thread = self.committer.lock().take();
        if let Some(thread) = thread {
            // A waker called by the committer may drop the last handle; a thread cannot join
            // itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}
