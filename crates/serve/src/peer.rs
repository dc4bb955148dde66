//! The other end of a connection, as services and the serving loop see it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use crate::Limits;
use crate::account::{Account, Held, Memory};
use crate::activity::Activity;

/// The connection of a request, in the extensions of every request that came over the network.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

/// Put into the extensions of a response: the service has counted its bytes itself. Other responses
/// count with the size of their body.
#[derive(Debug, Clone)]
pub struct Counted(pub Arc<Held>);

struct Inner {
    id: u64,
    address: SocketAddr,
    activity: Arc<Activity>,
    account: Arc<Account>,
    /// Set by the service for connections that sent a request without valid credentials.
    suspect: AtomicBool,
    /// Notified when the connection must make room for others.
    leave: Notify,
}

// === impl Peer ===

impl Peer {
    pub(super) fn new(id: u64, address: SocketAddr, memory: &Arc<Memory>, limits: &Limits) -> Self {
        Self(Arc::new(Inner {
            id,
            address,
            activity: Arc::default(),
            account: Account::new(Arc::clone(memory), limits),
            suspect: AtomicBool::new(false),
            leave: Notify::new(),
        }))
    }

    /// A number that no other connection of this server has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The address of the peer.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Marks the connection as one that sent a request without valid credentials.
    pub fn suspect(&self) {
        self.0.suspect.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::suspect`] was called.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.0.suspect.load(Ordering::Relaxed)
    }

    /// Counts bytes that the service holds for a request, such as its body.
    #[must_use]
    pub fn hold_request(&self, bytes: usize) -> Held {
        Account::hold_request(&self.0.account, bytes)
    }

    /// Counts bytes of an answer.
    #[must_use]
    pub fn hold_answer(&self, bytes: usize) -> Held {
        Account::hold_answer(&self.0.account, bytes)
    }

    /// Whether the peer has taken enough of its answers for the next one to be made.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.account.has_room()
    }

    /// Waits for [`Self::has_room`]. Requests that wait here count as waiting for the peer.
    /// Cancellation safe.
    pub async fn room(&self) {
        if !self.has_room() {
            let _waiting = Activity::wait(&self.0.activity);
            self.0.account.room().await;
        }
    }

    pub(super) fn activity(&self) -> &Arc<Activity> {
        &self.0.activity
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.0.account
    }

    /// Tells the connection to close.
    pub(super) fn leave(&self) {
        self.0.leave.notify_one();
    }

    /// Waits for [`Self::leave`]. Cancellation safe.
    pub(super) async fn told_to_leave(&self) {
        self.0.leave.notified().await;
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Peer").field(&self.0.address).finish()
    }
}
