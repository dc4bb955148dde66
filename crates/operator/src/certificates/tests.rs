//! Tests of the rules by tables of days, and of the rotation against a real API server.

mod checks;
mod rotation;

use jiff::{SignedDuration, Timestamp};

use super::check::check;
use super::decision::{Decision, Reason};
use super::installation::Installation;
use super::issue::apply;
use super::secret_data::SecretData;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-24T08:00:00Z".parse().unwrap()
}

/// The time so many days after the start.
fn day(days: i32) -> Timestamp {
    start() + DAY * days
}

/// An installation in that namespace.
pub(super) fn installation(namespace: &str) -> Installation {
    Installation {
        namespace: namespace.to_owned(),
        service: "hook".to_owned(),
        secret: "certificate".to_owned(),
        configuration: "jobs".to_owned(),
        webhook: "validate.example.com".to_owned(),
        install: "print the webhook".to_owned(),
        grant: "print the rights".to_owned(),
    }
}

fn names() -> Vec<String> {
    ["hook.system.svc", "hook.system.svc.cluster.local", "hook"].map(str::to_owned).to_vec()
}

/// The content of the Secret of a new installation.
fn new_installation(now: Timestamp) -> SecretData {
    apply(Decision::RecreateAll(Reason::Missing), None, &names(), None, now).unwrap().1
}
