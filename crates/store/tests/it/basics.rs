//! Transactions, lists and restarts.

use mxjob_store::{
    CommitError, Expect, ListOptions, Op, ReadError, Revision, Store, Transaction, Value,
};

use crate::{delete, put, reopen, store};

fn keys(store: &Store, prefix: &str, options: &ListOptions<'_>) -> Vec<String> {
    let page = store.list(prefix, options).unwrap();
    page.entries.iter().map(|entry| entry.key.to_string()).collect()
}

fn at(revision: u64) -> ListOptions<'static> {
    ListOptions { at: Some(Revision::new(revision)), ..ListOptions::default() }
}

#[test]
fn expectations_refer_to_the_state_before_the_transaction() {
    let (_dir, store) = store(100);
    let first = put(&store, "a", "1");
    let check = |expect, key: &str, holds: bool| {
        let op = Op::Check { key: key.into(), expect };
        let answer = store.commit(Transaction(vec![op])).wait();
        assert_eq!(answer.is_ok(), holds, "{expect:?} {key}");
        // A check gets no revision.
        assert_eq!(store.revision().get(), first);
    };
    check(Expect::Any, "a", true);
    check(Expect::Any, "b", true);
    check(Expect::Absent, "a", false);
    check(Expect::Absent, "b", true);
    check(Expect::At(Revision::new(first)), "a", true);
    check(Expect::At(Revision::new(first + 1)), "a", false);
    check(Expect::At(Revision::new(first)), "b", false);
}

#[test]
fn a_transaction_is_atomic_and_has_one_revision() {
    let (dir, store) = store(100);
    put(&store, "old", "1");
    let ops = |last: Expect| {
        Transaction(vec![
            Op::Put { key: "new".into(), expect: Expect::Absent, value: Value::plain("n") },
            Op::Delete { key: "old".into(), expect: Expect::Any },
            Op::Delete { key: "nothing".into(), expect: Expect::Any },
            Op::Check { key: "guard".into(), expect: last },
        ])
    };
    let refused = store.commit(ops(Expect::At(Revision::new(1)))).wait().unwrap_err();
    assert_eq!(refused.to_string(), "guard is not as expected: it does not exist");
    assert!(matches!(refused, CommitError::Conflict { index: 3, current: None, .. }));
    assert_eq!(keys(&store, "", &ListOptions::default()), ["old"]);

    let done = store.commit(ops(Expect::Absent)).wait().unwrap();
    assert_eq!(done.revision.get(), 2);
    assert_eq!(done.stored[0], store.get("new"));
    assert_eq!(done.stored[1..], [None, None, None]);
    assert_eq!(done.previous[1].as_ref().unwrap().value, "1");
    assert_eq!(keys(&store, "", &ListOptions::default()), ["new"]);
    store.close();

    let store = reopen(&dir, 100);
    assert_eq!(store.revision().get(), 2);
    assert_eq!(store.get("new"), done.stored[0]);
    assert_eq!(keys(&store, "", &at(1)), ["old"]);
}

#[test]
fn a_transaction_that_writes_a_key_twice_is_refused() {
    let (_dir, store) = store(100);
    let put = Op::Put { key: "a".into(), expect: Expect::Any, value: Value::plain("") };
    let delete = Op::Delete { key: "a".into(), expect: Expect::Any };
    let refused = store.commit(Transaction(vec![put, delete])).wait().unwrap_err();
    assert_eq!(refused.to_string(), "the transaction is not valid: it writes a key twice");
}

#[test]
fn a_stamped_value_carries_its_own_revision() {
    let (dir, store) = store(100);
    for revision in 1..=11 {
        let value = Value::stamped("<", ">");
        let done = store.commit(Transaction::put("a", Expect::Any, value)).wait().unwrap();
        assert_eq!(done.stored[0].as_ref().unwrap().value, format!("<{revision}>"));
    }
    store.close();
    assert_eq!(reopen(&dir, 100).get("a").unwrap().value, "<11>");
}

#[test]
fn pages_of_an_old_revision_make_the_list_of_that_revision() {
    let (_dir, store) = store(100);
    for key in ["a/1", "a/2", "a/3", "a/4", "b/1"] {
        put(&store, key, "old");
    }
    let first = store.list("a/", &ListOptions { limit: 2, ..at(5) }).unwrap();
    assert_eq!((first.more, first.remaining, first.revision.get()), (true, 2, 5));
    delete(&store, "a/2");
    delete(&store, "a/3");
    put(&store, "a/3x", "new");
    put(&store, "a/4", "new");

    let after = Some("a/2");
    let second = store.list("a/", &ListOptions { after, limit: 2, ..at(5) }).unwrap();
    assert_eq!((second.more, second.remaining), (false, 0));
    let found: Vec<_> = second.entries.iter().map(|it| (&*it.key, &*it.value)).collect();
    assert_eq!(found, [("a/3", &b"old"[..]), ("a/4", b"old")]);
    let now = ListOptions { after, ..ListOptions::default() };
    assert_eq!(keys(&store, "a/", &now), ["a/3x", "a/4"]);
}

#[test]
fn reads_outside_the_history_fail() {
    let (dir, store) = store(100);
    for _ in 0..5 {
        put(&store, "a", "x");
    }
    store.compact(Revision::new(3));
    // An empty transaction shows that the committer has processed the compaction.
    store.commit(Transaction::default()).wait().unwrap();
    let check = |store: &Store| {
        let floor = Revision::new(3);
        assert_eq!(store.compacted(), floor);
        assert_eq!(store.list("", &at(2)), Err(ReadError::TooOld { floor }));
        assert_eq!(store.list("", &at(3)).unwrap().entries[0].revision, floor);
        let current = Revision::new(5);
        assert_eq!(store.list("", &at(6)), Err(ReadError::Future { current }));
        assert_eq!(store.watch("", Revision::new(2)).unwrap_err(), ReadError::TooOld { floor });
        assert_eq!(store.watch("", Revision::new(6)).unwrap_err(), ReadError::Future { current });
    };
    check(&store);
    store.close();
    check(&reopen(&dir, 100));
}

#[test]
fn revisions_do_not_go_back_when_the_last_record_has_left_the_disk() {
    let (dir, store) = store(100);
    put(&store, "a", "x");
    let last = delete(&store, "a");
    store.compact(store.revision());
    store.close();
    let store = reopen(&dir, 100);
    assert_eq!((store.revision().get(), store.compacted().get()), (last, last));
    assert_eq!(put(&store, "a", "y"), last + 1);
}

#[test]
fn the_created_revision_survives_changes_and_is_renewed_after_a_delete() {
    let (_dir, store) = store(100);
    let created = |store: &Store| store.get("a").unwrap().created.get();
    put(&store, "a", "1");
    put(&store, "a", "2");
    assert_eq!(created(&store), 1);
    delete(&store, "a");
    put(&store, "a", "3");
    assert_eq!(created(&store), 4);
}

#[test]
fn a_closed_store_still_reads_and_refuses_to_write() {
    let (_dir, store) = store(100);
    put(&store, "a", "1");
    let other = store.clone();
    store.close();
    assert!(other.get("a").is_some());
    let refused = other.commit(Transaction::delete("a", Expect::Any)).wait();
    assert!(matches!(refused, Err(CommitError::Closed)));
}
