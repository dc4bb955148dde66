//! A local copy of one resource that never lags behind the controller's own writes.
//!
//! The copy is fed by a watch, and by the answers to the controller's own requests ([`Mirror::wrote`]). So right after a pod is made the copy has
//! it, whether or not its watch event has come; a plan made from the copy cannot make it twice, and there is nothing to wait for.
//!
//! What keeps the two sources in order is the resource version. A watch delivers the changes of its resource in order, so an answer whose version
//! the watch has passed already is old news and is left out (its object may be gone by now); and an event older than what is there
//! is left out likewise.
//!
//! A relist (watch events `Init` to `InitDone`) removes what it does not bring, except for what was written while it ran. An answer that no
//! watch event confirms within [`UNCONFIRMED_FOR`] is dropped: then the watch is far behind, and the server itself refuses what would be double.

use super::object::{Identity, Key, Owner};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer is believed without a watch event.
const UNCONFIRMED_FOR: Duration = Duration::from_secs(30);

/// The objects of one resource, as `V` sees them.
#[derive(Debug)]
pub(super) struct Mirror<V> {
    entries: HashMap<Key, Entry<V>>,
    /// The keys of the objects that an owner (by uid) controls.
    by_owner: HashMap<String, BTreeSet<Key>>,
    /// The newest version the watch has delivered.
    position: u64,
    /// Counts the relists: entries that the current one has not brought are from before.
    listing: u64,
    /// The newest version that the running relist has brought.
    listed_up_to: u64,
}

#[derive(Debug)]
struct Entry<V> {
    uid: String,
    owner: Option<Owner>,
    version: u64,
    value: V,
    /// The last relist, finished or not, that this entry was brought by or written after.
    listing: u64,
    /// When it was written, until a watch event confirms it.
    unconfirmed: Option<Instant>,
}

impl<V> Default for Mirror<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            by_owner: HashMap::new(),
            position: 0,
            listing: 0,
            listed_up_to: 0,
        }
    }
}

impl<V: Clone> Mirror<V> {
    /// A relist begins.
    pub(super) fn list_begins(&mut self) {
        self.listing += 1;
        self.listed_up_to = 0;
    }

    /// A relist brings an object.
    pub(super) fn listed(&mut self, identity: Identity, owner: Option<Owner>, value: V) {
        self.listed_up_to = self.listed_up_to.max(identity.version);
        self.put(identity, owner, value, None);
    }

    /// A relist is complete; gives the owners of what is gone, or the keys of what has none.
    pub(super) fn list_ends(&mut self) -> Vec<Key> {
        self.position = self.position.max(self.listed_up_to);
        let gone = self.entries.iter().filter(|(_, entry)| entry.listing < self.listing);
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        gone.into_iter().map(|key| self.remove(&key).map_or(key, |owner| owner.key)).collect()
    }

    /// A watch delivers an object.
    pub(super) fn watched(&mut self, identity: Identity, owner: Option<Owner>, value: V) {
        if identity.version != 0 && identity.version <= self.position {
            // Told before. Its object may be gone by now, and would be waited for for ever.
            return;
        }
        self.position = self.position.max(identity.version);
        self.put(identity, owner, value, None);
    }

    /// A watch tells of a deletion.
    pub(super) fn deleted(&mut self, identity: &Identity) {
        self.position = self.position.max(identity.version);
        self.forget(&identity.key, &identity.uid);
    }

    /// The server answered a write of our own with this object.
    pub(super) fn wrote(
        &mut self,
        identity: Identity,
        owner: Option<Owner>,
        value: V,
        now: Instant,
    ) {
        if identity.version > self.position || identity.version == 0 {
            self.put(identity, owner, value, Some(now));
        }
    }

    /// The server says that this very object does not exist.
    pub(super) fn forget(&mut self, key: &Key, uid: &str) {
        if self.entries.get(key).is_some_and(|entry| entry.uid == uid) {
            self.remove(key);
        }
    }

    /// One object.
    pub(super) fn get(&self, key: &Key) -> Option<V> {
        self.entries.get(key).map(|entry| entry.value.clone())
    }

    /// The keys of all objects, in any order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.entries.keys()
    }

    /// All objects, in any order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.values().map(|entry| &entry.value)
    }

    /// What an owner controls.
    pub(super) fn owned_by(&mut self, uid: &str, now: Instant) -> Vec<V> {
        let keys: Vec<Key> = self.by_owner.get(uid).into_iter().flatten().cloned().collect();
        let mut owned = Vec::with_capacity(keys.len());
        for key in keys {
            match self.entries.get(&key) {
                Some(Entry { unconfirmed: Some(since), .. })
                    if now.duration_since(*since) > UNCONFIRMED_FOR =>
                {
                    self.remove(&key);
                }
                Some(entry) => owned.push(entry.value.clone()),
                None => {}
            }
        }
        owned
    }

    fn put(
        &mut self,
        identity: Identity,
        owner: Option<Owner>,
        value: V,
        unconfirmed: Option<Instant>,
    ) {
        let Identity { key, uid, version } = identity;
        if let Some(entry) = self.entries.get_mut(&key) {
            if version < entry.version && unconfirmed.is_none() {
                // Older than an answer of our own, but it shows that the object is there.
                entry.listing = self.listing;
                return;
            }
            if version < entry.version {
                return;
            }
            self.remove(&key);
        }
        if let Some(owner) = &owner {
            self.by_owner.entry(owner.uid.clone()).or_default().insert(key.clone());
        }
        let listing = self.listing;
        self.entries.insert(key, Entry { uid, owner, version, value, listing, unconfirmed });
    }

    /// Removes an entry; gives its owner.
    fn remove(&mut self, key: &Key) -> Option<Owner> {
        let owner = self.entries.remove(key)?.owner?;
        if let Some(keys) = self.by_owner.get_mut(&owner.uid) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_owner.remove(&owner.uid);
            }
        }
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "n".to_owned(), name: name.to_owned() }
    }

    fn identity(name: &str, uid: &str, version: u64) -> Identity {
        Identity { key: key(name), uid: uid.to_owned(), version }
    }

    fn owner() -> Option<Owner> {
        Some(Owner { uid: "job".to_owned(), key: key("digits") })
    }

    struct Mirrored(Mirror<u64>, Instant);

    impl Mirrored {
        /// A mirror whose first list is done.
        fn new() -> Self {
            let mut mirror = Mirror::default();
            mirror.list_begins();
            mirror.list_ends();
            Self(mirror, Instant::now())
        }

        fn watched(&mut self, name: &str, uid: &str, version: u64) {
            self.0.watched(identity(name, uid, version), owner(), version);
        }

        fn wrote(&mut self, name: &str, uid: &str, version: u64) {
            self.0.wrote(identity(name, uid, version), owner(), version, self.1);
        }

        fn all(&mut self) -> Vec<u64> {
            self.0.owned_by("job", self.1)
        }
    }

    #[test]
    fn an_answer_is_there_before_its_event_and_the_event_changes_nothing() {
        let mut mirror = Mirrored::new();
        mirror.wrote("a", "u", 5);
        assert_eq!(mirror.all(), [5]);
        mirror.watched("a", "u", 5);
        assert_eq!(mirror.all(), [5]);
    }

    #[test]
    fn an_answer_that_the_watch_has_passed_does_not_bring_a_deleted_object_back() {
        let mut mirror = Mirrored::new();
        mirror.watched("a", "u", 5);
        mirror.0.deleted(&identity("a", "u", 6));
        mirror.wrote("a", "u", 5);
        assert_eq!(mirror.all(), [0_u64; 0]);
    }

    #[test]
    fn an_event_that_comes_again_does_not_bring_a_deleted_object_back() {
        let mut mirror = Mirrored::new();
        mirror.watched("a", "u", 5);
        mirror.0.deleted(&identity("a", "u", 6));
        mirror.watched("a", "u", 5);
        assert_eq!(mirror.all(), [0_u64; 0]);
    }

    #[test]
    fn an_event_older_than_an_answer_is_left_out() {
        let mut mirror = Mirrored::new();
        mirror.watched("a", "u", 5);
        mirror.wrote("a", "u", 9);
        mirror.watched("a", "u", 7);
        assert_eq!(mirror.all(), [9]);
        mirror.watched("a", "u", 10);
        assert_eq!(mirror.all(), [10]);
    }

    #[test]
    fn a_deletion_takes_only_the_object_it_names() {
        let mut mirror = Mirrored::new();
        mirror.wrote("a", "u2", 8);
        mirror.0.deleted(&identity("a", "u1", 7));
        assert_eq!(mirror.all(), [8]);
        mirror.0.forget(&key("a"), "u1");
        assert_eq!(mirror.all(), [8]);
        mirror.0.forget(&key("a"), "u2");
        assert_eq!(mirror.all(), [0_u64; 0]);
    }

    #[test]
    fn a_relist_removes_what_it_does_not_bring() {
        let mut mirror = Mirrored::new();
        mirror.watched("a", "u1", 1);
        mirror.watched("b", "u2", 2);
        mirror.wrote("c", "u3", 3);
        mirror.0.list_begins();
        mirror.0.listed(identity("b", "u2", 2), owner(), 2);
        assert_eq!(mirror.all().len(), 3, "nothing goes before the list is complete");
        assert_eq!(mirror.0.list_ends(), [key("digits"), key("digits")], "their job is concerned");
        assert_eq!(mirror.all(), [2]);
    }

    #[test]
    fn what_is_written_during_a_relist_stays() {
        let mut mirror = Mirrored::new();
        mirror.0.list_begins();
        mirror.0.listed(identity("b", "u2", 2), owner(), 2);
        mirror.wrote("c", "u3", 3);
        assert_eq!(mirror.0.list_ends(), []);
        assert_eq!(mirror.all(), [2, 3]);
    }

    #[test]
    fn a_relist_that_is_behind_an_answer_keeps_the_answer() {
        let mut mirror = Mirrored::new();
        mirror.watched("a", "u", 5);
        mirror.wrote("a", "u", 9);
        mirror.0.list_begins();
        mirror.0.listed(identity("a", "u", 7), owner(), 7);
        assert_eq!(mirror.0.list_ends(), []);
        assert_eq!(mirror.all(), [9]);
    }

    #[test]
    fn an_answer_without_confirmation_is_believed_for_a_while_only() {
        let mut mirror = Mirrored::new();
        mirror.wrote("a", "u", 5);
        mirror.1 += UNCONFIRMED_FOR;
        assert_eq!(mirror.all(), [5]);
        mirror.1 += Duration::from_millis(1);
        assert_eq!(mirror.all(), [0_u64; 0]);
        mirror.watched("a", "u", 5);
        mirror.1 += UNCONFIRMED_FOR * 2;
        assert_eq!(mirror.all(), [5]);
    }

    #[test]
    fn an_object_that_changes_its_owner_is_listed_under_the_new_one() {
        let mut mirror = Mirrored::new();
        mirror.watched("a", "u", 1);
        mirror.0.watched(
            identity("a", "u2", 2),
            Some(Owner { uid: "other".to_owned(), key: key("b") }),
            2,
        );
        assert_eq!(mirror.all(), [0_u64; 0]);
        assert_eq!(mirror.0.owned_by("other", mirror.1), [2]);
    }
}
