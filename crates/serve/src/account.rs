//! What each connection holds in memory, and the bound on all of it.
//!
//! A connection holds the heads of its requests in progress, the bodies that the service has read,
//! the answers that the peer has not taken, and what waits in the buffers of the connection itself.
//! While its answers exceed [`Limits::answer_bytes`], its further requests wait. When all
//! connections together exceed [`Limits::memory_bytes`], the serving loop closes the one that holds
//! the most, weighted by how long it has taken nothing.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Mutex, Notify};

use crate::Limits;

/// The memory of all connections of a server.
#[derive(Debug)]
pub(super) struct Memory {
    bytes: AtomicUsize,
    limit: usize,
    exceeded: Notify,
}

/// The memory of one connection.
#[derive(Debug)]
pub(super) struct Account {
    memory: Arc<Memory>,
    answer_limit: usize,
    unread_limit: usize,
    /// Requests in progress, with what the service has read of their bodies.
    requests: AtomicUsize,
    /// Answers that are not sent completely, and their parts that the connection has not sent.
    answers: AtomicUsize,
    /// Read from the socket since the last request began. Bytes of a head that is not complete; of
    /// the rest, no more than a head may have is counted.
    unread: AtomicUsize,
    /// Notified when answers have become fewer.
    taken: Notify,
    /// Set at the end of the connection, so that no waiting request starts then.
    closed: AtomicBool,
    /// The one request that waits for that; the others wait for their turn, in order.
    turn: Mutex<()>,
}

/// What an entry of an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Request,
    Answer,
}

/// Bytes that are held on behalf of a connection, until it is dropped.
pub struct Held {
    account: Arc<Account>,
    purpose: Purpose,
    bytes: usize,
}

/// Bytes that were passed to the connection.
struct Part {
    bytes: Bytes,
    _held: Held,
}

// === impl Memory ===

impl Memory {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicUsize::new(0),
            limit: limits.memory_bytes,
            exceeded: Notify::new(),
        })
    }

    /// Waits until the limit is exceeded. Cancellation safe.
    pub(super) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// Bytes above the limit.
    pub(super) fn excess(&self) -> usize {
        self.bytes.load(Ordering::Relaxed).saturating_sub(self.limit)
    }

    fn grow(&self, bytes: usize) {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.limit {
            self.exceeded.notify_one();
        }
    }

    fn shrink(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// === impl Account ===

impl Account {
    pub(super) fn new(memory: Arc<Memory>, limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            memory,
            answer_limit: limits.answer_bytes,
            unread_limit: usize::try_from(limits.head_bytes).unwrap_or(usize::MAX),
            requests: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            taken: Notify::new(),
            closed: AtomicBool::new(false),
            turn: Mutex::new(()),
        })
    }

    /// All bytes that the connection holds.
    pub(super) fn bytes(&self) -> usize {
        let all = [&self.requests, &self.answers, &self.unread];
        all.iter().map(|part| part.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn hold_request(account: &Arc<Self>, bytes: usize) -> Held {
        Held::new(account, Purpose::Request, bytes)
    }

    pub(super) fn hold_answer(account: &Arc<Self>, bytes: usize) -> Held {
        Held::new(account, Purpose::Answer, bytes)
    }

    /// Whether the next request may be answered.
    pub(super) fn has_room(&self) -> bool {
        let answers = self.answers.load(Ordering::Relaxed);
        answers < self.answer_limit && !self.closed.load(Ordering::Relaxed)
    }

    /// Ends all waiting: [`Self::has_room`] stays false.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Waits for [`Self::has_room`], in the order of the calls. Cancellation safe.
    pub(super) async fn room(&self) {
        let _turn = self.turn.lock().await;
        loop {
            let mut taken = pin!(self.taken.notified());
            taken.as_mut().enable();
            if self.has_room() {
                return;
            }
            taken.await;
        }
    }

    /// The same bytes, which count until their last clone is dropped: until they are sent, or will
    /// never be.
    pub(super) fn passed(account: &Arc<Self>, bytes: Bytes) -> Bytes {
        let held = Self::hold_answer(account, bytes.len());
        Bytes::from_owner(Part { bytes, _held: held })
    }

    /// Notes bytes that were read from the socket.
    pub(super) fn read(&self, bytes: usize) {
        let limit = self.unread_limit;
        let more = |unread: usize| Some(unread.saturating_add(bytes).min(limit));
        let before = self.unread.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        let before = before.unwrap_or_default();
        self.memory.grow(before.saturating_add(bytes).min(limit) - before.min(limit));
    }

    /// Notes that a request began, which ends the head that was being read.
    pub(super) fn head_complete(&self) {
        self.memory.shrink(self.unread.swap(0, Ordering::Relaxed));
    }

    fn part(&self, purpose: Purpose) -> &AtomicUsize {
        match purpose {
            Purpose::Request => &self.requests,
            Purpose::Answer => &self.answers,
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.memory.shrink(self.bytes());
    }
}

// === impl Held ===

impl Held {
    fn new(account: &Arc<Account>, purpose: Purpose, bytes: usize) -> Self {
        let mut held = Self { account: Arc::clone(account), purpose, bytes: 0 };
        held.grow(bytes);
        held
    }

    /// Holds more bytes.
    pub fn grow(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.account.part(self.purpose).fetch_add(bytes, Ordering::Relaxed);
        self.account.memory.grow(bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.part(self.purpose).fetch_sub(self.bytes, Ordering::Relaxed);
        self.account.memory.shrink(self.bytes);
        if self.purpose == Purpose::Answer && self.bytes > 0 {
            self.account.taken.notify_waiters();
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Held").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

// === impl Part ===

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf as _;
    use futures_util::FutureExt as _;

    use super::*;

    fn account(answer_bytes: usize, memory_bytes: usize) -> Arc<Account> {
        let limits = Limits { answer_bytes, memory_bytes, head_bytes: 50, ..Limits::default() };
        Account::new(Memory::new(&limits), &limits)
    }

    #[test]
    fn every_byte_is_given_back() {
        let account = account(100, 1000);
        let memory = Arc::clone(&account.memory);
        let mut request = Account::hold_request(&account, 10);
        request.grow(5);
        let answer = Account::hold_answer(&account, 20);
        let mut part = Account::passed(&account, Bytes::from_static(&[0; 30]));
        account.read(7);
        assert_eq!((account.bytes(), memory.bytes.load(Ordering::Relaxed)), (72, 72));
        // A part counts while any piece of it is left.
        let piece = part.split_to(10);
        drop(part);
        account.read(1_000);
        assert_eq!((account.bytes(), memory.bytes.load(Ordering::Relaxed)), (115, 115));
        account.head_complete();
        drop((request, answer, piece));
        assert_eq!((account.bytes(), memory.bytes.load(Ordering::Relaxed)), (0, 0));
        account.read(9);
        drop(account);
        assert_eq!(memory.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn requests_wait_while_the_answers_of_their_connection_are_not_taken() {
        let account = account(100, 1000);
        let answer = Account::hold_answer(&account, 60);
        assert!(account.room().now_or_never().is_some());
        let mut part = Account::passed(&account, Bytes::from_static(&[0; 60]));
        let mut waiting = Box::pin(account.room());
        assert!(waiting.as_mut().now_or_never().is_none());
        part.advance(10);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(answer);
        assert!(waiting.now_or_never().is_some());
    }

    #[test]
    fn the_limit_of_all_connections_is_reported() {
        let account = account(100, 50);
        let held = Account::hold_request(&account, 50);
        assert!(account.memory.exceeded().now_or_never().is_none());
        let _more = Account::hold_answer(&account, 1);
        assert!(account.memory.exceeded().now_or_never().is_some());
        assert_eq!(account.memory.excess(), 1);
        drop(held);
        assert_eq!(account.memory.excess(), 0);
    }
}
