//! Tests with a disk that the test controls.

use std::{
    error::Error as StdError,
    future::{Future, poll_fn},
    io,
    path::Path,
    pin::Pin,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    task::{Context, Waker},
};

use futures_core::Stream;

use crate::{
    CommitError, ListOptions, Options, Revision, Store, Transaction, Value,
    commit::block_on,
    engine::{Batch, Engine},
    expiry::Index,
    memory::Memory,
};

/// Reports the number of records of each write to the test, and waits for the result to return.
struct Scripted {
    writes: SyncSender<usize>,
    results: Receiver<io::Result<()>>,
}

impl Engine for Scripted {
    fn write(&mut self, batch: &Batch) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.writes.send(batch.records.len())?;
        let Ok(result) = self.results.recv() else { panic!("the test sends no result") };
        Ok(result?)
    }
}

fn scripted(queue_max: usize) -> (Store, Receiver<usize>, SyncSender<io::Result<()>>) {
    let (writes, seen) = sync_channel(1);
    let (say, results) = sync_channel(1);
    let options = Options { queue_max, ..Options::default() };
    let engine = Box::new(Scripted { writes, results });
    let memory = Memory::empty(Revision::ZERO, Index::default());
    let store = Store::start(Path::new("/data"), options, engine, memory, None).unwrap();
    (store, seen, say)
}

fn put(key: &str) -> Transaction {
    Transaction::create(key, Value::plain("value"))
}

#[test]
fn nothing_is_visible_or_answered_before_it_is_durable_and_the_queue_is_bounded() {
    let (store, writes, say) = scripted(2);
    let mut watch = store.watch("", Revision::ZERO).unwrap();

    let first = store.commit(put("a"));
    assert_eq!(writes.recv().unwrap(), 1);
    // The committer waits for the disk. Reads do not.
    assert_eq!(store.get("a"), None);
    assert_eq!(watch.try_next(), None);
    let second = store.commit(put("b"));
    let conflict = store.commit(put("b"));
    assert!(matches!(store.commit(put("c")).wait(), Err(CommitError::Full)));
    say.send(Ok(())).unwrap();
    assert_eq!(first.wait().unwrap().revision.get(), 1);

    // The queued requests are one batch, and a conflict with a part of it is answered after the
    // sync.
    assert_eq!(writes.recv().unwrap(), 1);
    let mut conflict = Box::pin(conflict);
    let mut context = Context::from_waker(Waker::noop());
    assert!(conflict.as_mut().poll(&mut context).is_pending());
    assert_eq!(store.revision().get(), 1);
    say.send(Ok(())).unwrap();
    assert_eq!(second.wait().unwrap().revision.get(), 2);
    let Err(CommitError::Conflict { index: 0, current: Some(current), .. }) = block_on(conflict)
    else {
        panic!("the second create of a key succeeded")
    };
    assert_eq!(Some(current), store.get("b"));
    assert_eq!(watch.try_next().unwrap().unwrap().revision.get(), 1);
    assert_eq!(watch.try_next().unwrap().unwrap().revision.get(), 2);
}

#[test]
fn a_failed_write_ends_all_writing_and_nothing_else() {
    let (store, writes, say) = scripted(10);
    let kept = store.commit(put("kept"));
    writes.recv().unwrap();
    say.send(Ok(())).unwrap();
    kept.wait().unwrap();
    let mut watch = store.watch("", Revision::ZERO).unwrap();
    let failure = store.failure();

    let lost = store.commit(put("lost"));
    writes.recv().unwrap();
    let waiting = store.commit(put("waiting"));
    say.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    for refused in [lost.wait(), waiting.wait(), store.commit(put("later")).wait()] {
        let Err(CommitError::Failed(failure)) = refused else { panic!("{refused:?}") };
        assert_eq!(
            failure.to_string(),
            "writing to the data directory /data failed; no change is accepted until a restart"
        );
        assert_eq!(StdError::source(&failure).unwrap().to_string(), "no storage space");
    }
    block_on(failure);
    block_on(store.failure());
    assert!(store.failed().is_some());

    assert!(store.get("kept").is_some());
    assert_eq!(store.list("", &ListOptions::default()).unwrap().entries.len(), 1);
    assert_eq!(watch.try_next().unwrap().unwrap().key.as_ref(), "kept");
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut watch).poll_next(&mut context).is_pending());
    store.close();
}

#[test]
fn an_engine_that_panics_leaves_no_caller_waiting() {
    let (store, writes, say) = scripted(10);
    let first = store.commit(put("a"));
    writes.recv().unwrap();
    let second = store.commit(put("b"));
    drop(say);
    assert!(matches!(first.wait(), Err(CommitError::Closed)));
    assert!(matches!(second.wait(), Err(CommitError::Closed)));
    // Either before the committer ended, or after.
    assert!(matches!(store.commit(put("c")).wait(), Err(CommitError::Closed)));
    let mut watch = store.watch("", Revision::ZERO).unwrap();
    assert_eq!(block_on(poll_fn(|context| Pin::new(&mut watch).poll_next(context))), None);
}
