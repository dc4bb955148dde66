//! Whole random lives of jobs under virtual time: the real controller against a server, nodes and people in memory that do everything
//! that a cluster may do to it.
//!
//! A life comes from one seed and nothing else, so one that went wrong can be lived again:
//!
//! ```text
//! SEED=4711 cargo test -p mxjob-controller simulation -- --nocapture
//! ```
//!
//! prints it line by line. `SEEDS=100000` lives so many more than usual.
//!
//! * [`life`]: what happens; * [`cluster`]: the server and its troubles; * [`history`]: what really happened; * [`oracle`]: what
//!   the contract says of it, worked out apart from the controller's own rules.

mod clock;
mod cluster;
mod history;
mod life;
mod oracle;
mod random;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lives in each of the tests below; they run beside each other.
const SEEDS: u64 = 500;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Lives every life of a share, and tells of the first few that went wrong.
#[allow(clippy::print_stdout)] // the story of a life that went wrong is for the reader of the test
fn live_and_judge(share: u64) {
    if let Some(seed) = setting("SEED") {
        if share == 0 {
            let life = life::live(seed);
            println!("{}\n{}", life.job["spec"], life.history.log.join("\n"));
            assert_eq!(oracle::judge(&life), Vec::<String>::new(), "seed {seed}");
        }
        return;
    }
    let count = setting("SEEDS").map_or(SEEDS, |all| all.div_ceil(4));
    let mut failed = Vec::new();
    for seed in share * 1_000_000..share * 1_000_000 + count {
        let wrong = catch_unwind(AssertUnwindSafe(|| oracle::judge(&life::live(seed))));
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
fn every_life_ends_as_the_contract_says() {
    live_and_judge(0);
}

#[test]
fn every_life_ends_as_the_contract_says_second_share() {
    live_and_judge(1);
}

#[test]
fn every_life_ends_as_the_contract_says_third_share() {
    live_and_judge(2);
}

#[test]
fn every_life_ends_as_the_contract_says_fourth_share() {
    live_and_judge(3);
}

#[test]
fn a_life_can_be_lived_again() {
    for seed in [1, 2, 3] {
        let (first, second) = (life::live(seed), life::live(seed));
        assert_eq!(first.history.log, second.history.log, "seed {seed}");
    }
}
