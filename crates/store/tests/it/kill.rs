//! What survives after the writing process was killed, or its log torn.

use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use mxjob_store::{EventKind, Expect, OpenError, Options, Revision, Store, Transaction, Value};

use crate::{put, store};

/// The environment variable with the data directory of the process to be killed.
const CHILD: &str = "STORE_KILL_TEST_DIR";
const WRITERS: u64 = 4;
const KEYS: u64 = 5;
const ROUNDS: u64 = 6;

/// Arbitrary bytes for a key and a number: up to 8 KB, the number first.
fn value(key: &str, number: u64) -> Vec<u8> {
    let mut state = key.bytes().fold(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut out = number.to_be_bytes().to_vec();
    for _ in 0..state % 1_024 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_be_bytes());
    }
    out
}

fn options() -> Options {
    let mut options = Options::default();
    // Small, so that records are removed from disk while the process is killed.
    options.history_events = 50;
    options
}

/// The process under test, if the environment variable is set: writes for ever, and reports each
/// acknowledged write as `acknowledged KEY NUMBER REVISION`.
#[test]
fn child() {
    let Some(dir) = env::var_os(CHILD) else { return };
    let store = Store::open(Path::new(&dir), options()).unwrap();
    let number = Arc::new(AtomicU64::new(store.revision().get() + 1));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, number) = (store.clone(), number.clone());
            thread::spawn(move || {
                for turn in 0.. {
                    let key = format!("{writer}/{}", turn % KEYS);
                    let (number, transaction) = if turn % 11 == 10 {
                        (0, Transaction::delete(key.as_str(), Expect::Any))
                    } else {
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        let value = Value::plain(value(&key, number));
                        (number, Transaction::put(key.as_str(), Expect::Any, value))
                    };
                    let done = store.commit(transaction).wait().unwrap();
                    let line = format!("acknowledged {key} {number} {}\n", done.revision);
                    io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn acknowledged_writes_survive_kill_9_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    // The last acknowledged number (0: deleted) and revision by key.
    let mut acknowledged: HashMap<String, (u64, u64)> = HashMap::new();
    let mut newest = 0;
    for round in 0..ROUNDS {
        let mut child = spawn(dir.path());
        let mut lines = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<_> = line.split(' ').collect();
            let ["acknowledged", key, number, revision] = words[..] else { continue };
            let (number, revision) = (number.parse().unwrap(), revision.parse().unwrap());
            acknowledged.insert(key.to_owned(), (number, revision));
            newest = newest.max(revision);
            lines += 1;
            if lines == 40 + 97 * round {
                // SIGKILL; the reports before it are still read to the end.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(lines >= 40, "the child ended by itself");

        let store = Store::open(dir.path(), options()).unwrap();
        assert!(store.revision().get() >= newest);
        newest = store.revision().get();
        for (key, (number, revision)) in &mut acknowledged {
            let entry = store.get(key);
            if let Some(entry) = &entry {
                let written = u64::from_be_bytes(entry.value[..8].try_into().unwrap());
                assert_eq!(entry.value, value(key, written), "{key}");
                // The write after the last acknowledged one may be there, too.
                assert!(entry.revision.get() >= *revision, "{key}");
                if entry.revision.get() == *revision {
                    assert_eq!(written, *number, "{key}");
                }
                (*number, *revision) = (written, entry.revision.get());
            } else if *number != 0 {
                // Then an unacknowledged delete came after it, and is in the history.
                let after = Revision::new(*revision);
                let mut watch = store.watch(key, after).unwrap();
                let event = watch.try_next().unwrap().unwrap();
                assert_eq!(event.kind, EventKind::Delete);
                (*number, *revision) = (0, event.revision.get());
            }
        }
    }
}

/// The newest journal of the engine.
fn journal(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("log")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|it| it == "jnl")).max().unwrap()
}

#[test]
fn a_torn_end_of_the_log_loses_only_the_torn_batch() {
    let (dir, store) = store(100);
    for number in 1..=5 {
        put(&store, "a", &number.to_string().repeat(5_000));
    }
    store.close();
    let whole = fs::read(journal(dir.path())).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;

    let check = |what: &str, torn: &[u8], revision: Option<u64>| {
        fs::write(journal(dir.path()), torn).unwrap();
        match (Store::open(dir.path(), Options::default()), revision) {
            (Ok(store), Some(revision)) => {
                assert_eq!(store.revision().get(), revision, "{what}");
                let value = revision.to_string().repeat(5_000);
                assert_eq!(store.get("a").unwrap().value, value, "{what}");
                // New writes continue from there.
                assert_eq!(put(&store, "b", "x"), revision + 1, "{what}");
            }
            (Err(OpenError::Damaged { .. }), None) => {
                assert!(fs::read(journal(dir.path())).unwrap() == torn, "{what}");
            }
            (result, expected) => panic!("{what}: {result:?}, not {expected:?}"),
        }
    };
    let zeroed = |from: usize, to: usize| {
        let mut torn = whole.clone();
        torn[from..to].fill(0);
        torn
    };
    check("whole", &whole, Some(5));
    check("cut before the end", &whole[..end - 1], Some(4));
    check("cut in the middle", &whole[..end - 2_500], Some(4));
    check("end not written", &zeroed(end - 2_500, end), Some(4));
    check("middle not written", &zeroed(end - 4_000, end - 2_000), Some(4));
    check("something behind the end", &[&whole[..end], b"\x01x"].concat(), Some(5));
    check("middle changed", &[&whole[..end - 3_000], b"#", &whole[end - 2_999..]].concat(), None);
    check("earlier batch lost", &zeroed(end - 9_000, end - 7_000), None);
}
