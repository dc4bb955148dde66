//! Fair queueing: flows that share a number of seats. Pure; it knows no time and no tasks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Requests that may execute at the same time.
    pub(crate) seats: usize,
    /// Requests of one flow that may be in flight: executing, waiting, or still arriving.
    pub(crate) flow: usize,
    /// Requests of all flows that may be in flight.
    pub(crate) all: usize,
}

/// Requests in flight, by flow. Seats go to the flow that has the fewest, and among those to the
/// one that got its last seat the longest time ago, so that a flow with one request waits for at
/// most one request of each other flow.
#[derive(Debug)]
pub(crate) struct Queue {
    bounds: Bounds,
    flows: HashMap<Arc<str>, Flow>,
    in_flight: usize,
    executing: usize,
    waiting: usize,
    /// Counts the seats that were given and the requests that waited.
    turn: u64,
}

/// The requests of one flow. It is forgotten when none is in flight.
#[derive(Debug, Default)]
struct Flow {
    in_flight: usize,
    executing: usize,
    waiting: VecDeque<Ticket>,
    /// The turn of its last seat.
    last: u64,
}

/// The number of a waiting request.
pub(crate) type Ticket = u64;

/// The answer to a request that wants a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    Seated,
    Waiting(Ticket),
}

// === impl Queue ===

impl Queue {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, flows: HashMap::new(), in_flight: 0, executing: 0, waiting: 0, turn: 0 }
    }

    pub(crate) fn executing(&self) -> usize {
        self.executing
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Counts a request as in flight; false if there are too many.
    pub(crate) fn arrive(&mut self, flow: &Arc<str>) -> bool {
        if self.in_flight >= self.bounds.all {
            return false;
        }
        match self.flows.get_mut(flow) {
            Some(known) if known.in_flight >= self.bounds.flow => return false,
            Some(known) => known.in_flight += 1,
            None => {
                let new = Flow { in_flight: 1, ..Flow::default() };
                self.flows.insert(Arc::clone(flow), new);
            }
        }
        self.in_flight += 1;
        true
    }

    /// Ends a request that has arrived.
    pub(crate) fn depart(&mut self, flow: &Arc<str>) {
        let Some(known) = self.flows.get_mut(flow) else { return };
        known.in_flight -= 1;
        self.in_flight -= 1;
        if known.in_flight == 0 {
            self.flows.remove(flow);
        }
    }

    /// A seat for a request that has arrived, or a place in the queue of its flow.
    pub(crate) fn sit(&mut self, flow: &Arc<str>) -> Entry {
        self.turn += 1;
        let is_free = self.executing < self.bounds.seats;
        let known = self.flows.entry(Arc::clone(flow)).or_default();
        // With a free seat nobody waits: seats are given as soon as they are free.
        if is_free {
            known.executing += 1;
            known.last = self.turn;
            self.executing += 1;
            return Entry::Seated;
        }
        known.waiting.push_back(self.turn);
        self.waiting += 1;
        Entry::Waiting(self.turn)
    }

    /// Frees a seat. Returns the request that gets it, which is seated from now on.
    pub(crate) fn rise(&mut self, flow: &Arc<str>) -> Option<Ticket> {
        if let Some(known) = self.flows.get_mut(flow) {
            known.executing -= 1;
            self.executing -= 1;
        }
        if self.waiting == 0 || self.executing >= self.bounds.seats {
            return None;
        }
        let waiting = self.flows.values_mut().filter(|flow| !flow.waiting.is_empty());
        let next = waiting.min_by_key(|flow| {
            (flow.executing, flow.last, flow.waiting.front().copied().unwrap_or_default())
        })?;
        let ticket = next.waiting.pop_front()?;
        self.turn += 1;
        next.last = self.turn;
        next.executing += 1;
        self.executing += 1;
        self.waiting -= 1;
        Some(ticket)
    }

    /// Removes a request from the queue; false if it has a seat by now.
    pub(crate) fn cancel(&mut self, flow: &Arc<str>, ticket: Ticket) -> bool {
        let Some(known) = self.flows.get_mut(flow) else { return false };
        let Some(at) = known.waiting.iter().position(|waiting| *waiting == ticket) else {
            return false;
        };
        known.waiting.remove(at);
        self.waiting -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script: `+a` a request of flow `a` arrives and wants a seat, `-a` one of its seats is
    /// freed and the request departs, `xa` its oldest waiting request gives up. Returns the flows
    /// in the order of their seats, `!` for each request that was refused.
    fn run(bounds: Bounds, script: &str) -> (String, Queue) {
        let mut queue = Queue::new(bounds);
        let mut tickets: HashMap<Ticket, String> = HashMap::new();
        let mut seats = String::new();
        for step in script.split_whitespace() {
            let (action, name) = step.split_at(1);
            let flow: Arc<str> = name.into();
            match action {
                "+" if !queue.arrive(&flow) => seats.push('!'),
                "+" => match queue.sit(&flow) {
                    Entry::Seated => seats.push_str(name),
                    Entry::Waiting(ticket) => {
                        tickets.insert(ticket, name.to_owned());
                    }
                },
                "-" => {
                    if let Some(ticket) = queue.rise(&flow) {
                        seats.push_str(&tickets.remove(&ticket).unwrap());
                    }
                    queue.depart(&flow);
                }
                _ => {
                    let own = tickets.iter().filter(|(_, owner)| *owner == name);
                    let ticket = own.map(|(ticket, _)| *ticket).min().unwrap();
                    assert!(queue.cancel(&flow, ticket));
                    assert!(!queue.cancel(&flow, ticket));
                    tickets.remove(&ticket);
                    queue.depart(&flow);
                }
            }
            assert!(queue.executing() <= bounds.seats && queue.in_flight <= bounds.all);
        }
        (seats, queue)
    }

    #[test]
    fn seats_are_shared_fairly_between_flows() {
        let bounds = |seats| Bounds { seats, flow: 4, all: 9 };
        for (seats, script, expected) in [
            (1, "+a -a +b -b", "ab"),
            // One flow uses all seats while it is alone.
            (3, "+a +a +a", "aaa"),
            // A flow with many requests waits for one with few.
            (1, "+a +a +a +b -a -b -a", "abaa"),
            (2, "+a +a +a +a +b +b -a -a -b -b", "aababa"),
            // Each in turn.
            (1, "+a +a +a +b +b +c -a -b -c -a -b", "abcaba"),
            // A flow that comes back does not pass those that wait.
            (1, "+a +b +c -a +a -b -c", "abca"),
            (1, "+a +b +c xb -a", "ac"),
            // The flow's bound, and the bound of all.
            (1, "+a +a +a +a +a -a +a", "a!a"),
            (1, "+a +a +a +a +b +b +b +b +c +c", "a!"),
        ] {
            let (found, queue) = run(bounds(seats), script);
            assert_eq!(found, expected, "{seats}: {script}");
            let waiting: usize = queue.flows.values().map(|flow| flow.waiting.len()).sum();
            assert_eq!(queue.waiting(), waiting, "{script}");
        }
    }

    #[test]
    fn nothing_is_kept_of_a_flow_that_has_ended() {
        let bounds = Bounds { seats: 1, flow: 9, all: 9 };
        let (_, queue) = run(bounds, "+a +b +a xb -a -a");
        assert!(queue.flows.is_empty());
        assert_eq!((queue.executing(), queue.waiting(), queue.in_flight), (0, 0, 0));
    }
}
