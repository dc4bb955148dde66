//! Tests of the whole program: real processes, real sockets, real kubectl, and `kill -9`.
//!
//! Every test has its own server, data directory and port, so all tests can run at the same time.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, too"
)]

mod access;
mod bounds;
mod clients;
mod crash;
mod early_answers;
mod exec;
mod file_modes;
mod jobs;
mod kubectl;
mod life;
mod manifests;
mod migrate;
mod operator;
mod real_mxnet;
mod run;
mod starting;
mod stopping;
mod submit;
mod support;
mod tuning;
mod unreadable;
mod validate;
mod volumes;
