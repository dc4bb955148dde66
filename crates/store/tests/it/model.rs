//! Compares the store with a trivial model: the list of all its states.

use std::collections::BTreeMap;

use mxjob_store::{
    Event, EventKind, Expect, ListOptions, Op, Page, ReadError, Revision, Store, Transaction,
    Value, Watch,
};
use proptest::{collection::vec, prelude::*, sample::select};
use tempfile::TempDir;

use crate::reopen;

/// Small, so that many changes leave the history.
const HISTORY: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Kind, &'static str, Guess)>),
    List { prefix: &'static str, after: Option<&'static str>, limit: usize, back: u64 },
    Watch { prefix: &'static str, back: u64 },
    Read { watch: usize, most: usize },
    Compact { back: u64 },
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Stamp,
    Delete,
    Check,
}

/// A writer's assumption about a key.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Any,
    Absent,
    Right,
    Wrong,
}

/// Key to (revision, created, value).
type State = BTreeMap<&'static str, (u64, u64, String)>;

#[derive(Default)]
struct Model {
    /// By revision.
    states: Vec<State>,
    events: Vec<Event>,
}

struct World {
    dir: TempDir,
    store: Option<Store>,
    model: Model,
    /// The watch, its prefix, and the revision up to which it has read.
    watches: Vec<(Watch, &'static str, usize)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || select(vec!["a", "a/1", "a/2", "a/3", "b/1", "b/2"]);
    let prefix = || select(vec!["", "a", "a/", "b/", "c/"]);
    let kind = select(vec![Kind::Put, Kind::Put, Kind::Stamp, Kind::Delete, Kind::Check]);
    let guess = prop_oneof![
        4 => Just(Guess::Any), 1 => Just(Guess::Absent), 3 => Just(Guess::Right), 1 => Just(Guess::Wrong)
    ];
    let step = prop_oneof![
        12 => vec((kind, key(), guess), 1..4).prop_map(Step::Commit),
        4 => (prefix(), proptest::option::of(key()), 0..4_usize, 0..9_u64).prop_map(
            |(prefix, after, limit, back)| Step::List { prefix, after, limit, back }
        ),
        2 => (prefix(), 0..9_u64).prop_map(|(prefix, back)| Step::Watch { prefix, back }),
        6 => (0..8_usize, 1..6_usize).prop_map(|(watch, most)| Step::Read { watch, most }),
        1 => (0..9_u64).prop_map(|back| Step::Compact { back }),
        1 => Just(Step::Reopen),
    ];
    vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_behaves_as_the_list_of_all_its_states(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let store = Some(reopen(&dir, HISTORY));
        let model = Model { states: vec![State::new()], events: Vec::new() };
        let mut world = World { dir, store, model, watches: Vec::new() };
        for step in steps {
            world.run(step);
        }
    }
}

impl World {
    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn newest(&self) -> usize {
        self.model.states.len() - 1
    }

    fn floor(&self) -> usize {
        usize::try_from(self.store().compacted().get()).unwrap()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Commit(ops) => self.commit(&ops),
            Step::List { prefix, after, limit, back } => self.list(prefix, after, limit, back),
            Step::Watch { prefix, back } => {
                let after = self.newest().saturating_sub(usize::try_from(back).unwrap());
                match self.store().watch(prefix, revision(after)) {
                    Ok(watch) => self.watches.push((watch, prefix, after)),
                    Err(error) => self.too_old(error, after),
                }
            }
            Step::Read { watch, most } => self.read(watch, most),
            Step::Compact { back } => {
                let below = self.newest().saturating_sub(usize::try_from(back).unwrap());
                self.store().compact(revision(below));
                self.store().commit(Transaction::default()).wait().unwrap();
                assert!(self.floor() >= below);
            }
            Step::Reopen => {
                let floor = self.floor();
                self.store.take().unwrap().close();
                self.store = Some(reopen(&self.dir, HISTORY));
                assert_eq!(self.floor(), floor);
                let store = self.store().clone();
                self.watches.retain_mut(|(watch, prefix, read)| {
                    store.watch(prefix, revision(*read)).map(|new| *watch = new).is_ok()
                });
            }
        }
        assert_eq!(self.store().revision(), revision(self.newest()));
        // The history has at least the promised length, unless a test compacted it.
        assert!(self.floor() <= self.newest());
    }

    fn commit(&mut self, ops: &[(Kind, &'static str, Guess)]) {
        let new = self.newest() + 1;
        let before = &self.model.states[new - 1];
        let mut after = before.clone();
        let (mut tx, mut events) = (Vec::new(), Vec::new());
        let (mut conflict, mut twice) = (None, false);
        let mut written = Vec::new();
        for (index, (kind, key, guess)) in ops.iter().copied().enumerate() {
            let old = before.get(key);
            let known = old.map_or(0, |old| old.0);
            let (expect, holds) = match guess {
                Guess::Any => (Expect::Any, true),
                Guess::Absent => (Expect::Absent, old.is_none()),
                Guess::Right => (Expect::At(Revision::new(known)), old.is_some()),
                Guess::Wrong => (Expect::At(Revision::new(known + 1)), false),
            };
            if !holds {
                conflict = conflict.or(Some(index));
            }
            let key_of_op = key.into();
            let value = match kind {
                Kind::Check => {
                    tx.push(Op::Check { key: key_of_op, expect });
                    continue;
                }
                Kind::Delete => {
                    tx.push(Op::Delete { key: key_of_op, expect });
                    None
                }
                Kind::Put => {
                    let text = format!("{key} {new} {index}");
                    let value = Value::plain(text.clone());
                    tx.push(Op::Put { key: key_of_op, expect, value });
                    Some(text)
                }
                Kind::Stamp => {
                    tx.push(Op::Put { key: key_of_op, expect, value: Value::stamped("<", ">") });
                    Some(format!("<{new}>"))
                }
            };
            twice |= written.contains(&key);
            written.push(key);
            let stored = match (&value, old) {
                (Some(value), _) => {
                    let created = old.map_or(new as u64, |old| old.1);
                    after.insert(key, (new as u64, created, value.clone()));
                    value.clone()
                }
                (None, Some(old)) => {
                    after.remove(key);
                    old.2.clone()
                }
                (None, None) => continue,
            };
            events.push(Event {
                revision: revision(new),
                key: key.into(),
                kind: if value.is_some() { EventKind::Put } else { EventKind::Delete },
                value: stored.into(),
                previous: old.map(|old| old.2.clone().into()),
                created: value.is_some() && old.is_none(),
            });
        }
        let answer = self.store().commit(Transaction(tx)).wait();
        if twice || conflict.is_some() {
            answer.unwrap_err();
            return;
        }
        let done = answer.unwrap();
        if !events.is_empty() {
            self.model.states.push(after);
            self.model.events.extend(events);
        }
        assert_eq!(done.revision, revision(self.newest()));
    }

    fn list(&self, prefix: &str, after: Option<&'static str>, limit: usize, back: u64) {
        let at = self.newest().saturating_sub(usize::try_from(back).unwrap());
        let options = ListOptions { after, limit, at: Some(revision(at)) };
        let page = match self.store().list(prefix, &options) {
            Ok(page) => page,
            Err(error) => return self.too_old(error, at),
        };
        assert!(at >= self.floor());
        let expected: Vec<_> = self.model.states[at]
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| **key > after))
            .map(|(key, (revision, created, value))| (*key, *revision, *created, value.as_bytes()))
            .collect();
        let shown = if limit == 0 { expected.len() } else { limit.min(expected.len()) };
        let Page { entries, revision: of, more, remaining } = &page;
        let found: Vec<_> = entries
            .iter()
            .map(|it| (&*it.key, it.revision.get(), it.created.get(), &*it.value))
            .collect();
        assert_eq!(found, expected[..shown]);
        assert_eq!((*of, *more), (revision(at), shown < expected.len()));
        assert_eq!(*remaining, expected.len() - shown);
    }

    fn read(&mut self, index: usize, most: usize) {
        let floor = self.floor();
        if self.watches.is_empty() {
            return;
        }
        let index = index % self.watches.len();
        let (watch, prefix, read) = &mut self.watches[index];
        let expected: Vec<_> = self
            .model
            .events
            .iter()
            .filter(|event| event.revision > revision(*read) && event.key.starts_with(*prefix))
            .collect();
        // Complete revisions, since the model tracks the position of a watch by revision only.
        let mut found = Vec::new();
        while found.len() < expected.len()
            && (found.len() < most
                || found.last().map(|it: &Event| it.revision)
                    == Some(expected[found.len()].revision))
        {
            match watch.try_next() {
                Some(Ok(event)) => found.push(event),
                Some(Err(too_old)) => {
                    assert!(found.is_empty());
                    assert_eq!(too_old.floor, revision(floor));
                    assert!(*read < floor);
                    assert_eq!(watch.try_next(), None);
                    self.watches.remove(index);
                    return;
                }
                None => panic!("events are missing: {:?}", &expected[found.len()..]),
            }
        }
        assert!(found.iter().eq(expected[..found.len()].iter().copied()));
        if let Some(last) = found.last() {
            *read = usize::try_from(last.revision.get()).unwrap();
        } else if watch.try_next().is_none() {
            *read = self.model.states.len() - 1;
        } else {
            // No event for it, but its position has left the history.
            assert!(*read < floor);
            self.watches.remove(index);
        }
    }

    fn too_old(&self, error: ReadError, asked: usize) {
        assert_eq!(error, ReadError::TooOld { floor: self.store().compacted() });
        assert!(asked < self.floor());
    }
}

fn revision(number: usize) -> Revision {
    Revision::new(number as u64)
}
