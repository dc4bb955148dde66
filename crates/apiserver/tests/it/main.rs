//! The API server in process: real store on a temporary folder, requests through the in-memory connector.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, unreachable_pub)]

mod collect;
mod contract;
mod gzip;
mod lists;
mod server;
mod watches;
mod watching;
mod writes;
