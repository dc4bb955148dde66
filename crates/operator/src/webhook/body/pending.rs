//! The bodies that are arriving or waiting, and which one is dropped when they are too many. No I/O
//! and no clock.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

/// The bodies without an answer.
#[derive(Debug)]
pub(super) struct PendingBodies {
    bytes: usize,
    count: usize,
    held: usize,
    next: u64,
    /// In the order of arrival.
    bodies: BTreeMap<u64, PendingBody>,
}

#[derive(Debug)]
struct PendingBody {
    bytes: usize,
    /// Dropped when the body is dropped; `None` once it is complete, since its answer comes soon.
    arriving: Option<oneshot::Sender<()>>,
}

/// A body that has begun to arrive.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) number: u64,
    /// Resolves when the body is dropped.
    pub(super) dropped: oneshot::Receiver<()>,
}

// === impl PendingBodies ===

impl PendingBodies {
    pub(super) fn new(bytes: usize, count: usize) -> Self {
        Self { bytes, count, held: 0, next: 0, bodies: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// A body begins to arrive; `None` if there is no room because all bodies are complete.
    pub(super) fn enter(&mut self) -> Option<Arrival> {
        if self.bodies.len() >= self.count {
            let oldest = self.oldest(|_| true)?;
            self.leave(oldest);
        }
        let number = self.next;
        self.next += 1;
        let (arriving, dropped) = oneshot::channel();
        self.bodies.insert(number, PendingBody { bytes: 0, arriving: Some(arriving) });
        Some(Arrival { number, dropped })
    }

    /// More of a body has arrived; `false` if the body was dropped, or is now.
    pub(super) fn grow(&mut self, number: u64, bytes: usize) -> bool {
        while self.held + bytes > self.bytes && self.bodies.contains_key(&number) {
            let frees_memory =
                |(other, held): (u64, &PendingBody)| other == number || held.bytes > 0;
            let Some(oldest) = self.oldest(frees_memory) else { break };
            self.leave(oldest);
        }
        let Some(held) = self.bodies.get_mut(&number) else { return false };
        held.bytes += bytes;
        self.held += bytes;
        true
    }

    /// A body is complete and cannot be dropped any more; `false` if it was.
    pub(super) fn complete(&mut self, number: u64) -> bool {
        let body = self.bodies.get_mut(&number);
        body.map(|held| held.arriving = None).is_some()
    }

    /// A body was answered or dropped.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(held) = self.bodies.remove(&number) {
            self.held -= held.bytes;
        }
    }

    fn oldest(&self, is_candidate: impl Fn((u64, &PendingBody)) -> bool) -> Option<u64> {
        let mut arriving = self.bodies.iter().filter(|(_, held)| held.arriving.is_some());
        arriving.find(|(number, held)| is_candidate((**number, held))).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_that_has_been_arriving_for_longest_is_dropped() {
        let mut pending = PendingBodies::new(10, 3);
        let enter = |pending: &mut PendingBodies| pending.enter().unwrap();
        let mut idle = enter(&mut pending);
        let (mut first, mut second) = (enter(&mut pending), enter(&mut pending));
        assert!(pending.grow(first.number, 6) && pending.grow(second.number, 4));
        assert!(pending.grow(second.number, 1), "the first is dropped for it");
        assert!(first.dropped.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
        assert!(!pending.grow(first.number, 1));
        assert!(idle.dropped.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
        assert_eq!(pending.held(), 5);
        assert!(!pending.grow(second.number, 6), "no other is left to drop");
        assert!(second.dropped.try_recv().is_err());
        assert_eq!(pending.held(), 0);
    }

    #[test]
    fn complete_bodies_are_kept_and_others_are_refused() {
        let mut pending = PendingBodies::new(10, 2);
        let complete: Vec<_> = (0..2).map(|_| pending.enter().unwrap().number).collect();
        for number in &complete {
            assert!(pending.grow(*number, 4) && pending.complete(*number));
        }
        assert!(pending.enter().is_none(), "the limit of bodies");
        pending.leave(complete[0]);
        let late = pending.enter().unwrap();
        assert!(pending.grow(late.number, 6));
        assert!(!pending.grow(late.number, 1), "the limit of bytes");
        assert_eq!(pending.held(), 4);
        let next = pending.enter().unwrap();
        let last = pending.enter().unwrap();
        assert!(!pending.complete(next.number), "dropped for the last");
        assert!(pending.complete(last.number));
    }
}
