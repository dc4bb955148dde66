//! All open watches: where each one is in the history, and how to wake it.

use std::{collections::BTreeMap, sync::Arc, task::Waker};

use parking_lot::{Mutex, MutexGuard};

use crate::memory::Change;

/// The position of a watch. The committer locks it only while it holds the write lock on memory,
/// and the watch only while it holds a read lock, in that order, so no change is missed in between.
#[derive(Debug)]
pub(crate) struct Slot(Mutex<Cursor>);

#[derive(Debug)]
pub(crate) struct Cursor {
    /// The number of the first change that was not examined yet.
    pub(crate) next: u64,
    /// Set while the watch waits: no change from `next` on matches it.
    pub(crate) waker: Option<Waker>,
}

/// All watches, by prefix.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<Arc<str>, Vec<Arc<Slot>>>>);

// === impl Slot ===

impl Slot {
    pub(crate) fn new(next: u64) -> Self {
        Self(Mutex::new(Cursor { next, waker: None }))
    }

    pub(crate) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.0.lock()
    }
}

// === impl Registry ===

impl Registry {
    fn groups(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Vec<Arc<Slot>>>> {
        self.0.lock()
    }

    pub(crate) fn add(&self, prefix: Arc<str>, slot: Arc<Slot>) {
        self.groups().entry(prefix).or_default().push(slot);
    }

    pub(crate) fn remove(&self, prefix: &str, slot: &Arc<Slot>) {
        let mut groups = self.groups();
        if let Some(slots) = groups.get_mut(prefix) {
            slots.retain(|other| !Arc::ptr_eq(other, slot));
            if slots.is_empty() {
                groups.remove(prefix);
            }
        }
    }

    /// The wakers of the watches that wait for one of these changes, numbered from `first` on. The
    /// caller must wake them without holding a lock.
    pub(crate) fn take_waiting(&self, first: u64, changes: &[Change]) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (prefix, slots) in &*self.groups() {
            let found =
                (first..).zip(changes).find(|(_, change)| change.key.starts_with(&**prefix));
            let Some((number, _)) = found else { continue };
            for slot in slots {
                let mut cursor = slot.cursor();
                if let Some(waker) = cursor.waker.take() {
                    cursor.next = number;
                    wakers.push(waker);
                }
            }
        }
        wakers
    }

    /// The wakers of all watches that wait.
    pub(crate) fn take_all(&self) -> Vec<Waker> {
        let groups = self.groups();
        groups.values().flatten().filter_map(|slot| slot.cursor().waker.take()).collect()
    }
}
