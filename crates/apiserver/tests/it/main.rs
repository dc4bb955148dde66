//! The API server in process: real store on a temporary folder, requests through the in-memory
//! connector.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod admission;
mod answers;
mod bounds;
mod clients;
mod collect;
mod connections;
mod contract;
mod definitions;
mod events;
mod gzip;
mod kinds;
mod lists;
mod logs;
mod metrics;
mod names;
mod nodes;
mod nulls;
mod offload;
mod patches;
mod pod_fields;
mod pods;
mod protobuf;
mod rbac;
mod reviews;
mod schemas;
mod server;
mod services;
mod tokens;
mod transports;
mod volumes;
mod watches;
mod watching;
mod webhooks;
mod websockets;
mod writes;
