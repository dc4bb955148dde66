//! The webhook's certificates: made, kept, renewed and trusted without another component.
//!
//! ```text
//! Secret: ca.crt, ca.key, tls.crt, tls.key ─▶ judge (pure, with the time) ─▶ nothing, or issue ─▶ the Secret
//!      shared by all replicas                                                                       │
//!                               Resolver: what new handshakes get ◀── tls.crt, tls.key ◀────────────┤
//!                               ValidatingWebhookConfiguration: caBundle ◀── ca.crt ◀───────────────┘
//! ```
//!
//! Whichever replica comes first writes the Secret; the others find it. A replica reads it every minute, so a certificate that one
//! of them renews is soon served by all. [`judge`] and [`issue`] hold all rules and neither I/O nor a clock; [`Keeper`] is the
//! shell around them. Keys are in no log, and the authority's is in memory only while something is signed.
//!
//! An authority is renewed in two steps, so that no API server ever meets a certificate that it cannot check: first the new one is
//! put beside the old one in `ca.crt` and in the `caBundle`, and only later, when that is seen to have happened and a certificate is due
//! anyway, it signs one. The old one leaves with the renewal after that. Where everything is made at once, because there is no Secret, what
//! the `caBundle` has is kept in the same way, for the replicas that still serve by it.

mod authority;
mod issue;
mod judge;
mod keeper;
mod material;
mod place;
mod resolver;
mod trust;
mod validity;
mod words;

pub(crate) use keeper::Keeper;
pub(crate) use place::Place;
pub(crate) use resolver::Resolver;

#[cfg(test)]
mod tests;
