//! A map that forgets what was not used for the longest time.

use std::collections::{BTreeMap, HashMap};

/// Number of entries that are remembered.
pub(super) const CAPACITY: usize = 4096;

/// A digest of a key: keys of any length take the same memory.
pub(super) type Digest = (u64, u64);

/// A map with at most [`CAPACITY`] entries.
#[derive(Debug)]
pub(super) struct Lru<V> {
    entries: HashMap<Digest, (u64, V)>,
    /// The keys by their last use.
    uses: BTreeMap<u64, Digest>,
    clock: u64,
}

impl<V> Default for Lru<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), uses: BTreeMap::new(), clock: 0 }
    }
}

impl<V> Lru<V> {
    /// The value of a key, which was used now. A new one forgets the oldest if there is no room.
    pub(super) fn entry(&mut self, key: Digest, new: impl FnOnce() -> V) -> &mut V {
        self.clock += 1;
        if let Some((used, _)) = self.entries.get(&key) {
            self.uses.remove(used);
        } else if self.entries.len() >= CAPACITY
            && let Some((_, oldest)) = self.uses.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses.insert(self.clock, key);
        let entry = self.entries.entry(key).or_insert_with(|| (0, new()));
        entry.0 = self.clock;
        &mut entry.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_entry_is_forgotten() {
        let mut map = Lru::default();
        let last = u64::try_from(CAPACITY).unwrap();
        for key in 0..last {
            map.entry((key, 0), || key);
        }
        // The first is used again, so the second is the oldest.
        assert_eq!(*map.entry((0, 0), || 99), 0);
        map.entry((last, 0), || last);
        assert_eq!((map.entries.len(), map.uses.len()), (CAPACITY, CAPACITY));
        assert_eq!((*map.entry((0, 0), || 99), *map.entry((1, 0), || 99)), (0, 99));
        assert_eq!((map.entries.len(), map.uses.len()), (CAPACITY, CAPACITY));
    }
}
