//! Random lives of jobs under virtual time: the real controller against a server, nodes and people
//! in memory that do everything that a cluster may do to it.
//!
//! A life depends on one seed alone, so a failed one can be repeated:
//!
//! ```text
//! SEED=4711 cargo test -p mxjob-controller simulation -- --nocapture
//! ```
//!
//! prints it line by line. `SEEDS=100000` runs that many lives instead of the default.
//!
//! * [`life`]: what happens
//! * `mxjob_testkit`: the server, its faults, and the contract's rules for a life

mod clock;
mod life;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lives in each of the tests below; the tests run in parallel.
const SEEDS: u64 = 75;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Runs every life of a share, and reports the first failures.
#[allow(clippy::print_stdout)] // the log of a failed life is for the reader of the test
fn run_and_check(share: u64) {
    if let Some(seed) = setting("SEED") {
        if share == 0 {
            let life = life::live(seed);
            println!("{}\n{}", life.spec, life.log.join("\n"));
            assert_eq!(life.violations, Vec::<String>::new(), "seed {seed}");
        }
        return;
    }
    let count = setting("SEEDS").map_or(SEEDS, |all| all.div_ceil(4));
    let mut failed = Vec::new();
    for seed in share * 1_000_000..share * 1_000_000 + count {
        let wrong = catch_unwind(AssertUnwindSafe(|| life::live(seed).violations));
        let wrong = wrong.unwrap_or_else(|_| vec!["it panicked".to_owned()]);
        if !wrong.is_empty() {
            failed.push(format!("SEED={seed}: {}", wrong.join("; ")));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {count} lives went wrong:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn every_life_follows_the_contract() {
    run_and_check(0);
}

#[test]
fn every_life_follows_the_contract_second_share() {
    run_and_check(1);
}

#[test]
fn every_life_follows_the_contract_third_share() {
    run_and_check(2);
}

#[test]
fn every_life_follows_the_contract_fourth_share() {
    run_and_check(3);
}

#[test]
fn a_life_can_be_repeated() {
    for seed in [1, 2, 3] {
        let (first, second) = (life::live(seed), life::live(seed));
        assert_eq!(first.log, second.log, "seed {seed}");
    }
}
