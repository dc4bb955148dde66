//! What must be in place before the operator can do its work: rights, and the definition of the jobs.
//!
//! It is asked for at the start, and again for as long as something is missing. What is missing is said in a sentence with the
//! command that mends it, in the log and on `/readyz`. It never ends the process: a restart mends nothing.

mod definition;
mod needs;
mod reviews;

use std::time::Duration;

use kube::Client;
use tracing::{info, warn};

use crate::client::describe;
use crate::probes::Health;
pub use needs::{CRD, Need, Parts, Scope, rights};
use reviews::Review;

/// After what time is asked again for what is missing: soon, since somebody may be at it, and then less and less often.
const AGAIN: std::ops::Range<Duration> = Duration::from_secs(5)..Duration::from_secs(60);
/// How often for a server that does not answer.
const UNREACHED: Duration = Duration::from_secs(3);

/// The check.
#[derive(Clone)]
pub(crate) struct Preflight {
    pub(crate) client: Client,
    /// The server's address, for people.
    pub(crate) url: String,
    /// What is needed.
    pub(crate) needs: Vec<Need>,
    /// Whose jobs are looked after; all if `None`.
    pub(crate) jobs: Option<String>,
    /// The operator's own namespace.
    pub(crate) own: String,
    /// The namespace of the Lease, which may be another.
    pub(crate) lease: Option<String>,
    /// What to do about a right that is missing, as the end of a sentence.
    pub(crate) advice: String,
    /// The same for rights on leases.
    pub(crate) lease_advice: String,
    pub(crate) health: Health,
}

/// What stands in the way of what, in [`Health`].
const SERVER: &str = "server";
const DEFINITION: &str = "definition";
const RIGHTS: &str = "rights";

/// What a round found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Well,
    Lacking,
    /// Nothing is known to be missing, but not everything could be asked.
    Unsure,
    Unreached,
}

// === impl Preflight ===

impl std::fmt::Debug for Preflight {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Preflight").field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Preflight {
    /// Asks until nothing is missing.
    pub(crate) async fn run(self) {
        let mut again = AGAIN.start;
        loop {
            let pause = match self.round().await {
                Found::Well => return,
                Found::Lacking | Found::Unsure => again,
                Found::Unreached => UNREACHED,
            };
            tokio::time::sleep(pause).await;
            again = (again * 2).min(AGAIN.end);
        }
    }

    async fn round(&self) -> Found {
        let judged = match definition::judge(&self.client).await {
            Ok(judged) => judged,
            Err(error) => {
                let sentence = format!("{} cannot be asked: {}", self.url, describe(&error));
                if self.health.set_obstacle(SERVER, Some(&sentence)) {
                    warn!("{sentence}; it is tried again");
                }
                return Found::Unreached;
            }
        };
        self.health.reached();
        if self.health.set_obstacle(SERVER, None) {
            info!(url = self.url, "the API server answers");
        }
        self.say(DEFINITION, judged.as_deref(), "the definition of the jobs is there");
        let mut found = if judged.is_none() { Found::Well } else { Found::Lacking };
        for (number, review) in reviews::reviews(self).await.iter().enumerate() {
            let sentence = match review {
                Review::Met => None,
                Review::Lacking(sentence) => {
                    found = Found::Lacking;
                    Some(sentence.as_str())
                }
                // What was said before is still the last that is known.
                Review::Unknown => {
                    found = if found == Found::Well { Found::Unsure } else { found };
                    continue;
                }
            };
            let what = format!("{RIGHTS}-{number:03}");
            self.say(&what, sentence, "a right that was missing is there");
        }
        found
    }

    /// What to do about a right that is missing.
    fn advice(&self, need: &Need) -> &str {
        if need.resource == "leases" { &self.lease_advice } else { &self.advice }
    }

    fn say(&self, what: &str, sentence: Option<&str>, well: &str) {
        if self.health.set_obstacle(what, sentence) {
            match sentence {
                Some(sentence) => warn!("{sentence}"),
                None => info!("{well}"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
