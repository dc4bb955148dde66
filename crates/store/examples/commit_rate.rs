//! Measures how many changes per second the store makes durable, compared with plain appends to the
//! same disk at the same time.
//!
//! ```console
//! $ cargo run --profile release-fast -p mxjob-store --example commit_rate -- [FOLDER] [SECONDS]
//! ```
//!
//! Each writer waits for a change before it makes the next. The comparison is one thread that
//! appends one value per writer and then syncs: the most that group commit can reach. Values have
//! 1,200 to 6,000 bytes, 3,600 on average.

#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first error")]

use std::{
    env,
    fs::File,
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use mxjob_store::{Expect, Options, Store, Transaction, Value};

const WRITERS: [usize; 3] = [1, 16, 64];
/// The number of keys of each writer; most changes replace a value.
const KEYS: usize = 50;
/// How often the plain log and the store alternate at each number of writers.
const TURNS: u32 = 4;

#[derive(Default)]
struct Rate {
    latencies: Vec<Duration>,
    changes: usize,
    took: Duration,
}

fn main() {
    let mut args = env::args().skip(1);
    let folder = args.next().unwrap_or_else(|| ".".to_owned());
    let seconds = args.next().map_or(2.0, |seconds| seconds.parse().unwrap());
    let time = Duration::from_secs_f64(seconds);
    let dir = tempfile::tempdir_in(folder).unwrap();

    let mut out = io::stdout().lock();
    writeln!(out, "changes durable per second, and the wait for one in ms").unwrap();
    writeln!(
        out,
        "{:>7}  {:>9} {:>7} {:>7}  {:>9} {:>7} {:>7}  {:>11}",
        "writers", "bare log", "p50", "p99", "store", "p50", "p99", "store/bare"
    )
    .unwrap();
    for writers in WRITERS {
        let mut file = File::create(dir.path().join("bare")).unwrap();
        let store =
            Store::open(&dir.path().join(format!("store-{writers}")), Options::default()).unwrap();
        let (mut bare, mut full) = (Rate::default(), Rate::default());
        // Alternating, so that other load on the machine affects both equally.
        for _ in 0..TURNS {
            bare.add(append(&mut file, writers, time / TURNS));
            full.add(commit(&store, writers, time / TURNS));
        }
        store.close();
        writeln!(
            out,
            "{writers:>7}  {:>9.0} {:>7.2} {:>7.2}  {:>9.0} {:>7.2} {:>7.2}  {:>11.2}",
            bare.per_second(),
            bare.percentile(50),
            bare.percentile(99),
            full.per_second(),
            full.percentile(50),
            full.percentile(99),
            full.per_second() / bare.per_second()
        )
        .unwrap();
    }
}

impl Rate {
    fn add(&mut self, (latencies, changes, took): (Vec<Duration>, usize, Duration)) {
        self.latencies.extend(latencies);
        self.latencies.sort();
        self.changes += changes;
        self.took += took;
    }

    #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
    fn per_second(&self) -> f64 {
        self.changes as f64 / self.took.as_secs_f64()
    }

    fn percentile(&self, percent: usize) -> f64 {
        let index = (self.latencies.len() * percent / 100).min(self.latencies.len() - 1);
        self.latencies.get(index).unwrap().as_secs_f64() * 1e3
    }
}

/// The bytes of change number `number`.
fn value(number: usize) -> Vec<u8> {
    vec![b'x'; 1_200 + number * 997 % 4_801]
}

fn append(file: &mut File, batch: usize, time: Duration) -> (Vec<Duration>, usize, Duration) {
    let (start, mut latencies) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let begun = Instant::now();
        let numbers = (0..batch).map(|writer| latencies.len() * batch + writer);
        let bytes: Vec<u8> = numbers.flat_map(value).collect();
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        latencies.push(begun.elapsed());
    }
    let changes = latencies.len() * batch;
    (latencies, changes, start.elapsed())
}

fn commit(store: &Store, writers: usize, time: Duration) -> (Vec<Duration>, usize, Duration) {
    let start = Instant::now();
    let threads: Vec<_> = (0..writers)
        .map(|writer| {
            let store = store.clone();
            thread::spawn(move || {
                let mut latencies = Vec::new();
                while start.elapsed() < time {
                    let number = latencies.len() * writers + writer;
                    let key = format!("{writer}/{}", latencies.len() % KEYS);
                    let value = Value::plain(value(number));
                    let begun = Instant::now();
                    store.commit(Transaction::put(key, Expect::Any, value)).wait().unwrap();
                    latencies.push(begun.elapsed());
                }
                latencies
            })
        })
        .collect();
    let latencies: Vec<_> = threads.into_iter().flat_map(|it| it.join().unwrap()).collect();
    let changes = latencies.len();
    (latencies, changes, start.elapsed())
}
