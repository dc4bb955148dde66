//! The table of messages against the published definitions, and the code against recorded objects.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod generator;
mod malformed;
mod published;
mod recorded;
mod round_trip;
