//! The node agent: runs the pods that are bound to this machine as processes.
//!
//! * [`agent`] is a Kubernetes client: it registers the node, binds pods, runs them and reports.
//! * [`runtime`] runs containers as processes and knows no API.
//! * [`shim`] is the small process between the two, which outlives the agent. The binary must call
//!   [`shim::main`] before anything else when it is started as `mxjob shim`.
//! * [`exec`] runs a command beside a container's program.
//! * [`log`] writes and reads container logs, [`state`] is what is written down, and [`stop`] ends everything without
//!   an agent.
//!
//! Invariants: the agent is a client of the API and of nothing else; what a process does is known from the
//! state directory, never from memory; a finished container is never started again; nothing is signalled by
//! a stored process id; a word of the API becomes part of a path only as one of the checked types of [`state`]; what a
//! container can change is never looked at first and used afterwards; `unsafe` is in one private module.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing))]

mod addresses;
pub mod agent;
mod beneath;
mod cgroup;
mod changes;
pub mod exec;
mod expand;
mod hosts;
pub mod log;
mod proc;
pub mod runtime;
pub mod shim;
pub mod state;
pub mod stop;
mod sys;
mod volumes;

pub use agent::{Agent, Config, Handle};
pub use stop::{StopReport, stop_all, stop_all_after_agent};
