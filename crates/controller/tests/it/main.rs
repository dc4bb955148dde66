//! The executor against the API server in process. The unit tests of `plan` cover the rules of a
//! job; these tests check that plans are carried out: in the right order, once, and again after
//! errors.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod cluster;
mod executor;
mod gang;
mod neighbours;
mod nodes;
mod obstacles;
mod pod_groups;
mod rights;
mod simulation;
mod wild;
