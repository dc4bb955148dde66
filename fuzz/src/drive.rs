//! The loop: every file of the corpus, then what mutation makes of them, until a number or a time is reached.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::corpus::{self, Seed};
use crate::random::Random;
use crate::{Target, mutate};

/// How long one input may take, on a slow and busy machine and without optimisation: more is work that grows faster than
/// the input.
const SLOW: Duration = Duration::from_secs(10);

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// The numbers that mutation draws.
    pub seed: u64,
    /// Mutated inputs at most.
    pub count: u64,
    /// Time for mutated inputs at most.
    pub time: Duration,
}

/// An input that something is wrong with.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong.
    pub message: String,
    /// Where the input is.
    pub path: PathBuf,
}

/// What was done without anything being wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// The number of inputs.
    pub count: u64,
    /// The longest that one took: what grows faster than the input shows here first.
    pub slowest: Duration,
}

/// Feeds a target; what was done, or the first that something is wrong with.
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
    let mut random = Random::new(budget.seed, target.name);
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

/// Feeds one input; how long it took.
///
/// # Errors
/// What is wrong with it.
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

/// Writes an input down, named after its content. (`raw`: a line break at its end belongs to it.)
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
