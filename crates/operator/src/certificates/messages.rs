//! Log messages about the Secret and the configuration, with the command that fixes a problem. No
//! I/O but the log.

use mxjob_client::request;
use tracing::{info, warn};

use super::decision::{Decision, Reason};
use super::error::{Error, SECRET};
use super::installation::Installation;

/// A problem that is logged once when it appears, and once when it is solved.
#[derive(Default)]
pub(super) struct Problem(Option<String>);

/// Logs what was done and why.
pub(super) fn announce(decision: &Decision, installation: &Installation) {
    let Installation { namespace, secret, .. } = installation;
    match decision {
        Decision::Keep => {}
        Decision::RecreateAll(Reason::Missing | Reason::Due) => {
            info!(namespace, secret, "created the webhook's authority and certificate");
        }
        Decision::RenewCertificate(Reason::Missing | Reason::Due) => {
            info!(namespace, secret, "renewed the webhook's certificate");
        }
        Decision::RenewAuthority(Reason::Missing | Reason::Due) => {
            info!(namespace, secret, "added a successor to the webhook's authority");
        }
        Decision::RecreateAll(Reason::Invalid(why)) => {
            warn!(
                namespace,
                secret,
                why,
                "the webhook's Secret could not be used; regenerated its authority and certificate"
            );
        }
        Decision::RenewCertificate(Reason::Invalid(why)) => {
            warn!(
                namespace,
                secret, why, "the webhook's certificate could not be used; issued a new one"
            );
        }
        Decision::RenewAuthority(Reason::Invalid(why)) => {
            warn!(
                namespace,
                secret, why, "the webhook's authority could not be used; added a successor"
            );
        }
    }
}

/// The error with its causes, and how to fix it where that is known.
pub(super) fn describe(error: &Error, installation: &Installation) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        // The API server's own message, without the wrapping of the client library.
        let message = match source.downcast_ref() {
            Some(kube::Error::Api(status)) => status.message.clone(),
            _ => source.to_string(),
        };
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = match source.downcast_ref() {
            Some(kube::Error::Api(_)) => None,
            _ => source.source(),
        };
    }
    let Error::Request { source, kind, name, .. } = error else { return text };
    match request::code(source) {
        Some(403) => {
            format!("{text}; `{} | kubectl apply -f -` grants the right", installation.grant)
        }
        Some(422) if *kind == SECRET => format!(
            "{text}; run `kubectl --namespace {} delete secret {name}`, and it will be regenerated",
            installation.namespace
        ),
        Some(404) => format!("{text}; check that the namespace {} exists", installation.namespace),
        _ => text,
    }
}

// === impl Problem ===

impl Problem {
    /// Whether the problem is not solved yet.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Logs the problem, unless it is the one that was logged last.
    pub(super) fn report(&mut self, text: &str) {
        if self.0.as_deref() != Some(text) {
            warn!("{text}");
            self.0 = Some(text.to_owned());
        }
    }

    /// Logs that there is no problem any more, if there was one.
    pub(super) fn resolve(&mut self, text: &str) {
        if self.0.take().is_some() {
            info!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::certificates::tests::installation;

    #[test]
    fn the_fix_matches_how_the_operator_was_installed() {
        let installation = installation("own");
        for (code, want) in [
            (403, "; `print the rights | kubectl apply -f -` grants the right"),
            (404, "; check that the namespace own exists"),
            (
                422,
                "; run `kubectl --namespace own delete secret certificate`, and it will be regenerated",
            ),
            (500, ""),
        ] {
            let status = Status::failure("it is refused", "Reason").with_code(code);
            let (kind, name) = (SECRET, installation.secret.clone());
            let source = kube::Error::Api(status.boxed());
            let error = Error::Request { action: "create", kind, name, source };
            let text = describe(&error, &installation);
            assert!(
                text.starts_with("cannot create the Secret certificate: it is refused"),
                "{text}"
            );
            assert!(text.ends_with(want), "{text}");
        }
    }
}
