//! Entries that expire. The test sets the clock.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mxjob_store::{
    Bounds, EventKind, Expect, Expiry, ExpiryRule, ListOptions, Options, Store, Transaction, Value,
};
use proptest::prelude::*;

const TTL: u64 = 100;
const UNBOUNDED: Bounds = Bounds { entries: usize::MAX, bytes: usize::MAX };

/// A store of which the entries under `e/` expire.
struct World {
    clock: Arc<AtomicU64>,
    dir: tempfile::TempDir,
    total: Bounds,
    folder: Bounds,
}

impl World {
    fn new(total: Bounds, folder: Bounds) -> Self {
        let clock = Arc::new(AtomicU64::new(1_000_000));
        Self { clock, dir: tempfile::tempdir().unwrap(), total, folder }
    }

    fn open(&self) -> Store {
        Store::open(self.dir.path(), self.options()).unwrap()
    }

    fn options(&self) -> Options {
        let clock = self.clock.clone();
        let rule = ExpiryRule {
            prefix: "e/".to_owned(),
            ttl: Duration::from_secs(TTL),
            total: self.total,
            folder: self.folder,
        };
        let clock = Arc::new(move || Duration::from_secs(clock.load(Ordering::SeqCst)));
        let mut options = Options::default();
        options.expiry = Some(Expiry { rules: vec![rule], clock });
        options
    }

    fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }
}

fn put(store: &Store, key: &str) {
    put_bytes(store, key, 5);
}

fn put_bytes(store: &Store, key: &str, bytes: usize) {
    let value = Value::plain("v".repeat(bytes));
    store.commit(Transaction::put(key, Expect::Any, value)).wait().unwrap();
}

/// The keys after one more batch, which removes what is due.
fn keys(store: &Store) -> Vec<String> {
    store.commit(Transaction::default()).wait().unwrap();
    let page = store.list("", &ListOptions::default()).unwrap();
    page.entries.iter().map(|entry| entry.key.to_string()).collect()
}

fn used_disk(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            // The engine may remove a file meanwhile.
            let Ok(meta) = entry.metadata() else { return 0 };
            if meta.is_dir() { used_disk(&entry.path()) } else { meta.len() }
        })
        .sum()
}

#[test]
fn an_entry_is_deleted_after_its_time_to_live_even_if_the_store_was_closed_meanwhile() {
    let world = World::new(UNBOUNDED, UNBOUNDED);
    let store = world.open();
    put(&store, "e/n/first");
    put(&store, "kept");
    world.pass(TTL - 1);
    put(&store, "e/n/second");
    assert_eq!(keys(&store), ["e/n/first", "e/n/second", "kept"]);
    store.close();

    let store = world.open();
    assert_eq!(keys(&store), ["e/n/first", "e/n/second", "kept"]);
    let mut watch = store.watch("e/", store.revision()).unwrap();
    world.pass(1);
    assert_eq!(keys(&store), ["e/n/second", "kept"]);
    let event = watch.try_next().unwrap().unwrap();
    assert_eq!((event.key.as_ref(), event.kind), ("e/n/first", EventKind::Delete));
    assert_eq!(event.value, "vvvvv");
    store.close();

    world.pass(TTL);
    let store = world.open();
    assert_eq!(keys(&store), ["kept"]);
}

#[test]
fn a_write_prolongs_the_life_of_an_entry() {
    let world = World::new(UNBOUNDED, UNBOUNDED);
    let store = world.open();
    put(&store, "e/n/a");
    world.pass(TTL - 1);
    put(&store, "e/n/a");
    world.pass(TTL - 1);
    assert_eq!(keys(&store), ["e/n/a"]);
    world.pass(1);
    assert_eq!(keys(&store), Vec::<String>::new());
}

#[test]
fn an_idle_store_expires_entries() {
    let world = World::new(UNBOUNDED, UNBOUNDED);
    let store = world.open();
    put(&store, "e/n/a");
    let mut watch = store.watch("e/", store.revision()).unwrap();
    world.pass(TTL);
    store.expire();
    let event = loop {
        match watch.try_next() {
            Some(event) => break event.unwrap(),
            None => std::thread::yield_now(),
        }
    };
    assert_eq!((event.key.as_ref(), event.kind), ("e/n/a", EventKind::Delete));
}

#[test]
fn entries_of_an_older_release_expire_after_the_first_start() {
    let world = World::new(UNBOUNDED, UNBOUNDED);
    let store = Store::open(world.dir.path(), Options::default()).unwrap();
    put(&store, "e/n/old");
    put(&store, "kept");
    store.close();

    world.open().close();
    world.pass(TTL - 1);
    // A restart does not prolong it.
    let store = world.open();
    assert_eq!(keys(&store), ["e/n/old", "kept"]);
    world.pass(1);
    assert_eq!(keys(&store), ["kept"]);
}

#[test]
fn above_a_bound_the_oldest_entries_go_first() {
    let world = World::new(Bounds { entries: 4, ..UNBOUNDED }, Bounds { entries: 3, ..UNBOUNDED });
    let store = world.open();
    for key in ["e/a/1", "e/a/2", "e/a/3", "e/a/4", "kept"] {
        put(&store, key);
    }
    assert_eq!(keys(&store), ["e/a/2", "e/a/3", "e/a/4", "kept"]);
    put(&store, "e/b/1");
    // Written again, so no longer the oldest.
    put(&store, "e/a/2");
    put(&store, "e/c/1");
    assert_eq!(keys(&store), ["e/a/2", "e/a/4", "e/b/1", "e/c/1", "kept"]);

    let world = World::new(UNBOUNDED, Bounds { bytes: 10_000, ..UNBOUNDED });
    let store = world.open();
    for (key, bytes) in [("e/a/1", 500), ("e/a/2", 5_000), ("e/a/3", 4_000), ("e/b/1", 9_000)] {
        put_bytes(&store, key, bytes);
    }
    assert_eq!(keys(&store), ["e/a/2", "e/a/3", "e/b/1"]);
    put_bytes(&store, "e/a/4", 9_000);
    assert_eq!(keys(&store), ["e/a/4", "e/b/1"]);
}

/// Bytes that do not compress.
fn noise(seed: u64) -> Value {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[3]
    };
    Value::plain((0..4_000).map(|_| next()).collect::<Vec<u8>>())
}

#[test]
fn the_disk_space_of_expired_entries_is_given_back() {
    const ENTRIES: u64 = 12_000;
    let world = World::new(UNBOUNDED, UNBOUNDED);
    let mut options = world.options();
    options.history_bytes = 1 << 20;
    let store = Store::open(world.dir.path(), options).unwrap();
    for index in 0..ENTRIES {
        let commit = store.commit(Transaction::create(format!("e/n/{index:05}"), noise(index)));
        // The queue is bounded.
        if index % 500 == 0 {
            commit.wait().unwrap();
        }
    }
    store.commit(Transaction::default()).wait().unwrap();
    let tables = world.dir.path().join("log/keyspaces");

    world.pass(TTL);
    let mut batches = 0;
    while store.get("e/n/11999").is_some() {
        batches += 1;
        store.commit(Transaction::default()).wait().unwrap();
    }
    // Other writers are served in between.
    assert!(batches >= 10, "{batches}");
    // The tables are merged beside the commits.
    while used_disk(&tables) > 20_000_000 {
        put(&store, "k");
    }
    assert_eq!(store.list("", &ListOptions::default()).unwrap().entries.len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    Pass(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..12, 0_usize..400).prop_map(|(key, bytes)| Step::Put(key, bytes)),
        1 => (0_u8..12).prop_map(Step::Delete),
        2 => (1_u64..60).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

fn key(number: u8) -> String {
    format!("e/{}/{number:02}", number % 3)
}

/// What a store may keep: age and bytes by key.
type Model = BTreeMap<String, ((u64, usize), usize)>;

fn evict(model: &mut Model, prefix: &str, bounds: Bounds) {
    loop {
        let group = || model.iter().filter(|(key, _)| key.starts_with(prefix));
        // With the allowance for an entry.
        let bytes: usize = group().map(|(key, (_, bytes))| key.len() + bytes + 256).sum();
        if group().count() <= bounds.entries && bytes <= bounds.bytes {
            return;
        }
        let oldest = group().min_by_key(|(_, (age, _))| *age).map(|(key, _)| key.clone());
        model.remove(&oldest.unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_store_keeps_what_is_neither_expired_nor_too_much(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let total = Bounds { entries: 7, bytes: 3_000 };
        let folder = Bounds { entries: 3, bytes: 1_200 };
        let world = World::new(total, folder);
        let mut store = world.open();
        let mut model = Model::new();
        for (number, step) in steps.iter().enumerate() {
            match step {
                Step::Put(index, bytes) => {
                    put_bytes(&store, &key(*index), *bytes);
                    let age = (world.clock.load(Ordering::SeqCst), number);
                    model.insert(key(*index), (age, *bytes));
                }
                Step::Delete(index) => {
                    let delete = Transaction::delete(key(*index), Expect::Any);
                    store.commit(delete).wait().unwrap();
                    model.remove(&key(*index));
                }
                Step::Pass(seconds) => world.pass(*seconds),
                Step::Reopen => {
                    store.close();
                    store = world.open();
                }
            }
            let now = world.clock.load(Ordering::SeqCst);
            model.retain(|_, ((written, _), _)| *written + TTL > now);
            for folder_name in ["e/0/", "e/1/", "e/2/"] {
                evict(&mut model, folder_name, folder);
            }
            evict(&mut model, "e/", total);
            prop_assert_eq!(keys(&store), model.keys().cloned().collect::<Vec<_>>());
        }
    }
}
