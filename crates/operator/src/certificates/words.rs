//! What is said about the Secret and the configuration, and what mends them. No I/O but the log.

use tracing::{info, warn};

use super::judge::{Verdict, Why};
use super::keeper::{Error, SECRET, code};
use super::place::Place;

/// A complaint is made once, and taken back once.
#[derive(Default)]
pub(super) struct Said(Option<String>);

/// Says what was done and why.
pub(super) fn announce(verdict: &Verdict, place: &Place) {
    let Place { namespace, secret, .. } = place;
    match verdict {
        Verdict::Keep => {}
        Verdict::Make(Why::Absent | Why::Due) => {
            info!(namespace, secret, "made the webhook's authority and certificate");
        }
        Verdict::RenewCertificate(Why::Absent | Why::Due) => {
            info!(namespace, secret, "renewed the webhook's certificate");
        }
        Verdict::RenewAuthority(Why::Absent | Why::Due) => {
            info!(namespace, secret, "gave the webhook's authority a successor");
        }
        Verdict::Make(Why::Fault(why)) => {
            warn!(
                namespace,
                secret,
                why,
                "the webhook's Secret could not be used; everything in it was made anew"
            );
        }
        Verdict::RenewCertificate(Why::Fault(why)) => {
            warn!(
                namespace,
                secret, why, "the webhook's certificate could not be used; it was made anew"
            );
        }
        Verdict::RenewAuthority(Why::Fault(why)) => {
            warn!(
                namespace,
                secret, why, "the webhook's authority could not be used; it was given a successor"
            );
        }
    }
}

/// The error, its causes, and what mends it where that is known.
pub(super) fn advice(error: &Error, place: &Place) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        // What the API server says, without how its client prints that.
        let said = match source.downcast_ref() {
            Some(kube::Error::Api(status)) => status.message.clone(),
            _ => source.to_string(),
        };
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = match source.downcast_ref() {
            Some(kube::Error::Api(_)) => None,
            _ => source.source(),
        };
    }
    let Error::Request { source, kind, name, .. } = error else { return text };
    match code(source) {
        Some(403) => {
            format!("{text}; `{} | kubectl apply -f -` grants the right", place.grant)
        }
        Some(422) if *kind == SECRET => format!(
            "{text}; `kubectl --namespace {} delete secret {name}` has it made anew",
            place.namespace
        ),
        Some(404) => format!("{text}; is there a namespace {}?", place.namespace),
        _ => text,
    }
}

// === impl Said ===

impl Said {
    /// Whether a complaint stands.
    pub(super) fn is_complaining(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn complain(&mut self, text: &str) {
        if self.0.as_deref() != Some(text) {
            warn!("{text}");
            self.0 = Some(text.to_owned());
        }
    }

    pub(super) fn settled(&mut self, text: &str) {
        if self.0.take().is_some() {
            info!("{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn advice_fits_how_the_operator_was_installed() {
        let place = Place {
            namespace: "own".to_owned(),
            service: "hook".to_owned(),
            secret: "certificate".to_owned(),
            configuration: "jobs".to_owned(),
            webhook: "validate.example.com".to_owned(),
            install: "print the webhook".to_owned(),
            grant: "print the rights".to_owned(),
        };
        for (code, want) in [
            (403, "; `print the rights | kubectl apply -f -` grants the right"),
            (404, "; is there a namespace own?"),
            (422, "; `kubectl --namespace own delete secret certificate` has it made anew"),
            (500, ""),
        ] {
            let status = Status::failure("it is refused", "Reason").with_code(code);
            let (kind, name) = (SECRET, place.secret.clone());
            let source = kube::Error::Api(status.boxed());
            let error = Error::Request { action: "create", kind, name, source };
            let text = advice(&error, &place);
            assert!(
                text.starts_with("cannot create the Secret certificate: it is refused"),
                "{text}"
            );
            assert!(text.ends_with(want), "{text}");
        }
    }
}
