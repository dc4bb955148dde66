//! The executor against a small API server in memory. The rules of a job are tested where they are decided, in `plan`; here it is
//! that plans are carried out: in the right order, once, and again after trouble.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod executor;
mod gang;
mod neighbours;
mod nodes;
mod obstacles;
mod pod_groups;
mod rights;
mod server;
mod simulation;
mod wild;
