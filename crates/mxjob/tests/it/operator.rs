//! `mxjob operator` as a process of its own, across the network from an API server, with nodes that
//! only play.
//!
//! ```text
//! operator(s) ──▶ proxy: faults, records ──▶ mxjob apiserver ◀── nodes, history: clients without faults
//! ```
//!
//! What is asserted comes from two sides: what the operator asked (the proxy's records) and what
//! became of it (the history, which sees every version of every object).

pub(crate) mod cluster;
mod history;
mod install;
mod leading;
mod lifecycle;
mod lives;
mod neighbours;
mod nodes;
mod oracle;
pub(crate) mod proxy;
mod random;
mod record;
mod rights;
mod storms;
mod too_large;
pub(crate) mod trouble;
