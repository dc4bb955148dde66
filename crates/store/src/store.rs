//! The handle.

use std::{
    fmt,
    future::Future,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use futures_channel::oneshot;

use crate::{
    Commit, CommitError, Entry, Failure, ListOptions, OpenError, Options, Page, ReadError,
    Revision, Transaction, Watch,
    committer::Committer,
    engine::{Disk, Engine},
    lock::Lock,
    memory::{Change, Memory},
    queue::{Queue, Refused, Request},
    watch::Registry,
};

/// A store. Clones are the same store; it is closed by [`Store::close`] or when the last one goes.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

/// What the handles, the watches and the committer share.
pub(crate) struct Shared {
    pub(crate) dir: Arc<Path>,
    /// Held for writing only to publish a batch, never while the disk is waited for.
    memory: RwLock<Memory>,
    pub(crate) queue: Queue,
    pub(crate) watches: Registry,
    /// The revision up to which the history was asked to go.
    pub(crate) compact_to: AtomicU64,
    closed: AtomicBool,
    failure: OnceLock<Failure>,
    /// Who waits for a failure. Protects the list for the moment of a change to it.
    failure_waiters: Mutex<Vec<oneshot::Sender<Failure>>>,
}

/// Stops the committer when the last handle goes. Watches do not count as handles.
struct Owner {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

// === impl Store ===

impl Store {
    /// Opens the store in a directory, making both if they are not there.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = Lock::take(dir)?;
        let (disk, memory) = Disk::open(dir)?;
        Self::start(dir, options, Box::new(disk), memory, Some(lock))
    }

    pub(crate) fn start(
        dir: &Path,
        options: Options,
        engine: Box<dyn Engine>,
        memory: Memory,
        lock: Option<Lock>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared {
            dir: dir.into(),
            memory: RwLock::new(memory),
            queue: Queue::new(options.queue_max),
            watches: Registry::default(),
            compact_to: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            failure: OnceLock::new(),
            failure_waiters: Mutex::default(),
        });
        let committer = Committer { shared: shared.clone(), engine, options };
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || {
                // Given back last, when the engine has closed its files.
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

    /// What a key holds.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Entry> {
        self.shared.memory().get(key).map(|stored| stored.entry.clone())
    }

    /// What the keys with a prefix hold, in key order.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it is asked for at a revision that is not in the history.
    pub fn list(&self, prefix: &str, options: &ListOptions<'_>) -> Result<Page, ReadError> {
        self.shared.memory().list(prefix, options)
    }

    /// Asks for a transaction. It is in the queue when this returns, whether or not the answer is
    /// waited for; those of one thread happen in the order of its calls.
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

    /// Asks that the history up to and with a revision be let go. It happens with the next batch,
    /// at once if none is waiting.
    pub fn compact(&self, below: Revision) {
        self.shared.compact_to.fetch_max(below.get(), Ordering::AcqRel);
        self.shared.queue.poke();
    }

    /// Resolves when the disk has failed, which ends all writing; never, if that does not happen.
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

    /// Ends the store for all its handles: what waits is committed, later commits are refused,
    /// watches end after the last event. Returns when the directory is free again.
    pub fn close(self) {
        self.owner.stop();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn memory(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a durable batch visible.
    pub(crate) fn publish(&self, changes: Vec<Change>, floor: Option<Revision>) {
        let wakers = {
            let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
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

    fn refusal(&self) -> CommitError {
        self.failure.get().cloned().map_or(CommitError::Closed, CommitError::Failed)
    }

    fn failure_waiter(&self) -> oneshot::Receiver<Failure> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.failure_waiters.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that a failure at this moment sees either the waiter or is seen here.
        match self.failure.get() {
            Some(failure) => drop(sender.send(failure.clone())),
            None => waiters.push(sender),
        }
        receiver
    }

    /// Takes note that the disk has failed.
    pub(crate) fn fail(&self, failure: &Failure) {
        let waiters = {
            let mut waiters = self.failure_waiters.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = self.failure.set(failure.clone());
            std::mem::take(&mut *waiters)
        };
        for waiter in waiters {
            let _ = waiter.send(failure.clone());
        }
    }

    /// The committer is gone: answers what still waits. Watches of a failed store stay, since
    /// reads go on and their readers are told by other means.
    pub(crate) fn end(&self) {
        for request in self.queue.close_and_drain() {
            let _ = request.reply.send(Err(self.refusal()));
        }
        if self.failure.get().is_some() {
            return;
        }
        let wakers = {
            // With the lock, so that no watch goes to sleep between the two steps.
            let _memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
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

// === impl Owner ===

impl Owner {
    fn stop(&self) {
        self.shared.queue.close();
        let thread = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A waker called by the committer may drop the last handle; it cannot wait for itself.
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
