//! `mxjob operator` as a process of its own, across the network from an API server, with simulated
//! nodes.
//!
//! ```text
//! operator(s) ──▶ proxy: records, faults ──▶ mxjob apiserver ◀── nodes, history: clients without faults
//! ```
//!
//! The tests check both the requests of the operator (the proxy's records) and their results (the
//! history, which has every version of every object).

pub(crate) mod cluster;
mod faults;
mod history;
mod install;
mod leading;
mod lifecycle;
mod neighbours;
mod nodes;
pub(crate) mod proxy;
mod random_jobs;
mod rights;
mod too_large;
