//! What prevents a data directory from being opened, and what must not.

use std::{fs, process};

use mxjob_store::{OpenError, Options, Revision, Store};

use crate::{put, reopen, store};

#[test]
fn one_store_locks_a_directory_until_its_last_handle_is_dropped() {
    let (dir, store) = store(10);
    let refused = Store::open(dir.path(), Options::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "the data directory {} is in use by process {}; stop it or choose another directory",
            dir.path().display(),
            process::id()
        )
    );
    let other = store.clone();
    // An open watch does not keep the directory locked.
    let _watch = store.watch("", Revision::ZERO).unwrap();
    drop(store);
    assert!(matches!(Store::open(dir.path(), Options::default()), Err(OpenError::Locked { .. })));
    drop(other);
    reopen(&dir, 10);
}

#[test]
fn a_file_is_not_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    for path in [path.clone(), path.join("below")] {
        let refused = Store::open(&path, Options::default()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("{} is not a directory; choose another data directory", path.display())
        );
    }
}

#[test]
fn an_interrupted_first_start_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let unfinished = dir.path().join("log.new");
    fs::create_dir_all(unfinished.join("keyspaces")).unwrap();
    fs::write(unfinished.join("0.jnl"), "").unwrap();
    assert_eq!(put(&reopen(&dir, 10), "a", "x"), 1);
    assert!(!unfinished.exists());
}
