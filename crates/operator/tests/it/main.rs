//! Operators in this process, across the loopback from the API server that one machine has.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod leading;
mod world;
