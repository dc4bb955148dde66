//! Tests of the process runtime with real processes.
//!
//! The binary has its own small harness, which implements the protocol of test runners, because it
//! is also the shim that it starts: `it shim --state DIR`.
#![allow(
    clippy::needless_pass_by_value,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::exit,
    missing_docs
)]

mod agent;
mod devices;
mod exec;
mod harness;
mod isolation;
mod lifecycle;
mod limits;
mod live_volumes;
mod logs;
mod mounts;
mod names;
mod node;
mod probes;
mod recovery;
mod security;
mod site;
mod unreadable;
mod user;
mod volumes;

use std::process::ExitCode;

fn main() -> ExitCode {
    // As in `mxjob`: the mode of files for other users must not depend on it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|word| word == "shim").is_some() {
        return mxjob_node::shim::main(args);
    }
    if args.next_if(|word| word == "as-user").is_some() {
        return harness::run_all(user::tests());
    }
    let tests: Vec<harness::Test> = [
        lifecycle::TESTS,
        limits::TESTS,
        recovery::TESTS,
        isolation::TESTS,
        mounts::TESTS,
        logs::TESTS,
        agent::TESTS,
        devices::TESTS,
        exec::TESTS,
        names::TESTS,
        security::TESTS,
        volumes::TESTS,
        live_volumes::TESTS,
        unreadable::TESTS,
        user::TESTS,
        probes::TESTS,
    ]
    .concat();
    harness::run(&tests)
}
