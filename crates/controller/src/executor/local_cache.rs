//! A local copy of one resource that never lags behind the controller's own writes.
//!
//! A watch feeds the copy, and so do the answers to the controller's own requests
//! ([`LocalCache::wrote`]). Right after a pod is created the copy has it, whether or not its watch
//! event has arrived. A plan made from the copy cannot create it twice, and nothing has to wait.
//!
//! The resource version keeps the two sources in order. A watch delivers the changes of its
//! resource in order, so an answer whose version the watch has passed already is outdated and is
//! ignored (its object may be gone by now). An event older than the cached object is ignored, too.
//!
//! A relist (watch events `Init` to `InitDone`) removes objects that it does not contain, except
//! for those written while it ran. An answer that no watch event confirms within
//! [`UNCONFIRMED_FOR`] is dropped: then the watch is far behind, and the server itself refuses
//! duplicates.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::object::{Identity, Key, Owner, controller};

/// How long an answer is trusted without a watch event.
const UNCONFIRMED_FOR: Duration = Duration::from_secs(30);

/// The objects of one resource, reduced to `V`.
#[derive(Debug)]
pub(super) struct LocalCache<V> {
    entries: HashMap<Key, Entry<V>>,
    /// The keys of the objects that an owner (by uid) controls.
    by_owner: HashMap<String, BTreeSet<Key>>,
    /// The newest version the watch has delivered.
    position: u64,
    /// Number of relists. Entries with a lower number are not in the current list.
    listing: u64,
    /// The newest version in the running relist.
    listed_up_to: u64,
}

#[derive(Debug)]
struct Entry<V> {
    uid: String,
    owner: Option<Owner>,
    version: u64,
    value: V,
    /// The last relist, finished or not, that contained this entry or ran when it was written.
    listing: u64,
    /// When it was written, until a watch event confirms it.
    unconfirmed: Option<Instant>,
}

impl<V> Default for LocalCache<V> {
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

/// A change that a watch delivers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    /// A relist begins.
    ListBegins,
    /// The relist contains this object.
    Listed(&'a Value),
    /// A relist is complete.
    ListEnds,
    /// This object is new or has changed.
    Applied(&'a Value),
    /// This object is gone.
    Deleted(&'a Value),
}

impl<V: Clone> LocalCache<V> {
    /// A relist begins.
    pub(super) fn list_begins(&mut self) {
        self.listing += 1;
        self.listed_up_to = 0;
    }

    /// A relist contains an object.
    pub(super) fn listed(&mut self, identity: Identity, owner: Option<Owner>, value: V) {
        self.listed_up_to = self.listed_up_to.max(identity.version);
        self.put(identity, owner, value, None);
    }

    /// A relist is complete. Returns the owners of the objects that are gone, or the keys of those
    /// without an owner.
    pub(super) fn list_ends(&mut self) -> Vec<Key> {
        self.position = self.position.max(self.listed_up_to);
        let gone = self.entries.iter().filter(|(_, entry)| entry.listing < self.listing);
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        gone.into_iter().map(|key| self.remove(&key).map_or(key, |owner| owner.key)).collect()
    }

    /// A watch delivers an object.
    pub(super) fn watched(&mut self, identity: Identity, owner: Option<Owner>, value: V) {
        if identity.version != 0 && identity.version <= self.position {
            // Delivered before. Its object may be gone by now, and would be cached forever.
            return;
        }
        self.position = self.position.max(identity.version);
        self.put(identity, owner, value, None);
    }

    /// A watch delivers a deletion.
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

    /// The objects that an owner controls.
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
                // Older than an answer of our own, but it shows that the object exists.
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

    /// Removes an entry and returns its owner.
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

/// Applies a change of a watch to a cache, and returns the jobs concerned.
pub(super) fn apply<V: Clone>(
    cache: &mut LocalCache<V>,
    change: Change<'_>,
    read: impl Fn(&Value) -> Option<V>,
    concerned: impl Fn(&Value) -> Option<Key>,
) -> Vec<Key> {
    match change {
        Change::ListBegins => {
            cache.list_begins();
            Vec::new()
        }
        Change::ListEnds => cache.list_ends(),
        Change::Listed(object) | Change::Applied(object) => {
            let (Some(identity), Some(value)) = (Identity::read(object), read(object)) else {
                return Vec::new();
            };
            let owner = controller(object);
            if matches!(change, Change::Listed(_)) {
                cache.listed(identity, owner, value);
            } else {
                cache.watched(identity, owner, value);
            }
            concerned(object).into_iter().collect()
        }
        Change::Deleted(object) => {
            if let Some(identity) = Identity::read(object) {
                cache.deleted(&identity);
            }
            concerned(object).into_iter().collect()
        }
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

    struct Watched(LocalCache<u64>, Instant);

    impl Watched {
        fn new() -> Self {
            let mut cache = LocalCache::default();
            cache.list_begins();
            cache.list_ends();
            Self(cache, Instant::now())
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
    fn an_answer_is_cached_before_its_event_and_the_event_changes_nothing() {
        let mut cache = Watched::new();
        cache.wrote("a", "u", 5);
        assert_eq!(cache.all(), [5]);
        cache.watched("a", "u", 5);
        assert_eq!(cache.all(), [5]);
    }

    #[test]
    fn an_outdated_answer_does_not_restore_a_deleted_object() {
        let mut cache = Watched::new();
        cache.watched("a", "u", 5);
        cache.0.deleted(&identity("a", "u", 6));
        cache.wrote("a", "u", 5);
        assert_eq!(cache.all(), [0_u64; 0]);
    }

    #[test]
    fn a_repeated_event_does_not_restore_a_deleted_object() {
        let mut cache = Watched::new();
        cache.watched("a", "u", 5);
        cache.0.deleted(&identity("a", "u", 6));
        cache.watched("a", "u", 5);
        assert_eq!(cache.all(), [0_u64; 0]);
    }

    #[test]
    fn an_event_older_than_an_answer_is_ignored() {
        let mut cache = Watched::new();
        cache.watched("a", "u", 5);
        cache.wrote("a", "u", 9);
        cache.watched("a", "u", 7);
        assert_eq!(cache.all(), [9]);
        cache.watched("a", "u", 10);
        assert_eq!(cache.all(), [10]);
    }

    #[test]
    fn a_deletion_removes_only_the_object_of_that_uid() {
        let mut cache = Watched::new();
        cache.wrote("a", "u2", 8);
        cache.0.deleted(&identity("a", "u1", 7));
        assert_eq!(cache.all(), [8]);
        cache.0.forget(&key("a"), "u1");
        assert_eq!(cache.all(), [8]);
        cache.0.forget(&key("a"), "u2");
        assert_eq!(cache.all(), [0_u64; 0]);
    }

    #[test]
    fn a_relist_removes_objects_that_it_does_not_contain() {
        let mut cache = Watched::new();
        cache.watched("a", "u1", 1);
        cache.watched("b", "u2", 2);
        cache.wrote("c", "u3", 3);
        cache.0.list_begins();
        cache.0.listed(identity("b", "u2", 2), owner(), 2);
        assert_eq!(cache.all().len(), 3, "nothing goes before the list is complete");
        assert_eq!(cache.0.list_ends(), [key("digits"), key("digits")], "their job is concerned");
        assert_eq!(cache.all(), [2]);
    }

    #[test]
    fn objects_written_during_a_relist_stay() {
        let mut cache = Watched::new();
        cache.0.list_begins();
        cache.0.listed(identity("b", "u2", 2), owner(), 2);
        cache.wrote("c", "u3", 3);
        assert_eq!(cache.0.list_ends(), []);
        assert_eq!(cache.all(), [2, 3]);
    }

    #[test]
    fn a_relist_that_is_behind_an_answer_keeps_the_answer() {
        let mut cache = Watched::new();
        cache.watched("a", "u", 5);
        cache.wrote("a", "u", 9);
        cache.0.list_begins();
        cache.0.listed(identity("a", "u", 7), owner(), 7);
        assert_eq!(cache.0.list_ends(), []);
        assert_eq!(cache.all(), [9]);
    }

    #[test]
    fn an_unconfirmed_answer_is_dropped_after_a_while() {
        let mut cache = Watched::new();
        cache.wrote("a", "u", 5);
        cache.1 += UNCONFIRMED_FOR;
        assert_eq!(cache.all(), [5]);
        cache.1 += Duration::from_millis(1);
        assert_eq!(cache.all(), [0_u64; 0]);
        cache.watched("a", "u", 5);
        cache.1 += UNCONFIRMED_FOR * 2;
        assert_eq!(cache.all(), [5]);
    }

    #[test]
    fn an_object_that_changes_its_owner_is_listed_under_the_new_one() {
        let mut cache = Watched::new();
        cache.watched("a", "u", 1);
        cache.0.watched(
            identity("a", "u2", 2),
            Some(Owner { uid: "other".to_owned(), key: key("b") }),
            2,
        );
        assert_eq!(cache.all(), [0_u64; 0]);
        assert_eq!(cache.0.owned_by("other", cache.1), [2]);
    }
}
