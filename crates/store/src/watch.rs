//! Watches: positions in the history, with a waker each.
//!
//! A watch has no buffer. It reads the history when it is polled. If there is no event for it, the
//! committer wakes it at the next change under its prefix. A watch that is polled too rarely finds
//! that its position has left the history and ends with [`TooOld`]; no writer waits for it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use crate::{Event, Revision, TooOld, memory::Lookup, registry::Slot, shared::Shared};

/// The most changes that are examined under one read lock, so that a watch that skips many changes
/// of other keys does not delay the committer.
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

// === impl Watch ===

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, prefix: &str, next: u64) -> Self {
        let prefix: Arc<str> = prefix.into();
        let slot = Arc::new(Slot::new(next));
        shared.watches.add(prefix.clone(), slot.clone());
        Self { shared, prefix, slot, ended: false }
    }

    /// The next event, if there is one now; `None` also if the watch has ended.
    pub fn try_next(&mut self) -> Option<Result<Event, TooOld>> {
        match self.advance(None) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    /// The newest revision up to which all events were returned. It also rises with changes of
    /// other prefixes, so a reader that resumes from here repeats and misses nothing.
    #[must_use]
    pub fn revision(&self) -> Revision {
        let memory = self.shared.memory();
        let cursor = self.slot.cursor();
        if cursor.waker.is_some() { memory.revision() } else { memory.seen(cursor.next) }
    }

    fn advance(&mut self, waker: Option<&Waker>) -> Poll<Option<Result<Event, TooOld>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            let memory = self.shared.memory();
            let mut cursor = self.slot.cursor();
            if cursor.waker.take().is_some() {
                cursor.next = memory.end();
            }
            match memory.find(&self.prefix, cursor.next, SCAN_STEP) {
                Lookup::Found { next, event } => {
                    cursor.next = next;
                    return Poll::Ready(Some(Ok(event)));
                }
                Lookup::TooOld => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(TooOld { floor: memory.floor() })));
                }
                Lookup::Nothing { next } => cursor.next = next,
            }
            if cursor.next >= memory.end() {
                if self.shared.is_closed() {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                cursor.waker = waker.cloned();
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
