//! The rules of the contract.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod admission;
mod defaults;
mod definition;
mod documented;
mod jobs;
mod manifests;
mod pods;
mod properties;
mod queued;
mod replacing;
mod reviews;
mod status;
mod typed;
mod unknown_fields;
mod validation;
mod wild;
