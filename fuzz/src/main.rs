//! `mxjob-fuzz [TARGET [FILE...]] [--seconds N] [--seed N]`; `cargo xtask fuzz` runs it.
#![allow(clippy::print_stdout, reason = "this command talks to a developer's terminal")]
#![allow(clippy::print_stderr, reason = "this command talks to a developer's terminal")]

use std::process::ExitCode;
use std::time::Duration;

use mxjob_fuzz::drive::{self, Budget, Failure, Report};
use mxjob_fuzz::targets::{self, TARGETS};
use mxjob_fuzz::{Target, corpus};

/// Long enough for a few hundred inputs of the slowest target.
const SECONDS: u64 = 4;

/// The parsed command line.
struct Arguments {
    target: Option<&'static Target>,
    files: Vec<String>,
    seconds: u64,
    seed: u64,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fuzz: {message}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments { target: None, files: Vec::new(), seconds: SECONDS, seed: 1 };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().unwrap_or_default();
            text.parse().map_err(|_| format!("{argument}: expected a whole number, got {text:?}"))
        };
        match argument.as_str() {
            "--seconds" => parsed.seconds = number()?,
            "--seed" => parsed.seed = number()?,
            option if option.starts_with('-') => {
                return Err(format!("unknown option {option}"));
            }
            name if parsed.target.is_none() => {
                let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                let found = targets::find(name);
                let unknown =
                    || format!("unknown target {name}; the targets are {}", names.join(", "));
                parsed.target = Some(found.ok_or_else(unknown)?);
            }
            _ => parsed.files.push(argument),
        }
    }
    Ok(parsed)
}

fn run(arguments: &Arguments) -> Result<(), String> {
    if let Some(target) = arguments.target.filter(|_| !arguments.files.is_empty()) {
        return arguments.files.iter().try_for_each(|file| replay(target, file));
    }
    let mut failed = Vec::new();
    for target in
        TARGETS.iter().filter(|one| arguments.target.is_none_or(|target| target.name == one.name))
    {
        let time = Duration::from_secs(arguments.seconds);
        let budget = Budget { seed: arguments.seed, count: u64::MAX, time };
        match drive::run(target, budget)
            .map_err(|error| format!("cannot read the corpus of {}: {error}", target.name))?
        {
            Ok(Report { count, slowest }) => {
                println!("{:<16} {count} inputs, no violation, slowest {slowest:.1?}", target.name);
            }
            Err(Failure { message, path }) => {
                println!("{:<16} FAILED: {message:.2000}", target.name);
                println!("{:<16} replay: cargo xtask fuzz {} {}", "", target.name, path.display());
                failed.push(target.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("violations in {}", failed.join(", "))) }
}

fn replay(target: &Target, file: &str) -> Result<(), String> {
    let seed = corpus::read(file.into()).map_err(|error| format!("cannot read {file}: {error}"))?;
    let took = drive::feed(target, &seed.bytes).map_err(|message| format!("{file}: {message}"))?;
    println!("{file}: no violation, took {took:.1?}");
    Ok(())
}
