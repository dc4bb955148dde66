//! `mxjob`: the command line, and the wiring of the other crates.
//!
//! ```text
//! main ─▶ shim?  (one thread, no runtime: the parent process of a container)
//!      └▶ cli ─▶ up, apiserver ─▶ server: store + API + garbage collector [+ controller + node]
//!              ├▶ validate        ─▶ objects ─▶ check
//!              ├▶ run             ─▶ document, manifest ─▶ server as in `up` ─▶ create, follow
//!              ├▶ submit          ─▶ document, manifest ─▶ cluster ─▶ create, follow
//!              ├▶ migrate         ─▶ cluster or files ─▶ report, adoption: crate `migrate`
//!              ├▶ operator        ─▶ the controller as a client of a cluster: crate `operator`
//!              ├▶ manifests       ─▶ what installs the operator: crate `operator`
//!              ├▶ down            ─▶ lock: SIGTERM to the server, then the node's pods
//!              └▶ version
//! ```
//!
//! Owns flags, the configuration file, exit codes, signals and output. Has no rules of the API, of
//! jobs or of pods.

mod apiserver;
mod check;
mod cli;
mod clock;
mod cluster;
mod config;
mod create;
mod data_dir;
mod down;
mod exit;
mod follow;
mod lock;
mod logging;
mod manifest;
mod manifests;
mod migrate;
mod objects;
mod operator;
mod output;
mod process;
mod run;
mod server;
mod settings;
mod signals;
mod submit;
mod up;
mod validate;
mod values;
mod version;

use std::process::ExitCode;

use rustix::fs::Mode;

/// The first argument of a shim. It is no command for users, so the help does not list it.
const SHIM: &str = "shim";

/// The program's own files are for their owner only: they hold Secrets, tokens and keys.
const UMASK: u32 = 0o077;

fn main() -> ExitCode {
    // Before any thread starts. A shim creates files, too.
    let umask = rustix::process::umask(Mode::from_raw_mode(UMASK));
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == SHIM) {
        return mxjob_node::shim::main(words);
    }
    cli::main(umask)
}
