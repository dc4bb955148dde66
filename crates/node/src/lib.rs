//! The node agent: runs the pods that are bound to this machine as processes.
mod cgroup;
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
