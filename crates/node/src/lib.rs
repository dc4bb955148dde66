//! The node agent: runs the pods that are bound to this machine as processes.
//!
//! * [`agent`] is a Kubernetes client: it registers the node, binds pods, runs them and reports
//!   their status.
//! * [`runtime`] runs containers as processes, without the API. [`stop_all`] stops all of them
//!   without an agent.
//! * [`shim`] is the small process between the agent and a container. It outlives the agent. A
//!   binary that is started as `mxjob shim` must call [`shim::main`] before anything else.
//! * [`exec`] runs commands in running containers.
//! * [`log`] writes and reads container logs.
//! * [`state`] defines the files that describe pods and attempts.
//!
//! Invariants:
//!
//! * The agent is a client of the API and of nothing else.
//! * The state of a process is read from the state directory, never from memory.
//! * A finished container is never started again.
//! * No process is signalled by a stored process id alone.
//! * A name from the API becomes part of a path only as one of the checked types of [`state`].
//! * A path that a container can change is never checked first and used afterwards.
//! * `unsafe` is only in the private module `sys`.
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_in_result, clippy::unwrap_used)
)]

mod addresses;
pub mod agent;
mod beneath;
mod cgroup;
mod changes;
mod clock;
pub mod exec;
mod expand;
mod hosts;
pub mod log;
mod ownership;
mod proc;
pub mod runtime;
pub mod shim;
pub mod state;
mod sys;
mod volumes;

pub use agent::{Agent, ApiAccess, Config, Handle, Identity};
pub use runtime::{StopReport, stop_all, stop_all_after_agent};
