//! Which entries expire, and which of them go next.
//!
//! An entry of a prefix with an [`ExpiryRule`] gets a deadline when it is written. The deadline is
//! in its record, so a restart does not prolong its life. Besides the deadline there are bounds,
//! for all entries of a rule and for the entries of one folder (the key up to its last slash);
//! above a bound the entries that were written first go first.
//!
//! The committer removes what is due with ordinary deletes, a few in every batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use crate::{
    Entry, Revision,
    record::{Deadline, Position, Stored},
};

/// The memory of one entry in addition to its key and value.
const ENTRY_OVERHEAD: usize = 256;

/// Which entries expire, and the time.
#[derive(Clone)]
pub struct Expiry {
    /// The rules; the first one whose prefix fits a key holds for it.
    pub rules: Vec<ExpiryRule>,
    /// Returns the time since the Unix epoch.
    pub clock: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// How the entries under a prefix expire.
#[derive(Clone, Debug)]
pub struct ExpiryRule {
    /// The prefix of their keys.
    pub prefix: String,
    /// How long an entry is kept after its last write.
    pub ttl: Duration,
    /// The bounds of all entries under the prefix.
    pub total: Bounds,
    /// The bounds of the entries whose keys are equal up to their last slash.
    pub folder: Bounds,
}

/// The most that is kept. One batch of writes may exceed it until the next batch.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Number of entries.
    pub entries: usize,
    /// Bytes of keys and values, with an allowance for each entry.
    pub bytes: usize,
}

/// The order in which entries go.
type Age = (Deadline, Position);

/// The entries that expire.
#[derive(Debug, Default)]
pub(crate) struct Index {
    parts: Vec<Part>,
}

/// The entries of one rule.
#[derive(Debug)]
struct Part {
    rule: ExpiryRule,
    /// The deadline of entries that an older release stored without one.
    undated: Deadline,
    all: Group,
    folders: BTreeMap<Arc<str>, Group>,
    /// The folders above their bounds.
    full: BTreeSet<Arc<str>>,
}

/// Entries in the order in which they go, with their costs.
#[derive(Debug, Default)]
struct Group {
    by_age: BTreeMap<Age, (Arc<str>, usize)>,
    bytes: usize,
}

// === impl Expiry ===

impl Expiry {
    pub(crate) fn now(&self) -> Deadline {
        (self.clock)().as_secs()
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiry").field("rules", &self.rules).finish_non_exhaustive()
    }
}

// === impl Index ===

impl Index {
    /// Adds a rule. Entries without a deadline count as written at `since`.
    pub(crate) fn add_rule(&mut self, rule: ExpiryRule, since: Deadline) {
        let undated = since.saturating_add(rule.ttl.as_secs());
        let (all, folders, full) = (Group::default(), BTreeMap::new(), BTreeSet::new());
        self.parts.push(Part { rule, undated, all, folders, full });
    }

    /// The deadline of an entry that is written now.
    pub(crate) fn deadline(&self, key: &str, now: Deadline) -> Option<Deadline> {
        let part = self.parts.iter().find(|part| key.starts_with(&part.rule.prefix))?;
        Some(now.saturating_add(part.rule.ttl.as_secs()))
    }

    pub(crate) fn insert(&mut self, stored: &Stored) {
        let Some(part) = part_of(&mut self.parts, &stored.entry.key) else { return };
        let age = part.age(stored);
        let item = (stored.entry.key.clone(), cost(&stored.entry));
        part.all.insert(age, item.clone());
        let folder = folder(&stored.entry.key);
        if !part.folders.contains_key(folder) {
            part.folders.insert(folder.into(), Group::default());
        }
        if let Some(group) = part.folders.get_mut(folder) {
            group.insert(age, item);
        }
        part.note_full(folder);
    }

    pub(crate) fn remove(&mut self, stored: &Stored) {
        let Some(part) = part_of(&mut self.parts, &stored.entry.key) else { return };
        let age = part.age(stored);
        part.all.remove(age);
        let folder = folder(&stored.entry.key);
        if let Some(group) = part.folders.get_mut(folder) {
            group.remove(age);
            if group.by_age.is_empty() {
                part.folders.remove(folder);
            }
        }
        part.note_full(folder);
    }

    /// The entries to remove now, at most `max`.
    pub(crate) fn due(&self, now: Deadline, max: usize) -> Vec<(Arc<str>, Revision)> {
        let mut due = Vec::new();
        for part in &self.parts {
            let left = max - due.len();
            let chosen = part.due(now, left);
            due.extend(chosen.into_iter().map(|((_, at), (key, _))| (key, at.revision)));
        }
        due
    }

    /// How long nothing has to be removed if nothing is written; `None` for ever.
    pub(crate) fn idle(&self, now: impl FnOnce() -> Deadline) -> Option<Duration> {
        if self.parts.iter().any(Part::is_full) {
            return Some(Duration::ZERO);
        }
        let first = |part: &Part| part.all.by_age.keys().next().map(|(deadline, _)| *deadline);
        let first = self.parts.iter().filter_map(first).min()?;
        Some(Duration::from_secs(first.saturating_sub(now())))
    }
}

// === impl Part ===

impl Part {
    fn age(&self, stored: &Stored) -> Age {
        (stored.deadline.unwrap_or(self.undated), stored.position())
    }

    fn note_full(&mut self, folder: &str) {
        let is_full = |group: &Group| group.exceeds(self.rule.folder, &Taken::default());
        if self.folders.get(folder).is_some_and(is_full) {
            self.full.insert(folder.into());
        } else {
            self.full.remove(folder);
        }
    }

    fn is_full(&self) -> bool {
        !self.full.is_empty() || self.all.exceeds(self.rule.total, &Taken::default())
    }

    fn due(&self, now: Deadline, max: usize) -> BTreeMap<Age, (Arc<str>, usize)> {
        let expired = self.all.by_age.iter().take_while(|((deadline, _), _)| *deadline <= now);
        let mut chosen: BTreeMap<_, _> =
            expired.take(max).map(|(age, item)| (*age, item.clone())).collect();
        for group in self.full.iter().filter_map(|folder| self.folders.get(folder)) {
            let mut taken = Taken::default();
            for (age, item) in &group.by_age {
                if chosen.len() >= max || !group.exceeds(self.rule.folder, &taken) {
                    break;
                }
                taken.add(item.1);
                chosen.insert(*age, item.clone());
            }
        }
        let mut taken = Taken::default();
        chosen.values().for_each(|(_, cost)| taken.add(*cost));
        for (age, item) in &self.all.by_age {
            if chosen.len() >= max || !self.all.exceeds(self.rule.total, &taken) {
                break;
            }
            if chosen.insert(*age, item.clone()).is_none() {
                taken.add(item.1);
            }
        }
        chosen
    }
}

/// Entries that were chosen already.
#[derive(Default)]
struct Taken {
    entries: usize,
    bytes: usize,
}

impl Taken {
    fn add(&mut self, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

// === impl Group ===

impl Group {
    fn insert(&mut self, age: Age, item: (Arc<str>, usize)) {
        self.bytes += item.1;
        self.by_age.insert(age, item);
    }

    fn remove(&mut self, age: Age) {
        if let Some((_, cost)) = self.by_age.remove(&age) {
            self.bytes -= cost;
        }
    }

    /// Whether it exceeds bounds without the entries that were chosen already.
    fn exceeds(&self, bounds: Bounds, taken: &Taken) -> bool {
        self.by_age.len() - taken.entries > bounds.entries
            || self.bytes - taken.bytes > bounds.bytes
    }
}

fn part_of<'a>(parts: &'a mut [Part], key: &str) -> Option<&'a mut Part> {
    parts.iter_mut().find(|part| key.starts_with(&part.rule.prefix))
}

fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |end| key.get(..end).unwrap_or_default())
}

fn cost(entry: &Entry) -> usize {
    ENTRY_OVERHEAD + entry.key.len() + entry.value.len()
}
