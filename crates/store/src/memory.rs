//! The state that reads are answered from: all live objects and the recent history.
//!
//! It has no lock and does no I/O. Only the committer changes it, with changes that are durable.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use crate::{
    Entry, Event, EventKind, ListOptions, Page, ReadError, Revision,
    expiry::Index,
    record::{Position, Record, Stored},
};

/// The memory of one change in addition to its bytes: the fields of [`Change`] and two allocations.
const CHANGE_OVERHEAD: usize = 160;

/// One change in the history.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) position: Position,
    pub(crate) key: Arc<str>,
    /// The new entry; `None` after a delete.
    pub(crate) stored: Option<Stored>,
    /// The entry before the change.
    pub(crate) previous: Option<Stored>,
}

/// All live objects and the recent history.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    live: BTreeMap<Arc<str>, Stored>,
    /// The live objects that expire.
    expiring: Index,
    live_bytes: usize,
    /// Changes after `floor`, oldest first.
    history: VecDeque<Change>,
    history_bytes: usize,
    /// The number of the first change in `history`, counted since the store was opened.
    first: u64,
    revision: Revision,
    floor: Revision,
}

/// What to remove from the history and from the disk.
#[derive(Debug, Default)]
pub(crate) struct Trim {
    /// The new floor, if it rises.
    pub(crate) floor: Option<Revision>,
    pub(crate) records: Vec<Position>,
    /// The bytes of these records.
    pub(crate) bytes: usize,
}

/// The result of a search in the history.
pub(crate) enum Lookup {
    Found {
        /// The number at which to continue.
        next: u64,
        event: Event,
    },
    /// No match up to this number.
    Nothing {
        next: u64,
    },
    TooOld,
}

// === impl Change ===

impl Change {
    fn cost(&self) -> usize {
        // A replaced value is counted again although an older change shares it: the older change
        // leaves first, and then only this one holds it.
        let value = |stored: &Option<Stored>| stored.as_ref().map_or(0, |it| it.entry.value.len());
        CHANGE_OVERHEAD + self.key.len() + value(&self.stored) + value(&self.previous)
    }

    fn event(&self) -> Event {
        let previous = self.previous.as_ref().map(|previous| previous.entry.value.clone());
        let (kind, value) = match &self.stored {
            Some(stored) => (EventKind::Put, stored.entry.value.clone()),
            None => (EventKind::Delete, previous.clone().unwrap_or_default()),
        };
        Event {
            revision: self.position.revision,
            key: self.key.clone(),
            kind,
            value,
            created: kind == EventKind::Put && previous.is_none(),
            previous,
        }
    }
}

// === impl Memory ===

impl Memory {
    /// An empty state; [`Memory::load`] adds the history after `floor`.
    pub(crate) fn empty(floor: Revision, expiring: Index) -> Self {
        Self { floor, revision: floor, expiring, ..Self::default() }
    }

    /// Adds the next record of the log on disk.
    pub(crate) fn load(&mut self, position: Position, record: Record) {
        let Record { kind, created, key, deadline, value } = record;
        let key = self.live.get_key_value(&key).map_or(key, |(known, _)| known.clone());
        let stored = (kind == EventKind::Put).then(|| Stored {
            entry: Entry { key: key.clone(), revision: position.revision, created, value },
            index: position.index,
            deadline,
        });
        let previous = self.live.get(&key).cloned();
        let change = Change { position, key, stored, previous };
        if position.revision > self.floor {
            self.apply(change);
        } else {
            self.set(&change);
        }
    }

    /// Adds the next change.
    pub(crate) fn apply(&mut self, change: Change) {
        self.set(&change);
        self.revision = self.revision.max(change.position.revision);
        self.history_bytes += change.cost();
        self.history.push_back(change);
    }

    fn set(&mut self, change: &Change) {
        let before = match &change.stored {
            Some(stored) => {
                self.live_bytes += stored.bytes();
                self.expiring.insert(stored);
                self.live.insert(change.key.clone(), stored.clone())
            }
            None => self.live.remove(&change.key),
        };
        if let Some(before) = before {
            self.live_bytes -= before.bytes();
            self.expiring.remove(&before);
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// The bytes of all live objects and of the history.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.live_bytes + self.history_bytes
    }

    pub(crate) fn expiring(&self) -> &Index {
        &self.expiring
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Stored> {
        self.live.get(key)
    }

    /// Decides what to remove so that the history has at most so many changes and bytes, and
    /// nothing at or below `below`. All changes of a revision are removed together.
    ///
    /// A record is removed from disk when the change that replaced it leaves the history: until
    /// then a list at an older revision shows it. The record of a delete is removed with its own
    /// change.
    pub(crate) fn plan_trim(&self, events: usize, bytes: usize, below: Revision) -> Trim {
        let mut trim = Trim::default();
        let below = below.min(self.revision);
        // In steps, so that not every batch writes a new floor.
        let full = self.history.len() > events + (events / 64).min(256)
            || self.history_bytes > bytes + bytes / 64;
        if !full && below <= self.floor {
            return trim;
        }
        if below > self.floor {
            trim.floor = Some(below);
        }
        let (mut count, mut held) = (self.history.len(), self.history_bytes);
        for change in &self.history {
            let revision = change.position.revision;
            let in_floor = trim.floor.is_some_and(|floor| revision <= floor);
            if !in_floor && count <= events && held <= bytes {
                break;
            }
            trim.floor = trim.floor.max(Some(revision));
            if let Some(previous) = &change.previous {
                trim.records.push(previous.position());
                trim.bytes += previous.bytes();
            }
            if change.stored.is_none() {
                trim.records.push(change.position);
                trim.bytes += change.key.len();
            }
            count -= 1;
            held = held.saturating_sub(change.cost());
        }
        trim
    }

    /// Removes the history up to `floor`.
    pub(crate) fn trim(&mut self, floor: Revision) {
        self.floor = self.floor.max(floor);
        while self.history.front().is_some_and(|change| change.position.revision <= floor) {
            if let Some(change) = self.history.pop_front() {
                self.history_bytes = self.history_bytes.saturating_sub(change.cost());
                self.first += 1;
            }
        }
    }

    /// Whether reads and watches can start at a revision.
    pub(crate) fn check(&self, revision: Revision) -> Result<(), ReadError> {
        if revision < self.floor {
            return Err(ReadError::TooOld { floor: self.floor });
        }
        if revision > self.revision {
            return Err(ReadError::Future { current: self.revision });
        }
        Ok(())
    }

    pub(crate) fn list(&self, prefix: &str, options: &ListOptions<'_>) -> Result<Page, ReadError> {
        let revision = options.at.unwrap_or(self.revision);
        self.check(revision)?;
        let from = match options.after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let live = self
            .live
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let undone = self.undone(prefix, revision);
        let undone = undone.range::<str, _>((from, Bound::Unbounded));

        let limit = if options.limit == 0 { usize::MAX } else { options.limit };
        let (mut entries, mut remaining) = (Vec::new(), 0);
        for entry in Merged::new(live, undone) {
            if entries.len() < limit {
                entries.push(entry.clone());
            } else {
                remaining += 1;
            }
        }
        Ok(Page { entries, revision, more: remaining > 0, remaining })
    }

    /// The entries at `revision` of the keys that changed after it.
    fn undone(&self, prefix: &str, revision: Revision) -> BTreeMap<&str, Option<&Entry>> {
        let later = self.history.iter().rev();
        later
            .take_while(|change| change.position.revision > revision)
            .filter(|change| change.key.starts_with(prefix))
            // Newest first, so that the oldest change of a key overwrites the others.
            .map(|change| (&*change.key, change.previous.as_ref().map(|it| &it.entry)))
            .collect()
    }

    /// The number of the first change after `revision`.
    pub(crate) fn number_after(&self, revision: Revision) -> u64 {
        let older = self.history.partition_point(|change| change.position.revision <= revision);
        self.first + older as u64
    }

    /// The number of the next change.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.history.len() as u64
    }

    /// The first change under `prefix` numbered `from` or higher, among `max` changes.
    pub(crate) fn find(&self, prefix: &str, from: u64, max: usize) -> Lookup {
        let Some(skip) = from.checked_sub(self.first) else { return Lookup::TooOld };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(self.history.len());
        let mut number = from;
        for (at, change) in self.history.range(skip..).take(max).enumerate() {
            if change.key.starts_with(prefix) {
                // Skip the rest of the revision up to the next match: a position inside a revision
                // with nothing left to read would become too old together with that revision.
                let rest = self.history.range(skip + at + 1..).take_while(|next| {
                    next.position.revision == change.position.revision
                        && !next.key.starts_with(prefix)
                });
                let next = number + 1 + rest.count() as u64;
                return Lookup::Found { next, event: change.event() };
            }
            number += 1;
        }
        Lookup::Nothing { next: number }
    }

    /// The newest revision that a reader of all changes below `number` has seen completely.
    pub(crate) fn seen(&self, number: u64) -> Revision {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(index) = index else { return Revision::ZERO };
        self.history.get(index).map_or(self.revision, |change| change.position.revision.before())
    }

    /// The positions of all records that this state needs.
    #[cfg(test)]
    pub(crate) fn positions(&self) -> std::collections::BTreeSet<Position> {
        let history = self.history.iter().map(|change| change.position);
        let replaced = self.history.iter().filter_map(|change| change.previous.as_ref());
        let stored = self.live.values().chain(replaced).map(Stored::position);
        history.chain(stored).collect()
    }
}

// === Merged ===

/// Live entries in key order, with later changes undone.
struct Merged<'a, L: Iterator, U: Iterator> {
    live: std::iter::Peekable<L>,
    undone: std::iter::Peekable<U>,
    _entries: std::marker::PhantomData<&'a Entry>,
}

impl<'a, L, U> Merged<'a, L, U>
where
    L: Iterator<Item = (&'a Arc<str>, &'a Stored)>,
    U: Iterator,
{
    fn new(live: L, undone: U) -> Self {
        Self {
            live: live.peekable(),
            undone: undone.peekable(),
            _entries: std::marker::PhantomData,
        }
    }
}

impl<'a, 'u, L, U> Iterator for Merged<'a, L, U>
where
    'a: 'u,
    L: Iterator<Item = (&'a Arc<str>, &'a Stored)>,
    U: Iterator<Item = (&'u &'a str, &'u Option<&'a Entry>)>,
{
    type Item = &'a Entry;

    fn next(&mut self) -> Option<&'a Entry> {
        loop {
            let undo = match (self.live.peek(), self.undone.peek()) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some((live, _)), Some((undone, _))) => ***undone <= ***live,
            };
            if !undo {
                return self.live.next().map(|(_, stored)| &stored.entry);
            }
            let (key, before) = self.undone.next()?;
            self.live.next_if(|(live, _)| ***live == **key);
            if let Some(entry) = before {
                return Some(*entry);
            }
        }
    }
}
