//! The rules of the contract, row by row.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod documented;
