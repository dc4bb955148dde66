//! Watches.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use futures_core::Stream;
use mxjob_store::{Event, EventKind, Expect, Op, Revision, TooOld, Transaction, Value, Watch};

use crate::{delete, put, reopen, store};

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counter {
    fn poll(self: &Arc<Self>, watch: &mut Watch) -> Poll<Option<Result<Event, TooOld>>> {
        let waker = Waker::from(self.clone());
        Pin::new(watch).poll_next(&mut Context::from_waker(&waker))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn next(watch: &mut Watch) -> Event {
    watch.try_next().unwrap().unwrap()
}

#[test]
fn events_have_the_previous_value() {
    let (_dir, store) = store(100);
    let mut watch = store.watch("a/", Revision::ZERO).unwrap();
    put(&store, "a/1", "one");
    put(&store, "b/1", "other");
    put(&store, "a/1", "two");
    delete(&store, "a/1");
    put(&store, "a/1", "three");

    let mut check = |revision, kind, value: &str, previous: Option<&str>, created| {
        let previous = previous.map(|it| it.to_owned().into());
        let (key, value) = ("a/1".into(), value.to_owned().into());
        let revision = Revision::new(revision);
        assert_eq!(next(&mut watch), Event { revision, key, kind, value, previous, created });
    };
    check(1, EventKind::Put, "one", None, true);
    check(3, EventKind::Put, "two", Some("one"), false);
    check(4, EventKind::Delete, "two", Some("two"), false);
    check(5, EventKind::Put, "three", None, true);
    assert_eq!(watch.try_next(), None);
}

#[test]
fn a_watch_resumes_over_a_restart() {
    let (dir, store) = store(100);
    for value in ["1", "2", "3"] {
        put(&store, "a", value);
    }
    store.close();
    let store = reopen(&dir, 100);
    put(&store, "a", "4");
    let mut watch = store.watch("a", Revision::new(1)).unwrap();
    for (value, previous) in [("2", "1"), ("3", "2"), ("4", "3")] {
        let event = next(&mut watch);
        assert_eq!(
            (&*event.value, &*event.previous.unwrap()),
            (value.as_bytes(), previous.as_bytes())
        );
    }
}

#[test]
fn a_slow_watch_ends_and_delays_no_writer() {
    let (_dir, store) = store(10);
    let mut slow = store.watch("", Revision::ZERO).unwrap();
    let mut quick = store.watch("", Revision::ZERO).unwrap();
    for round in 1..=50 {
        put(&store, "a", "x");
        assert_eq!(next(&mut quick).revision.get(), round);
    }
    let floor = store.compacted();
    assert!(floor.get() >= 35, "{floor}");
    assert_eq!(slow.try_next(), Some(Err(TooOld { floor })));
    assert_eq!(slow.try_next(), None);
    assert_eq!(Arc::new(Counter::default()).poll(&mut slow), Poll::Ready(None));
}

#[test]
fn an_idle_watch_is_neither_woken_nor_ended_by_changes_of_other_keys() {
    let (_dir, store) = store(10);
    let waker = Arc::new(Counter::default());
    let mut watch = store.watch("mine/", Revision::ZERO).unwrap();
    assert!(waker.poll(&mut watch).is_pending());
    for _ in 0..50 {
        put(&store, "other/a", "x");
    }
    assert_eq!(waker.count(), 0);
    assert_eq!(watch.revision().get(), 50);
    // After two needless polls it still has missed nothing.
    assert!(waker.poll(&mut watch).is_pending());
    for _ in 0..50 {
        put(&store, "other/a", "x");
    }
    put(&store, "mine/a", "x");
    put(&store, "mine/b", "x");
    assert_eq!(waker.count(), 1);
    assert_eq!(watch.revision().get(), 100);
    assert_eq!(&*next(&mut watch).key, "mine/a");
    assert_eq!(&*next(&mut watch).key, "mine/b");
    assert_eq!(watch.revision().get(), 102);
}

#[test]
fn a_watch_ends_after_the_last_event_when_the_store_is_closed() {
    let (_dir, store) = store(10);
    let waker = Arc::new(Counter::default());
    let mut waiting = store.watch("x", Revision::ZERO).unwrap();
    let mut behind = store.watch("a", Revision::ZERO).unwrap();
    assert!(waker.poll(&mut waiting).is_pending());
    put(&store, "a", "x");
    store.close();
    assert_eq!(waker.count(), 1);
    assert_eq!(waker.poll(&mut waiting), Poll::Ready(None));
    assert!(matches!(waker.poll(&mut behind), Poll::Ready(Some(Ok(_)))));
    assert_eq!(waker.poll(&mut behind), Poll::Ready(None));
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// All events of a watch until it ends, waiting like an executor.
fn all(mut watch: Watch) -> Vec<Event> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut events = Vec::new();
    loop {
        match Pin::new(&mut watch).poll_next(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(event)) => events.push(event.unwrap()),
            Poll::Ready(None) => return events,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn concurrent_watches_and_writers_miss_and_repeat_nothing() {
    const WRITES: usize = 200;
    let (_dir, store) = store(10_000);
    let prefixes = ["", "w0/", "w1/", "w1/", "w2/", "nothing"];
    let watches: Vec<_> = prefixes
        .map(|prefix| store.watch(prefix, Revision::ZERO).unwrap())
        .map(|watch| thread::spawn(move || all(watch)))
        .into();
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let store = store.clone();
            thread::spawn(move || {
                (0..WRITES).for_each(|turn| {
                    put(&store, &format!("w{writer}/{}", turn % 7), "x");
                });
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    store.close();

    let seen: Vec<_> = watches.into_iter().map(|watch| watch.join().unwrap()).collect();
    for (prefix, seen) in prefixes.iter().zip(&seen) {
        assert!(seen.iter().all(|event| event.key.starts_with(prefix)));
        assert!(seen.is_sorted_by(|one, next| one.revision < next.revision));
    }
    let counts: Vec<_> = seen.iter().map(Vec::len).collect();
    assert_eq!(counts, [3 * WRITES, WRITES, WRITES, WRITES, WRITES, 0]);
}

#[test]
fn a_watch_that_missed_nothing_survives_when_its_last_revision_leaves_the_history() {
    let (_dir, store) = store(100);
    let mut watch = store.watch("a", Revision::ZERO).unwrap();
    let put =
        |key: &str| Op::Put { key: key.into(), expect: Expect::Any, value: Value::plain("v") };
    let both = store.commit(Transaction(vec![put("a"), put("b")])).wait().unwrap();
    assert_eq!(next(&mut watch).revision, both.revision);
    store.compact(both.revision);
    store.commit(Transaction::default()).wait().unwrap();
    assert_eq!(store.compacted(), both.revision);
    assert_eq!(watch.try_next(), None);
}
