//! Developer commands of this repository, as `cargo xtask NAME`.
//!
//! Everything with logic lives here instead of in shell scripts. The commands run from any folder of the
//! repository, say what they do while they do it, and end with one sentence and a non-zero exit code when they fail.
#![allow(clippy::print_stdout, reason = "these commands talk to a developer's terminal")]
#![allow(clippy::print_stderr, reason = "these commands talk to a developer's terminal")]

mod bench;
mod checks;
mod conformance;
mod demo;
mod environment;
mod image;
mod interrupt;
mod run;
mod server;
mod tidy;

use anyhow::{Result, bail};
use std::process::ExitCode;

/// One command: its name, what it is for, and the function that does it.
type Command = (&'static str, &'static str, fn(&[String]) -> Result<()>);

/// In the order of the help text.
const COMMANDS: &[Command] = &[
    ("demo", "train a real model on this machine, from nothing to Succeeded", demo::run),
    ("test", "install what the tests need and run all of them", checks::test),
    ("lint", "formatting, clippy, and cargo-deny where it is installed", checks::lint),
    ("tidy", "the rules of this repository that no other tool checks", tidy::run),
    ("conformance", "compare the API server with recorded answers of a real one", conformance::run),
    ("fuzz", "feed mutated input to every decoder, some seconds each", checks::fuzz),
    ("bench", "measure, and write docs/reference/benchmarks.md", bench::run),
    ("image", "build the program for a container image, and try it in an empty root", image::run),
    ("codegen", "write the generated files again (schemas, manifests/)", checks::codegen),
    ("ci", "tidy, lint, test, conformance, fuzz: what must pass before a merge", checks::ci),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", &[][..]),
    };
    if matches!(name, "help" | "--help" | "-h") {
        help();
        return ExitCode::SUCCESS;
    }
    match dispatch(name, rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<interrupt::Interrupted>() => {
            eprintln!("{name}: stopped");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(name: &str, arguments: &[String]) -> Result<()> {
    match COMMANDS.iter().find(|command| command.0 == name) {
        Some(command) => command.2(arguments),
        None => bail!("there is no such command; `cargo xtask help` lists them"),
    }
}

fn help() {
    println!("Developer commands. Usage: cargo xtask COMMAND [ARGUMENTS]\n");
    for (name, about, _) in COMMANDS {
        println!("  {name:<12} {about}");
    }
    println!(
        "\nArguments of `test` go to the test runner; those of `conformance` are group names;\n\
         `fuzz` takes [TARGET [FILE...]] [--seconds N] [--seed N], see fuzz/README.md."
    );
}
