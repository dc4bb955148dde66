//! Watches: positions in the history, with a waker each.
//!
//! A watch has no buffer. It reads the history when it is polled, and when there is nothing for it
//! the committer wakes it with the next change under its prefix. One that is polled too rarely
//! finds its position gone from the history and ends with [`TooOld`]; nobody waits for it.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use crate::{
    Event, Revision, TooOld,
    memory::{Change, Lookup},
    store::Shared,
};

/// How many changes are looked at under one read lock, so that a watch over a long stretch of
/// other keys' changes does not hold up the committer.
const SCAN_STEP: usize = 1_024;

/// The changes under a prefix, in order, as a stream of events.
///
/// It ends after [`TooOld`], and when the store is closed after all that was committed.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    prefix: Arc<str>,
    slot: Arc<Slot>,
    ended: bool,
}

/// Where a watch is. The committer looks at it only while it holds the write lock on memory, and
/// the watch only while it holds a read lock, in that order: so no change falls in between.
#[derive(Debug)]
struct Slot(Mutex<Place>);

#[derive(Debug)]
struct Place {
    /// The number of the first change not yet looked at.
    next: u64,
    /// Set while the watch waits: nothing from `next` on is for it.
    waker: Option<Waker>,
}

/// All watches, by prefix. The lock protects the map for the moment of a change to it.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<Arc<str>, Vec<Arc<Slot>>>>);

// === impl Slot ===

impl Slot {
    fn place(&self) -> std::sync::MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Registry ===

impl Registry {
    fn groups(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Vec<Arc<Slot>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, prefix: Arc<str>, slot: Arc<Slot>) {
        self.groups().entry(prefix).or_default().push(slot);
    }

    fn remove(&self, prefix: &str, slot: &Arc<Slot>) {
        let mut groups = self.groups();
        if let Some(slots) = groups.get_mut(prefix) {
            slots.retain(|other| !Arc::ptr_eq(other, slot));
            if slots.is_empty() {
                groups.remove(prefix);
            }
        }
    }

    /// The wakers of the watches that wait for one of these changes, numbered from `first` on.
    /// They are to be woken when no lock is held.
    pub(crate) fn take_waiting(&self, first: u64, changes: &[Change]) -> Vec<Waker> {
        let mut wakers = Vec::new();
        for (prefix, slots) in &*self.groups() {
            let found =
                (first..).zip(changes).find(|(_, change)| change.key.starts_with(&**prefix));
            let Some((number, _)) = found else { continue };
            for slot in slots {
                let mut place = slot.place();
                if let Some(waker) = place.waker.take() {
                    place.next = number;
                    wakers.push(waker);
                }
            }
        }
        wakers
    }

    /// The wakers of all watches that wait.
    pub(crate) fn take_all(&self) -> Vec<Waker> {
        let groups = self.groups();
        groups.values().flatten().filter_map(|slot| slot.place().waker.take()).collect()
    }
}

// === impl Watch ===

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, prefix: &str, next: u64) -> Self {
        let prefix: Arc<str> = prefix.into();
        let slot = Arc::new(Slot(Mutex::new(Place { next, waker: None })));
        shared.watches.add(prefix.clone(), slot.clone());
        Self { shared, prefix, slot, ended: false }
    }

    /// The next event, if there is one now. `None` also when the watch has ended.
    pub fn try_next(&mut self) -> Option<Result<Event, TooOld>> {
        match self.advance(None) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    /// The newest revision up to which all events were returned. It also rises with changes that
    /// are not under the prefix, so a reader that resumes from here repeats and misses nothing.
    #[must_use]
    pub fn revision(&self) -> Revision {
        let memory = self.shared.memory();
        let place = self.slot.place();
        if place.waker.is_some() { memory.revision() } else { memory.seen(place.next) }
    }

    fn advance(&mut self, waker: Option<&Waker>) -> Poll<Option<Result<Event, TooOld>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let memory = self.shared.memory();
            let mut place = self.slot.place();
            if place.waker.take().is_some() {
                place.next = memory.end();
            }
            match memory.find(&self.prefix, place.next, SCAN_STEP) {
                Lookup::Found { next, event } => {
                    place.next = next;
                    return Poll::Ready(Some(Ok(event)));
                }
                Lookup::TooOld => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(TooOld { floor: memory.floor() })));
                }
                Lookup::Nothing { next } => place.next = next,
            }
            if place.next >= memory.end() {
                if self.shared.is_closed() {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                place.waker = waker.cloned();
                return Poll::Pending;
            }
        }
    }
}

impl Stream for Watch {
    type Item = Result<Event, TooOld>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.advance(Some(context.waker()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.watches.remove(&self.prefix, &self.slot);
    }
}
