//! The Kubernetes API over the store.
//!
//! A request goes authentication → authorization → decoding → the kind's rules → the store, and comes back as an object, a
//! list, a Table or a stream. One registry of kinds and one set of verbs serve every kind: see [`registry`].
//!
//! Owns: HTTP, TLS, who may call, the meaning of verbs, garbage collection. Never does: decide what a job needs (that is
//! the controller, a client like any other) or run anything (that is the node, another client).

mod admission;
mod alias;
mod answer;
mod body;
pub mod bootstrap;
pub mod client;
mod compress;
mod context;
mod default_roles;
mod definitions;
pub mod discovery;
mod document;
pub mod environment;
mod error;
mod escalation;
mod expression;
pub mod garbage;
pub mod health;
pub mod kind;
mod kinds;
pub mod kubeconfig;
mod negotiate;
pub mod node;
pub mod openapi;
mod options;
mod ownership;
mod protobuf;
pub mod registry;
mod rendering;
mod request;
mod schemas;
mod server;
mod service;
pub mod strategy;
mod table;
pub mod upkeep;
mod verbs;
pub mod version;

pub use body::{Body, BodyError};
pub use server::{ApiServer, Config, Extensions, Metrics};
