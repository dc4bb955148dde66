//! Tests of the process runtime with real processes.
//!
//! The binary has its own small harness (it answers `--list` and runs tests by name, as test runners expect),
//! because it is also the shim it starts: `it shim --state DIR`.
#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::exit,
    missing_docs
)]

mod agent;
mod exec;
mod fake;
mod harness;
mod isolation;
mod lifecycle;
mod logs;
mod names;
mod node;
mod recovery;
mod site;
mod unread;
mod volumes;

use std::process::ExitCode;

fn main() -> ExitCode {
    // As the program sets it: what others are to read must not depend on it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|word| word == "shim").is_some() {
        return mxjob_node::shim::main(args);
    }
    let tests: Vec<harness::Test> = [
        lifecycle::TESTS,
        recovery::TESTS,
        isolation::TESTS,
        logs::TESTS,
        agent::TESTS,
        exec::TESTS,
        names::TESTS,
        volumes::TESTS,
        unread::TESTS,
    ]
    .concat();
    harness::run(&tests)
}
