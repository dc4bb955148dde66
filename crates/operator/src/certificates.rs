//! The webhook's certificates: created, stored, renewed and trusted without another component.
//!
//! ```text
//! Secret: ca.crt, ca.key, tls.crt, tls.key ─▶ check (pure, with the time) ─▶ nothing, or issue ─▶ the Secret
//!      shared by all replicas                                                                       │
//!                               Resolver: certificate of new handshakes ◀── tls.crt, tls.key ◀──────┤
//!                               ValidatingWebhookConfiguration: caBundle ◀── ca.crt ◀───────────────┘
//! ```
//!
//! The first replica writes the Secret and the others read it. Every replica reads it each minute,
//! so a certificate that one of them renews is soon served by all. [`check`] and [`issue`] hold all
//! rules, without I/O and without a clock; [`Rotation`] reads and writes. Keys are never logged,
//! and the authority's key is in memory only while it signs.
//!
//! An authority is renewed in two steps, so that no API server ever receives a certificate that it
//! cannot verify. First the new authority is added to `ca.crt` and to the `caBundle`. It signs
//! later, once the API server trusts it and a certificate is due anyway. The renewal after that
//! removes the old authority. Where everything is recreated because the Secret is missing, the
//! certificates in the `caBundle` are kept in the same way, for the replicas that still serve by
//! them.

mod authority;
mod ca_bundle;
mod check;
mod decision;
mod error;
mod installation;
mod issue;
mod messages;
mod resolver;
mod rotation;
mod secret_data;
mod validity;

pub(crate) use installation::Installation;
pub(crate) use resolver::Resolver;
pub(crate) use rotation::Rotation;

#[cfg(test)]
mod tests;
