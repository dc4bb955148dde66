//! The loop: every file of the corpus, then mutations of them, until a number or a time is reached.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mxjob_testkit::Random;

use crate::corpus::{self, Seed};
use crate::{Target, mutate};

/// How long one input may take, on a slow and busy machine and without optimisation. If it takes
/// longer, the work grows faster than the input.
const SLOW: Duration = Duration::from_secs(10);

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The largest number of mutated inputs.
    pub count: u64,
    /// The longest time for mutated inputs.
    pub time: Duration,
}

/// An input that violates a rule.
#[derive(Debug)]
pub struct Failure {
    /// The violation.
    pub message: String,
    /// The file with the input.
    pub path: PathBuf,
}

/// A run without a violation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// The number of inputs.
    pub count: u64,
    /// The longest time of one input. Work that grows faster than the input shows here first.
    pub slowest: Duration,
}

/// Feeds a target until the first violation or the end of the budget.
///
/// # Errors
/// The corpus cannot be read.
pub fn run(target: &Target, budget: Budget) -> io::Result<Result<Report, Failure>> {
    let seeds = corpus::load(target)?;
    let mut report = Report::default();
    for Seed { path, bytes } in &seeds {
        match feed(target, bytes) {
            Ok(took) => report.add(took),
            Err(message) => return Ok(Err(Failure { message, path: path.clone() })),
        }
    }
    let mut random = Random::named(budget.seed, target.name);
    let began = Instant::now();
    for _ in 0..budget.count {
        if began.elapsed() >= budget.time {
            break;
        }
        let input = mutate::mutate(target, &seeds, &mut random);
        match feed(target, &input) {
            Ok(took) => report.add(took),
            Err(message) => {
                return Ok(Err(Failure { message, path: keep(target, &input)? }));
            }
        }
    }
    Ok(Ok(report))
}

impl Report {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.slowest = self.slowest.max(took);
    }
}

/// Feeds one input; returns how long it took.
///
/// # Errors
/// The violation, as a message.
pub fn feed(target: &Target, input: &[u8]) -> Result<Duration, String> {
    let began = Instant::now();
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|panic| text(panic.as_ref()))?;
    let took = began.elapsed();
    if took > SLOW { Err(format!("took {took:?}")) } else { Ok(took) }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let fixed = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    fixed.or_else(|| panic.downcast_ref().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// Writes an input to a file that is named after its content. With the ending `raw`, a line break
/// at the end is part of the input.
fn keep(target: &Target, input: &[u8]) -> io::Result<PathBuf> {
    let folder = corpus::home().join("failures").join(target.name);
    std::fs::create_dir_all(&folder)?;
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let path = folder.join(format!("{hash:016x}.raw"));
    std::fs::write(&path, input)?;
    Ok(path)
}
