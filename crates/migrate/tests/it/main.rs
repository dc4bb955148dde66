//! Jobs as each older operator stored them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod assessment;
mod stored;
