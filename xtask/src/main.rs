//! Developer commands of this repository, as `cargo xtask NAME`.
//!
//! The commands run from any folder of the repository, print each program that they start, and end
//! with one sentence and a non-zero exit code when they fail.
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

use std::process::ExitCode;

use anyhow::{Result, bail};

/// The function of a command; it gets the command's arguments.
type Run = fn(&[String]) -> Result<()>;

/// A command's name, its line in the help text, and its function.
type Command = (&'static str, &'static str, Run);

/// In the order of the help text.
const COMMANDS: &[Command] = &[
    ("demo", "train a real model on this machine", demo::run),
    ("test", "install what the tests need and run all tests", checks::test),
    ("lint", "check formatting, run clippy, and cargo-deny if it is installed", checks::lint),
    ("fmt", "wrap comments, sort imports, and run rustfmt", tidy::fix::run),
    ("tidy", "check the rules of this repository that no other tool checks", tidy::run),
    ("conformance", "compare the API server with recorded answers of a real one", conformance::run),
    ("fuzz", "feed mutated input to every decoder, a few seconds each", checks::fuzz),
    ("bench", "measure, and write docs/reference/benchmarks.md", bench::run),
    (
        "image",
        "build the program for a container image, and try it in an empty root folder",
        image::run,
    ),
    ("codegen", "write the generated files (schemas, messages, manifests/)", checks::codegen),
    ("ci", "lint, test, conformance, tidy: what must pass before a merge", checks::ci),
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
        None => bail!("unknown command; `cargo xtask help` lists the commands"),
    }
}

fn help() {
    println!("Developer commands. Usage: cargo xtask COMMAND [ARGUMENTS]\n");
    for (name, about, _) in COMMANDS {
        println!("  {name:<12} {about}");
    }
    println!(
        "\nArguments of `test` go to the test runner; those of `conformance` are names of groups;\n\
         `fmt` takes folders; `fuzz` takes [TARGET [FILE...]] [--seconds N] [--seed N], see fuzz/README.md."
    );
}
