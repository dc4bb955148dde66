//! The Kubernetes API over the store.
//!
//! A request is authenticated, authorized, decoded, checked by the rules of its kind and by
//! admission, and committed to the store. The answer is an object, a list, a Table or a stream. One
//! registry of kinds and one set of verbs serve every kind: see [`registry`].
//!
//! Owns: kinds, the meaning of requests and verbs, admission, discovery. The
//! crates `serve` and `access` own connections, TLS, identities and rights. Never decides what a
//! job needs (the controller, a client, does) and runs no process (the node agent, another client,
//! does).

mod admission;
mod answer;
mod body;
pub mod bootstrap;
pub mod client;
mod compress;
mod context;
mod conversion;
mod default_roles;
mod definition_finalizer;
pub mod definitions;
pub mod discovery;
mod document;
pub mod environment;
mod error;
mod escalation;
pub mod expiry;
mod expression;
mod flow;
pub mod health;
pub mod kind;
mod kinds;
pub mod kubeconfig;
mod negotiate;
pub mod node;
pub mod openapi;
mod openid;
mod options;
mod own_service;
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
pub mod validation;
mod verbs;
pub mod version;

pub use body::{Body, BodyError};
pub use server::{ApiServer, Config, Extensions, Metrics};
