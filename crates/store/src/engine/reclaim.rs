//! Gives the space of removed records back to the disk.
//!
//! The engine merges its tables by levels, and a level of old records is merged only when enough
//! newer ones have arrived. After many deletes there are none, and the removed records would stay
//! on disk. So when as many bytes have been removed as are left, everything that is left is written
//! once more, beside the commits. The cost is at most one byte for each removed byte.

use std::{
    mem,
    thread::{self, JoinHandle},
};

use fjall::Keyspace;

/// Below this many bytes, removed records may stay.
const MIN_BYTES: u64 = 32 << 20;

/// The removed bytes, and how far the merge is. Each step is taken with a write, and none waits.
pub(super) struct Reclaim {
    /// The bytes that have been removed since the last merge began.
    removed: u64,
    phase: Phase,
}

enum Phase {
    Idle,
    /// The engine writes the newest changes to a table, since they remove the older records.
    Flushing,
    Merging(JoinHandle<()>),
    /// The engine deletes replaced tables when it begins the second table after them.
    Deleting,
}

impl Reclaim {
    pub(super) fn new(removed: u64) -> Self {
        Self { removed, phase: Phase::Idle }
    }

    /// Continues after a write that removed records, with the bytes that are left.
    pub(super) fn advance(&mut self, log: &Keyspace, removed: u64, left: u64) {
        self.removed += removed;
        match &self.phase {
            Phase::Idle if self.removed >= left.max(MIN_BYTES) => {
                self.removed = 0;
                // A failure also fails the next write.
                let _ = log.rotate_memtable();
                self.phase = Phase::Flushing;
            }
            Phase::Flushing if log.sealed_memtable_count() == 0 => {
                let log = log.clone();
                // A failure leaves the old tables, which are complete.
                let merge = move || drop(log.major_compact());
                let thread = thread::Builder::new().name("store-reclaim".to_owned()).spawn(merge);
                self.phase = thread.map_or(Phase::Idle, Phase::Merging);
            }
            Phase::Merging(thread) if thread.is_finished() => {
                let _ = log.rotate_memtable();
                self.phase = Phase::Deleting;
            }
            Phase::Deleting if log.sealed_memtable_count() == 0 => {
                let _ = log.rotate_memtable();
                self.phase = Phase::Idle;
            }
            Phase::Idle | Phase::Flushing | Phase::Merging(_) | Phase::Deleting => {}
        }
    }

    /// Waits for the thread, which uses the files.
    pub(super) fn finish(&mut self) {
        if let Phase::Merging(thread) = mem::replace(&mut self.phase, Phase::Idle) {
            let _ = thread.join();
        }
    }
}
