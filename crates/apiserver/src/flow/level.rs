//! A priority level: a [`Queue`] whose requests are tasks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::queue::{Bounds, Entry, Queue, Ticket};
use crate::error::ApiError;

/// How long a request waits for a seat: upstream's quarter of a minute.
const WAIT: Duration = Duration::from_secs(15);

/// A priority level.
#[derive(Debug)]
pub(super) struct Level {
    /// Locked for one operation of the queue.
    state: Mutex<State>,
    rejected: [AtomicU64; 3],
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// The requests that wait. Each gets a message when it has a seat.
    waiting: HashMap<Ticket, oneshot::Sender<()>>,
}

/// Why a request is answered with 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// Too many requests are in flight.
    Full,
    /// It has waited for too long.
    Waited,
    /// Its user has too many long-running requests.
    Streams,
}

/// A request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Arrival {
    level: Arc<Level>,
    flow: Arc<str>,
}

/// A seat, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Set while the request waits for it.
    waiting: Option<Ticket>,
    level: Arc<Level>,
    flow: Arc<str>,
}

// === impl Level ===

impl Level {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        let state = State { queue: Queue::new(bounds), waiting: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), rejected: Default::default() })
    }

    /// Counts a request as in flight.
    pub(super) fn arrive(self: &Arc<Self>, flow: &Arc<str>) -> Result<Arrival, ApiError> {
        if self.state.lock().queue.arrive(flow) {
            return Ok(Arrival { level: Arc::clone(self), flow: Arc::clone(flow) });
        }
        self.reject(Rejection::Full);
        Err(ApiError::overloaded())
    }

    /// Waits for a seat. Cancellation safe.
    pub(super) async fn seat(self: &Arc<Self>, flow: &Arc<str>) -> Seat {
        let (mut seat, told) = {
            let mut state = self.state.lock();
            let mut seat = Seat { waiting: None, level: Arc::clone(self), flow: Arc::clone(flow) };
            match state.queue.sit(flow) {
                Entry::Seated => return seat,
                Entry::Waiting(ticket) => {
                    let (tell, told) = oneshot::channel();
                    state.waiting.insert(ticket, tell);
                    seat.waiting = Some(ticket);
                    (seat, told)
                }
            }
        };
        // The sender is dropped only after it has sent.
        let _ = told.await;
        seat.waiting = None;
        seat
    }

    pub(super) fn reject(&self, reason: Rejection) {
        let [full, waited, streams] = &self.rejected;
        let count = match reason {
            Rejection::Full => full,
            Rejection::Waited => waited,
            Rejection::Streams => streams,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The rejected requests, by upstream's names of the reasons.
    pub(super) fn rejected(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.rejected.each_ref().map(|count| count.load(Ordering::Relaxed));
        ["queue-full", "time-out", "concurrency-limit"].into_iter().zip(counts)
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().queue.waiting()
    }

    pub(super) fn executing(&self) -> usize {
        self.state.lock().queue.executing()
    }
}

// === impl State ===

impl State {
    /// Frees a seat, and tells the request that gets it.
    fn rise(&mut self, flow: &Arc<str>) {
        let tell = self.queue.rise(flow).and_then(|ticket| self.waiting.remove(&ticket));
        // A request that has given up finds that it is seated, and gives the seat back itself.
        let _ = tell.map(|tell| tell.send(()));
    }
}

// === impl Arrival ===

impl Arrival {
    /// Waits for a seat, for a bounded time. Cancellation safe.
    ///
    /// # Errors
    /// 429 after that time.
    pub(crate) async fn seat(&self) -> Result<Seat, ApiError> {
        match tokio::time::timeout(WAIT, self.level.seat(&self.flow)).await {
            Ok(seat) => Ok(seat),
            Err(_) => {
                self.level.reject(Rejection::Waited);
                Err(ApiError::overloaded())
            }
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.level.state.lock().queue.depart(&self.flow);
    }
}

// === impl Seat ===

impl Seat {
    pub(super) fn level(&self) -> &Arc<Level> {
        &self.level
    }

    pub(super) fn flow(&self) -> &Arc<str> {
        &self.flow
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.level.state.lock();
        if let Some(ticket) = self.waiting
            && state.queue.cancel(&self.flow, ticket)
        {
            state.waiting.remove(&ticket);
            return;
        }
        state.rise(&self.flow);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const BOUNDS: Bounds = Bounds { seats: 1, flow: 8, all: 8 };

    #[tokio::test]
    async fn a_request_that_gives_up_keeps_no_seat() {
        let level = Level::new(BOUNDS);
        let flow: Arc<str> = "a".into();
        let _arrivals = [(); 3].map(|()| level.arrive(&flow).unwrap());
        let first = level.seat(&flow).await;
        let mut second = Box::pin(level.seat(&flow));
        let mut third = Box::pin(level.seat(&flow));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert_eq!((level.executing(), level.waiting()), (1, 2));
        // The second one has a seat and gives up before it learns that.
        drop(first);
        drop(second);
        let third = third.now_or_never().unwrap();
        let mut fourth = Box::pin(level.seat(&flow));
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(fourth);
        assert_eq!((level.executing(), level.waiting()), (1, 0));
        drop(third);
        assert_eq!(level.executing(), 0);
        assert!(level.state.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn too_many_requests_in_flight_are_rejected() {
        let level = Level::new(BOUNDS);
        let flow: Arc<str> = "a".into();
        let arrivals = [(); 8].map(|()| level.arrive(&flow).unwrap());
        let error = level.arrive(&flow).unwrap_err();
        assert_eq!((error.status().code, error.retry_after()), (Some(429), Some(1)));
        drop(arrivals);
        assert!(level.arrive(&flow).is_ok());
        assert_eq!(level.rejected().next(), Some(("queue-full", 1)));
    }
}
