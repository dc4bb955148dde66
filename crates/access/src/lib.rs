//! Who calls, and what they may do: identities, authentication, tokens, the TLS authority, and role-based authorization.
//!
//! ```text
//! certificate, token ─▶ authn ─▶ identity ─▶ authz (roles and bindings, kept up to date by the store's log) ─▶ decision
//! ```
//!
//! Owns: the keys and certificates in the data directory, the tokens, the rules of RBAC. Never does: read a request's body,
//! write an HTTP response, or know a kind beyond roles and service accounts.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod authn;
pub mod authz;
pub mod identity;
pub mod tls;
pub mod tokens;
