//! `mxjob`: the command line, and the wiring of the other crates.
//!
//! ```text
//! main ─▶ shim?  (one thread, no runtime: the parent process of a container)
//!      └▶ cli ─▶ up, apiserver ─▶ server: store + API + garbage collector [+ controller + node]
//!              ├▶ run             ─▶ document, manifest ─▶ server ─▶ create, follow
//!              ├▶ submit          ─▶ document, manifest ─▶ kubeconfig ─▶ create, follow
//!              ├▶ migrate         ─▶ kubeconfig or files ─▶ report, adoption: crate `migrate`
//!              ├▶ operator        ─▶ the controller as a client of a cluster
//!              ├▶ down            ─▶ lock: SIGTERM to the server, then the node's pods
//!              └▶ version
//! ```
//!
//! Owns flags, the configuration file, exit codes, signals and output. Has no rules of the API, of jobs or of pods.

mod apiserver;
mod cli;
mod cluster;
mod config;
mod create;
mod data_dir;
mod document;
mod down;
mod exit;
mod follow;
mod lock;
mod logging;
mod manifest;
mod manifests;
mod migrate;
mod operator;
mod output;
mod process;
mod run;
mod server;
mod settings;
mod signals;
mod submit;
mod up;
mod values;
mod version;

use std::process::ExitCode;

use rustix::fs::Mode;

/// The first argument of a shim. It is not a command for users, so no help names it.
const SHIM: &str = "shim";

/// What this program's own files are closed to: everybody but their owner. They hold Secrets, tokens and keys.
const UMASK: u32 = 0o077;

fn main() -> ExitCode {
    // Before there is any thread. A shim makes files, too.
    let umask = rustix::process::umask(Mode::from_raw_mode(UMASK));
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == SHIM) {
        return mxjob_node::shim::main(words);
    }
    cli::main(umask)
}
