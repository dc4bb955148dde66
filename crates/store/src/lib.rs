//! A durable store of bytes under keys, where every change has a revision.
//!
//! All state is in one log of changes. The committer thread appends a batch of transactions to it,
//! waits until they are durable, and only then publishes them to memory and acknowledges them.
//! Reads and watches are answered from memory and never wait for the disk.
//!
//! ```text
//!  commit ──▶ queue (bounded) ──▶ committer ──▶ engine (log on disk, one sync per batch)
//!                                     │ publish
//!                                     ▼
//!  get, list, list at a revision ◀── memory: live objects + recent history ──▶ watches
//! ```
//!
//! Guarantees, also across a crash:
//! * an acknowledged transaction is on disk, complete, and revisions never go back;
//! * a transaction is all or nothing, and all its changes have one revision;
//! * a watch sees every change under its prefix exactly once and in order, or ends with [`TooOld`];
//! * no reader and no watcher, however slow, delays a writer for longer than a short lock;
//! * an entry under a prefix with an [`ExpiryRule`] is removed after its time to live, or earlier
//!   when there are too many, by an ordinary delete.
//!
//! This crate does not depend on Kubernetes, JSON or any async runtime.
//!
//! ```
//! use mxjob_store::{ListOptions, Options, Revision, Store, Transaction, Value};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Store::open(dir.path(), Options::default())?;
//! let mut watch = store.watch("jobs/", Revision::ZERO)?;
//!
//! let value = Value::stamped(r#"{"revision":""#, r#""}"#);
//! let done = store.commit(Transaction::create("jobs/a", value)).wait()?;
//!
//! assert_eq!(store.get("jobs/a").unwrap().value, r#"{"revision":"1"}"#);
//! assert_eq!(store.list("jobs/", &ListOptions::default())?.entries.len(), 1);
//! assert_eq!(watch.try_next().unwrap()?.revision, done.revision);
//! store.close();
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod commit;
mod committer;
mod engine;
mod error;
mod expiry;
#[cfg(test)]
mod faults;
mod lock;
mod memory;
mod options;
mod queue;
mod record;
mod registry;
mod revision;
mod shared;
mod store;
mod transaction;
mod types;
mod watch;

pub use commit::{Commit, CommitError, Committed};
pub use error::{Failure, OpenError};
pub use expiry::{Bounds, Expiry, ExpiryRule};
pub use options::Options;
pub use revision::Revision;
pub use store::Store;
pub use transaction::{Expect, Op, Transaction, Value};
pub use types::{Entry, Event, EventKind, ListOptions, Page, ReadError, TooOld};
pub use watch::Watch;
