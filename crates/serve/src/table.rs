//! The open connections: which one is accepted, and which one must leave when there are too many.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Limits;
use crate::account::Memory;
use crate::peer::Peer;

/// How many connections may be on their way out before the next one is accepted.
const LEAVING_MAX: usize = 32;

/// All open connections.
pub(super) struct Table {
    limits: Limits,
    memory: Arc<Memory>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    entries: HashMap<u64, Entry>,
    /// How many connections each origin has. No origin is kept without one.
    origins: HashMap<Origin, usize>,
    leaving: usize,
}

struct Entry {
    peer: Peer,
    origin: Origin,
    leaving: bool,
}

/// A place in the table, until it is dropped.
pub(super) struct Place {
    pub(super) peer: Peer,
    table: Arc<Table>,
}

/// Where a connection comes from. A customer of a network usually has all addresses of a /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    Loopback,
    Address(IpAddr),
    Network(u64),
}

/// What happens to a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Accept,
    /// The connection of this origin, or of any, that has been without a request for the longest
    /// time leaves.
    Replace(Pool),
}

/// Whose connections may have to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    Origin,
    Remote,
    Any,
}

// === impl Table ===

impl Table {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, memory: Memory::new(&limits), open: Mutex::default() })
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether the next connection may be accepted.
    pub(super) fn is_ready(&self) -> bool {
        self.open.lock().leaving < LEAVING_MAX
    }

    /// A place for a new connection; `None` if there is none and every other connection of the same
    /// share has a request in progress. Also whether another connection had to leave.
    pub(super) fn enter(table: &Arc<Self>, address: SocketAddr) -> (Option<Place>, bool) {
        let origin = Origin::of(address.ip());
        let mut open = table.open.lock();
        let decision = open.decide(origin, &table.limits);
        if let Decision::Replace(pool) = decision
            && !open.replace(origin, pool)
        {
            return (None, true);
        }
        let id = open.next_id;
        open.next_id += 1;
        let peer = Peer::new(id, address, &table.memory, &table.limits);
        open.entries.insert(id, Entry { peer: peer.clone(), origin, leaving: false });
        *open.origins.entry(origin).or_default() += 1;
        let place = Place { peer, table: Arc::clone(table) };
        (Some(place), decision != Decision::Accept)
    }

    /// Tells connections to leave until the memory of the rest is within the limit: first those
    /// that hold the most, weighted by how long they have taken nothing. Returns how many.
    pub(super) fn relieve(&self, now: Instant) -> usize {
        let mut open = self.open.lock();
        let leaving = open.entries.values().filter(|entry| entry.leaving);
        let mut freed: usize = leaving.map(|entry| entry.peer.account().bytes()).sum();
        let staying = open.entries.iter().filter(|(_, entry)| !entry.leaving);
        let mut worst: Vec<_> = staying
            .map(|(id, Entry { peer, .. })| {
                let (bytes, stalled) =
                    (peer.account().bytes(), peer.activity().without_progress(now));
                (bytes as u128 * (1_000 + stalled.as_millis()), bytes, *id)
            })
            .collect();
        worst.sort_unstable();
        let mut count = 0;
        while freed < self.memory.excess()
            && let Some((weight @ 1.., bytes, id)) = worst.pop()
        {
            tracing::debug!(id, bytes, %weight, "connection closed: too much memory in use");
            freed += bytes;
            count += 1;
            open.tell(id);
        }
        count
    }
}

// === impl Open ===

impl Open {
    fn decide(&self, origin: Origin, limits: &Limits) -> Decision {
        let count = |origin| self.origins.get(&origin).copied().unwrap_or_default();
        let (all, local) = (self.entries.len(), count(Origin::Loopback));
        let is_remote = origin != Origin::Loopback;
        if is_remote && count(origin) >= limits.per_origin() {
            Decision::Replace(Pool::Origin)
        } else if is_remote && all - local >= limits.remote() {
            Decision::Replace(Pool::Remote)
        } else if all >= limits.connections {
            Decision::Replace(Pool::Any)
        } else {
            Decision::Accept
        }
    }

    /// Tells the connection to leave that has been idle for the longest time; false if none is.
    fn replace(&mut self, origin: Origin, pool: Pool) -> bool {
        let candidates = self.entries.iter().filter(|(_, entry)| {
            !entry.leaving
                && match pool {
                    Pool::Origin => entry.origin == origin,
                    Pool::Remote => entry.origin != Origin::Loopback,
                    Pool::Any => true,
                }
        });
        let idle = candidates
            .filter_map(|(id, entry)| Some((entry.peer.activity().idle_since()?, *id)))
            .min();
        let Some((_, id)) = idle else { return false };
        self.tell(id);
        true
    }

    fn tell(&mut self, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id)
            && !entry.leaving
        {
            entry.leaving = true;
            self.leaving += 1;
            entry.peer.leave();
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.leaving -= usize::from(entry.leaving);
        if let Some(count) = self.origins.get_mut(&entry.origin) {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&entry.origin);
            }
        }
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.table.open.lock().remove(self.peer.id());
    }
}

// === impl Origin ===

impl Origin {
    fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        if address.is_loopback() {
            return Self::Loopback;
        }
        match address {
            IpAddr::V4(_) => Self::Address(address),
            IpAddr::V6(address) => {
                Self::Network(u64::try_from(address.to_bits() >> 64).unwrap_or(0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Activity;

    fn table(connections: usize) -> Arc<Table> {
        Table::new(Limits { connections, ..Limits::default() })
    }

    fn enter(table: &Arc<Table>, address: &str) -> Option<Place> {
        Table::enter(table, SocketAddr::new(address.parse().unwrap(), 1)).0
    }

    fn is_leaving(place: &Place) -> bool {
        place.table.open.lock().entries[&place.peer.id()].leaving
    }

    #[test]
    fn the_connection_without_a_request_for_the_longest_time_leaves() {
        let table = table(3);
        let places: Vec<_> = (0..3).map(|_| enter(&table, "127.0.0.1").unwrap()).collect();
        let busy = Activity::enter(places[1].peer.activity());
        drop(Activity::enter(places[0].peer.activity()));
        let fourth = enter(&table, "::1").unwrap();
        let leaving = || [&places[0], &places[1], &places[2], &fourth].map(is_leaving);
        assert_eq!(leaving(), [false, false, true, false]);
        let _fifth = enter(&table, "127.0.0.1").unwrap();
        assert_eq!(leaving(), [true, false, true, false]);
        drop(busy);
        drop(places);
        assert_eq!(table.open.lock().leaving, 0);
    }

    #[test]
    fn a_connection_is_refused_if_all_others_have_a_request() {
        let table = table(1);
        let place = enter(&table, "127.0.0.1").unwrap();
        let _busy = Activity::enter(place.peer.activity());
        assert!(enter(&table, "127.0.0.1").is_none());
    }

    #[test]
    fn one_address_gets_a_quarter_and_loopback_is_always_served() {
        let table = table(16);
        let mut places: Vec<_> = (0..4).map(|_| enter(&table, "192.0.2.1").unwrap()).collect();
        let mut busy: Vec<_> =
            places.iter().map(|place| Activity::enter(place.peer.activity())).collect();
        assert!(enter(&table, "192.0.2.1").is_none());
        // The same network, and an IPv4 address in another form.
        assert!(enter(&table, "::ffff:192.0.2.1").is_none());
        for address in ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:1::", "2001:db8::4"] {
            places.push(enter(&table, address).unwrap());
            busy.push(Activity::enter(places.last().unwrap().peer.activity()));
        }
        assert!(enter(&table, "2001:db8::5").is_none());
        for host in 1..=6 {
            places.push(enter(&table, &format!("198.51.100.{host}")).unwrap());
            busy.push(Activity::enter(places.last().unwrap().peer.activity()));
        }
        // Fourteen of sixteen are remote.
        assert!(enter(&table, "203.0.113.1").is_none());
        let local = [(); 2].map(|()| enter(&table, "127.0.0.1").unwrap());
        assert!(local.iter().all(|place| !is_leaving(place)));
        drop(busy);
    }

    #[test]
    fn the_connections_that_hold_the_most_for_the_longest_time_leave() {
        let limits = Limits { memory_bytes: 100, ..Limits::default() };
        let table = Table::new(limits);
        let [slow, large, small] = [(); 3].map(|()| enter(&table, "127.0.0.1").unwrap());
        let held = [(&slow, 60), (&large, 90), (&small, 20)]
            .map(|(place, bytes)| place.peer.hold_answer(bytes));
        let later = Instant::now() + std::time::Duration::from_secs(10);
        // Progress, seen at that time.
        drop(Activity::enter(large.peer.activity()));
        assert_eq!(table.relieve(later), 2);
        // The large one makes progress.
        assert_eq!([&slow, &large, &small].map(is_leaving), [true, false, true]);
        // Their memory counts until they are gone, but no more connections have to leave.
        assert_eq!(table.relieve(later), 0);
        drop(held);
        assert_eq!(table.memory.excess(), 0);
    }
}
