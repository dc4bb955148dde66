//! What is generated from the Kubernetes types is fresh.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod kubernetes;
mod pod_fields;
