//! The one thread that writes.
//!
//! It takes a batch from the queue, checks each transaction against memory and the transactions
//! before it in the batch, makes the batch durable, publishes it, and answers. The order matters:
//! nothing is visible to a reader, and no answer is sent (not even a conflict, which may depend on
//! a change of the same batch), before the batch is durable.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    CommitError, Committed, Entry, Expect, Expiry, Failure, Op, Options, Revision, Transaction,
    commit::{Answer, Reply},
    engine::{Batch, Engine},
    memory::{Change, Memory},
    queue::Request,
    record::{self, Deadline, Position, Stored},
    shared::Shared,
};

/// The longest wait for the next deadline: the clock may be set forward meanwhile.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) options: Options,
}

/// A batch that is being built.
struct Draft<'a> {
    memory: &'a Memory,
    revision: Revision,
    /// The keys that the batch has changed so far.
    pending: HashMap<Arc<str>, Option<Stored>>,
    changes: Vec<Change>,
    batch: Batch,
    /// The time, if entries expire.
    now: Option<Deadline>,
}

// === impl Committer ===

impl Committer {
    /// Commits batches until the queue is closed and empty, or the disk fails.
    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        // Also when this thread panics, so that no caller waits for ever.
        let _end = End(&shared);
        while let Some(requests) = shared.queue.take(self.options.batch_max, self.idle()) {
            if let Err(failure) = self.commit(requests) {
                shared.fail(&failure);
                return;
            }
        }
    }

    /// How long the committer may wait for requests.
    fn idle(&self) -> Option<Duration> {
        let expiry = self.options.expiry.as_ref()?;
        let idle = self.shared.memory().expiring().idle(|| expiry.now())?;
        Some(idle.min(CLOCK_CHECK))
    }

    fn commit(&mut self, requests: Vec<Request>) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let below = Revision::new(shared.compact_to.load(Ordering::Acquire));
        let mut replies: Vec<(Reply, Answer)> = Vec::with_capacity(requests.len());

        let memory = shared.memory();
        let now = self.options.expiry.as_ref().map(Expiry::now);
        let mut draft = Draft::new(&memory, now);
        if let Some(now) = now {
            // More than a batch of writes can add, so that the bounds hold.
            draft.expire(now, 2 * self.options.batch_max);
        }
        for Request { transaction, reply } in requests {
            replies.push((reply, draft.add(&transaction)));
        }
        let Draft { changes, mut batch, .. } = draft;
        batch.trim =
            memory.plan_trim(self.options.history_events, self.options.history_bytes, below);
        batch.kept_bytes = memory.kept_bytes();
        drop(memory);

        if !batch.is_empty() {
            if let Err(err) = self.engine.write(&batch) {
                let failure = Failure::new(shared.dir.clone(), err.into());
                for (reply, _) in replies {
                    let _ = reply.send(Err(CommitError::Failed(failure.clone())));
                }
                return Err(failure);
            }
            shared.publish(changes, batch.trim.floor);
        }
        for (reply, answer) in replies {
            // The caller may have stopped waiting; the change stays.
            let _ = reply.send(answer);
        }
        Ok(())
    }
}

/// Closes the store when the committer ends.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

// === impl Draft ===

impl<'a> Draft<'a> {
    fn new(memory: &'a Memory, now: Option<Deadline>) -> Self {
        Self {
            memory,
            revision: memory.revision(),
            pending: HashMap::new(),
            changes: Vec::new(),
            batch: Batch::default(),
            now,
        }
    }

    /// Deletes entries that have expired or are too many. Each has a revision of its own, like a
    /// delete by a client.
    fn expire(&mut self, now: Deadline, max: usize) {
        for (key, revision) in self.memory.expiring().due(now, max) {
            // It is as expected, since nothing precedes it in the batch.
            let _ = self.add(&Transaction::delete(key, Expect::At(revision)));
        }
    }

    fn current(&self, key: &str) -> Option<&Stored> {
        match self.pending.get(key) {
            Some(pending) => pending.as_ref(),
            None => self.memory.get(key),
        }
    }

    fn add(&mut self, transaction: &Transaction) -> Answer {
        let Transaction(ops) = transaction;
        check(ops)?;
        let mut previous = Vec::with_capacity(ops.len());
        for (index, op) in ops.iter().enumerate() {
            let current = self.current(op.key()).cloned();
            if !op.expect().holds(current.as_ref().map(|stored| &stored.entry)) {
                let current = current.map(|stored| stored.entry);
                return Err(CommitError::Conflict { index, key: op.key().clone(), current });
            }
            previous.push(current);
        }

        let revision = self.revision.next();
        let mut stored = Vec::with_capacity(ops.len());
        let mut index = 0;
        for (op, previous) in ops.iter().zip(&previous) {
            let position = Position { revision, index };
            let new = self.write(op, position, previous.as_ref());
            if let Some(new) = new {
                index += 1;
                stored.push(new);
            } else {
                stored.push(None);
            }
        }
        if index > 0 {
            self.revision = revision;
        }
        let previous = previous.into_iter().map(|it| it.map(|stored| stored.entry)).collect();
        Ok(Committed { revision: self.revision, stored, previous })
    }

    /// Adds one op. `None` if it changes nothing, otherwise the entry that it stores.
    fn write(
        &mut self,
        op: &Op,
        position: Position,
        previous: Option<&Stored>,
    ) -> Option<Option<Entry>> {
        // All versions of an entry share one copy of its key.
        let key = previous.map_or_else(|| op.key().clone(), |before| before.entry.key.clone());
        let created = previous.map_or(position.revision, |before| before.entry.created);
        let (record, stored) = match op {
            Op::Check { .. } => return None,
            Op::Delete { .. } => {
                previous?;
                (record::encode_delete(&key, created), None)
            }
            Op::Put { value, .. } => {
                let revision = position.revision;
                let deadline = self.now.and_then(|now| self.memory.expiring().deadline(&key, now));
                let (record, value) = record::encode_put(&key, created, value, revision, deadline);
                let entry = Entry { key: key.clone(), revision, created, value };
                (record, Some(Stored { entry, index: position.index, deadline }))
            }
        };
        let entry = stored.as_ref().map(|stored| stored.entry.clone());
        self.batch.records.push((position, record));
        self.pending.insert(key.clone(), stored.clone());
        self.changes.push(Change { position, key, stored, previous: previous.cloned() });
        Some(entry)
    }
}

/// Refuses transactions that can never be committed.
fn check(ops: &[Op]) -> Result<(), CommitError> {
    let invalid = |reason| Err(CommitError::Invalid { reason });
    if ops.len() > usize::from(u16::MAX) {
        return invalid("it has more than 65,535 ops");
    }
    let mut written = HashSet::new();
    for op in ops {
        if u16::try_from(op.key().len()).is_err() {
            return invalid("a key is longer than 65,535 bytes");
        }
        // The engine stores the length of a record in 32 bits.
        if matches!(op, Op::Put { value, .. } if value.max_len() > 1 << 30) {
            return invalid("a value is longer than 1 GiB");
        }
        let writes = matches!(op, Op::Put { .. } | Op::Delete { .. });
        if writes && ops.len() > 1 && !written.insert(op.key()) {
            return invalid("it writes a key twice");
        }
    }
    Ok(())
}
