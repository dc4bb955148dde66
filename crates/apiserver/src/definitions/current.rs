//! Stored objects that have the form of one version of a definition already.
//!
//! Most objects are written under the schema under which they are read, so that reading them need
//! not decode them. The set has hashes of stored bytes, which include the resource version: a
//! changed object is another one. The hash has a random key, so that nobody can find two objects
//! with the same hash.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use parking_lot::RwLock;

/// The most hashes of a set. A full one is emptied.
const MAX_HASHES: usize = 1 << 16;

/// A bounded set of stored objects.
#[derive(Debug, Default)]
pub(super) struct Current {
    key: RandomState,
    hashes: RwLock<HashSet<u64>>,
}

impl Current {
    pub(super) fn contains(&self, stored: &[u8]) -> bool {
        self.hashes.read().contains(&self.key.hash_one(stored))
    }

    pub(super) fn insert(&self, stored: &[u8]) {
        let hash = self.key.hash_one(stored);
        let mut hashes = self.hashes.write();
        if hashes.len() >= MAX_HASHES {
            hashes.clear();
        }
        hashes.insert(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_bounded() {
        let current = Current::default();
        for number in 0..=MAX_HASHES {
            current.insert(&number.to_le_bytes());
        }
        assert!(current.hashes.read().len() <= MAX_HASHES);
        assert!(current.contains(&MAX_HASHES.to_le_bytes()));
        assert!(!current.contains(b"other"));
    }
}
