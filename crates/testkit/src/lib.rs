//! A cluster for tests: the real API server in process, a connection to it on which requests fail
//! as a test demands, the history of all objects, and the rules that every job's life must follow.
//!
//! ```text
//! code under test ──▶ Link: records, faults ──▶ Server (or another API server) ──▶ History ──▶ oracle
//! ```
//!
//! Other crates use it as a development dependency only. It panics where a test should fail.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an unexpected value is a failed test"
)]

mod core;
mod environment;
mod fault;
mod history;
pub mod life;
mod link;
pub mod oracle;
mod random;
mod request;
mod resource;
mod server;

pub use self::core::{Body, BoxError};
pub use fault::{Fault, Faults};
pub use history::{Change, History};
pub use link::Link;
pub use mxjob_access::identity::Identity;
pub use random::Random;
pub use request::{Record, Request};
pub use resource::{Resource, pod_group_definitions};
pub use server::{MxJobs, Options, Server};
