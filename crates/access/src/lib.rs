//! Access control: identities, authentication, tokens, the TLS authority, and role-based
//! authorization.
//!
//! ```text
//! certificate, token ─▶ authn ─▶ identity ─▶ authz (follows roles and bindings) ─▶ decision
//! ```
//!
//! Owns the keys and certificates in the data directory, the tokens, and the RBAC rules. Never
//! reads a request's body, writes an HTTP response, or knows a kind other than roles and service
//! accounts.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod authn;
pub mod authz;
pub mod identity;
pub mod tls;
pub mod tokens;
