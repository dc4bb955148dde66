//! The program as its users meet it: real processes, real sockets, real kubectl, and `kill -9`.
//!
//! Every test has a server, a data directory and a port of its own, so that all of them run at the
//! same time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, too"
)]

mod access;
mod clients;
mod crash;
mod early_answers;
mod exec;
mod jobs;
mod kubectl;
mod life;
mod manifests;
mod migrate;
mod operator;
mod poison;
mod privacy;
mod real_mxnet;
mod run;
mod starting;
mod stopping;
mod submit;
mod support;
mod tuning;
