//! Checks that the operator can do its work: that it has its rights, and that the MXJob
//! CustomResourceDefinition is installed.
//!
//! The check runs at the start, and again while something is missing. The log and `/readyz` report
//! what is missing, with the command that fixes it. A missing precondition never ends the process:
//! a restart would not help.

mod access_reviews;
mod definition;
mod permissions;

use std::time::Duration;

use kube::Client;
use mxjob_machinery::backoff::Backoff;
use tracing::{info, warn};

use crate::client::describe;
use crate::probes::Health;
use access_reviews::Review;

pub use permissions::{CRD, Components, Permission, Scope, permissions};

/// The delay before the next check while something is missing; it doubles up to [`LAST_RETRY`]. The
/// first one is short, since an administrator may be fixing it right now.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// The delay before the next check while the API server does not answer.
const UNREACHABLE_RETRY: Duration = Duration::from_secs(3);

/// The check and its parameters.
#[derive(Clone)]
pub(crate) struct Preflight {
    pub(crate) client: Client,
    /// The API server's address, for messages.
    pub(crate) url: String,
    /// The rights that are needed.
    pub(crate) permissions: Vec<Permission>,
    /// The namespace whose jobs are managed; all namespaces if `None`.
    pub(crate) jobs: Option<String>,
    /// The operator's own namespace.
    pub(crate) own: String,
    /// The namespace of the Lease; the operator's own if `None`.
    pub(crate) lease: Option<String>,
    /// How to grant a missing right, as the end of a sentence.
    pub(crate) advice: String,
    /// The same for rights on leases.
    pub(crate) lease_advice: String,
    pub(crate) health: Health,
}

/// Names of the problems in [`Health`].
const SERVER: &str = "server";
const DEFINITION: &str = "definition";
const RIGHTS: &str = "rights";

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Complete,
    Missing,
    /// Nothing is known to be missing, but not everything could be checked.
    Unknown,
    Unreachable,
}

// === impl Preflight ===

impl std::fmt::Debug for Preflight {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Preflight")
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

impl Preflight {
    /// Checks until nothing is missing.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(FIRST_RETRY, LAST_RETRY);
        loop {
            let delay = match self.check().await {
                Outcome::Complete => return,
                Outcome::Missing | Outcome::Unknown => backoff.next_delay(),
                Outcome::Unreachable => UNREACHABLE_RETRY,
            };
            tokio::time::sleep(delay).await;
        }
    }

    async fn check(&self) -> Outcome {
        let definition = match definition::check(&self.client).await {
            Ok(problem) => problem,
            Err(error) => {
                let sentence =
                    format!("cannot reach the API server {}: {}", self.url, describe(&error));
                if self.health.set_problem(SERVER, Some(&sentence)) {
                    warn!("{sentence}; will retry");
                }
                return Outcome::Unreachable;
            }
        };
        self.health.api_server_reached();
        if self.health.set_problem(SERVER, None) {
            info!(url = self.url, "reached the API server");
        }
        self.report(DEFINITION, definition.as_deref(), "found the MXJob CustomResourceDefinition");
        let mut outcome = if definition.is_none() { Outcome::Complete } else { Outcome::Missing };
        for (number, review) in access_reviews::reviews(self).await.iter().enumerate() {
            let sentence = match review {
                Review::Granted => None,
                Review::Missing(sentence) => {
                    outcome = Outcome::Missing;
                    Some(sentence.as_str())
                }
                // What was reported before is still the last known state.
                Review::Unknown => {
                    outcome = if outcome == Outcome::Complete { Outcome::Unknown } else { outcome };
                    continue;
                }
            };
            let name = format!("{RIGHTS}-{number:03}");
            self.report(&name, sentence, "a missing right was granted");
        }
        outcome
    }

    /// How to grant a missing right.
    fn advice(&self, permission: &Permission) -> &str {
        if permission.resource == "leases" { &self.lease_advice } else { &self.advice }
    }

    fn report(&self, name: &str, problem: Option<&str>, solved: &str) {
        if self.health.set_problem(name, problem) {
            match problem {
                Some(problem) => warn!("{problem}"),
                None => info!("{solved}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
