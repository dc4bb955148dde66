//! The store through its public interface, on a real disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod basics;
mod expiring;
mod kill;
mod model;
mod open;
mod watching;

use mxjob_store::{Expect, Options, Store, Transaction, Value};
use tempfile::TempDir;

/// A new store with a history of that many events.
fn store(history_events: usize) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(&dir, history_events);
    (dir, store)
}

fn reopen(dir: &TempDir, history_events: usize) -> Store {
    let mut options = Options::default();
    options.history_events = history_events;
    Store::open(dir.path(), options).unwrap()
}

/// Stores a value and returns its revision.
fn put(store: &Store, key: &str, value: &str) -> u64 {
    let transaction = Transaction::put(key, Expect::Any, Value::plain(value.to_owned()));
    store.commit(transaction).wait().unwrap().revision.get()
}

fn delete(store: &Store, key: &str) -> u64 {
    store.commit(Transaction::delete(key, Expect::Any)).wait().unwrap().revision.get()
}
