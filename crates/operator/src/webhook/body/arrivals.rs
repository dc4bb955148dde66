//! Who is on the way, with how much, and who is given up when it is too much. No I/O and no clock.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

/// The bodies that have not been answered.
#[derive(Debug)]
pub(super) struct Arrivals {
    bytes: usize,
    count: usize,
    held: usize,
    next: u64,
    /// In the order in which they began.
    bodies: BTreeMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    /// Dropped when the body is given up; none once it is there as a whole, since its answer is near then.
    arriving: Option<oneshot::Sender<()>>,
}

/// A body that begins to arrive.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) number: u64,
    /// Ends when the body is given up.
    pub(super) given_up: oneshot::Receiver<()>,
}

// === impl Arrivals ===

impl Arrivals {
    pub(super) fn new(bytes: usize, count: usize) -> Self {
        Self { bytes, count, held: 0, next: 0, bodies: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// A body begins; `None` if all that there are wait for their answers.
    pub(super) fn enter(&mut self) -> Option<Arrival> {
        if self.bodies.len() >= self.count {
            let oldest = self.oldest(|_| true)?;
            self.leave(oldest);
        }
        let number = self.next;
        self.next += 1;
        let (arriving, given_up) = oneshot::channel();
        self.bodies.insert(number, Held { bytes: 0, arriving: Some(arriving) });
        Some(Arrival { number, given_up })
    }

    /// More of a body has arrived; `false` if it has been given up, or is now.
    pub(super) fn grow(&mut self, number: u64, bytes: usize) -> bool {
        while self.held + bytes > self.bytes && self.bodies.contains_key(&number) {
            let gives_room = |(other, held): (u64, &Held)| other == number || held.bytes > 0;
            let Some(oldest) = self.oldest(gives_room) else { break };
            self.leave(oldest);
        }
        let Some(held) = self.bodies.get_mut(&number) else { return false };
        held.bytes += bytes;
        self.held += bytes;
        true
    }

    /// A body is there as a whole and is not given up any more; `false` if it has been.
    pub(super) fn settle(&mut self, number: u64) -> bool {
        let body = self.bodies.get_mut(&number);
        body.map(|held| held.arriving = None).is_some()
    }

    /// A body is answered, or given up.
    pub(super) fn leave(&mut self, number: u64) {
        if let Some(held) = self.bodies.remove(&number) {
            self.held -= held.bytes;
        }
    }

    fn oldest(&self, is_meant: impl Fn((u64, &Held)) -> bool) -> Option<u64> {
        let mut arriving = self.bodies.iter().filter(|(_, held)| held.arriving.is_some());
        arriving.find(|(number, held)| is_meant((**number, held))).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_that_has_been_on_its_way_for_longest_makes_room() {
        let mut arrivals = Arrivals::new(10, 3);
        let enter = |arrivals: &mut Arrivals| arrivals.enter().unwrap();
        let mut idle = enter(&mut arrivals);
        let (mut first, mut second) = (enter(&mut arrivals), enter(&mut arrivals));
        assert!(arrivals.grow(first.number, 6) && arrivals.grow(second.number, 4));
        assert!(arrivals.grow(second.number, 1), "the first is given up for it");
        assert!(
            first.given_up.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        assert!(!arrivals.grow(first.number, 1));
        assert!(idle.given_up.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
        assert_eq!(arrivals.held(), 5);
        assert!(!arrivals.grow(second.number, 6), "none but itself");
        assert!(second.given_up.try_recv().is_err());
        assert_eq!(arrivals.held(), 0);
    }

    #[test]
    fn what_is_there_as_a_whole_is_kept_and_others_are_turned_away() {
        let mut arrivals = Arrivals::new(10, 2);
        let whole: Vec<_> = (0..2).map(|_| arrivals.enter().unwrap().number).collect();
        for number in &whole {
            assert!(arrivals.grow(*number, 4) && arrivals.settle(*number));
        }
        assert!(arrivals.enter().is_none(), "as many as there may be");
        arrivals.leave(whole[0]);
        let late = arrivals.enter().unwrap();
        assert!(arrivals.grow(late.number, 6));
        assert!(!arrivals.grow(late.number, 1), "as much as there may be");
        assert_eq!(arrivals.held(), 4);
        let next = arrivals.enter().unwrap();
        let last = arrivals.enter().unwrap();
        assert!(!arrivals.settle(next.number), "given up for the last");
        assert!(arrivals.settle(last.number));
    }
}
