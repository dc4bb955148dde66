//! What [`check`](super::check) decides and [`issue`](super::issue) carries out.

use jiff::SignedDuration;

/// Certificates are valid from this long before they are issued, because clocks differ.
pub(super) const BACKDATE: SignedDuration = SignedDuration::from_hours(1);

/// What to do about the content of the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Change nothing.
    Keep,
    /// Issue a certificate by the current authority.
    RenewCertificate(Reason),
    /// Add a new authority before the current one; the certificate stays.
    RenewAuthority(Reason),
    /// Create an authority and a certificate: nothing in the Secret can be used.
    RecreateAll(Reason),
}

/// Why something is to be done, as the log reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// There is no Secret yet.
    Missing,
    /// It expires soon, as planned.
    Due,
    /// The content is invalid, with a description that completes "because …".
    Invalid(&'static str),
}
