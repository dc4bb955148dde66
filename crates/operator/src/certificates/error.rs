//! Why a sync of the certificates failed.

/// The kind of the object that holds keys and certificates.
pub(super) const SECRET: &str = "Secret";

/// Why a sync failed. It is logged and retried.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot {action} the {kind} {name}")]
    Request {
        action: &'static str,
        kind: &'static str,
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("cannot issue a certificate")]
    Issue(#[source] rcgen::Error),
    #[error("another client changed the {kind} {name} at each attempt to write it")]
    Contended { kind: &'static str, name: String },
}
