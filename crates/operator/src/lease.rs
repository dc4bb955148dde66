//! Leader election over a Lease: of several operators one acts.
//!
//! [`candidate`] decides; this asks the API server, and says who leads by a [`Fence`] for each term of leading.
//!
//! A leader that loses the lease goes back to standing by instead of ending its process: its webhook is needed as before, a
//! restart would only add the time to start, and nothing of the lost term can act any more, since its fence is closed for ever.

mod candidate;
mod record;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use kube::Client;
use kube::api::{GetParams, PostParams};
use kube::core::Request;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::client::{Fence, clock, describe};
use crate::probes::Health;
use candidate::{Answer, Candidate, Claim, Parting, Step};
pub use candidate::{Timing, TimingError};
use record::Record;

/// Which lease, and as whom.
#[derive(Debug, Clone)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who we are: nobody else may have this name.
    pub identity: String,
    /// How long things take.
    pub timing: Timing,
}

/// What stands in the way of the election, in [`Health`].
const OBSTACLE: &str = "lease";

/// How long a request may take once the operator is to end, whatever the timing says.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// How long an election may take to end: what is under way, and then to read the lease and to let go of it.
pub(crate) const PARTING: Duration = Duration::from_secs(3 * LAST_REQUEST.as_secs());

const LATE: &str = "the API server does not answer";
const NOT_LET_GO: &str = "the lease was not let go; others wait until it has expired";

/// Takes part in an election.
#[derive(Debug)]
pub(crate) struct Elector {
    lease: Lease,
    candidate: Candidate,
    /// The term that we lead in; none while another does.
    term: watch::Sender<Option<Fence>>,
    health: Health,
    /// Who was said to lead last.
    said: String,
}

/// The requests.
struct Lease {
    client: Client,
    election: Election,
}

/// What came of a request.
struct Outcome {
    answer: Answer,
    /// What is wrong, where it is not part of the game.
    trouble: Option<String>,
}

// === impl Election ===

impl Election {
    /// A name that nobody else has, and that tells people which process it is.
    #[must_use]
    pub fn identity(host: &str) -> String {
        format!("{host}_{}", uuid::Uuid::new_v4())
    }
}

// === impl Elector ===

impl Elector {
    pub(crate) fn new(client: Client, election: Election, health: Health) -> Self {
        let candidate = Candidate::new(election.identity.clone(), election.timing);
        let (term, _) = watch::channel(None);
        let lease = Lease { client, election };
        Self { lease, candidate, term, health, said: String::new() }
    }

    /// The term that we lead in. It changes when we begin to lead and when we do no longer.
    pub(crate) fn term(&self) -> watch::Receiver<Option<Fence>> {
        self.term.subscribe()
    }

    /// Takes part until `left`, and then lets go of the lease, so that another can lead at once. Whatever acts in our term must have
    /// ended by then. The end takes at most [`PARTING`].
    ///
    /// Pauses are timers, which stand still while the machine sleeps; what is done after one is decided by the [`clock`], which does
    /// not. A machine that wakes up is thus at most a retry period behind.
    pub(crate) async fn run(mut self, left: impl Future<Output = ()>) {
        let mut left = pin!(left);
        let mut is_left = false;
        while !is_left {
            self.health.turned();
            let now = clock::now();
            let step = self.candidate.next(now);
            self.publish(now);
            let patience = self.lease.patience();
            let gives_up = self.candidate.gives_up_at();
            let patience = gives_up.map_or(patience, |end| patience.min(end.saturating_sub(now)));
            let lease = &self.lease;
            let mut asked = pin!(async {
                let answer = match &step {
                    Step::Wait(until) => {
                        tokio::time::sleep(until.saturating_sub(now)).await;
                        return None;
                    }
                    Step::Read => timeout(patience, lease.read()).await,
                    Step::Write { before, claim } => {
                        timeout(patience, lease.write(before.as_deref(), claim)).await
                    }
                };
                Some(answer.unwrap_or_else(|_| Outcome::late()))
            });
            let outcome = tokio::select! {
                outcome = &mut asked => outcome,
                () = &mut left => {
                    is_left = true;
                    if matches!(step, Step::Wait(_)) {
                        break;
                    }
                    // A request is not broken off: it would be done all the same, and nobody would know.
                    timeout(LAST_REQUEST, asked).await.unwrap_or_else(|_| Some(Outcome::late()))
                }
            };
            if let Some(outcome) = outcome {
                let answer = self.hear(outcome);
                self.candidate.answered(now, clock::now(), answer);
            }
        }
        self.release().await;
    }

    /// Says what is wrong, and what is well again.
    fn hear(&self, outcome: Outcome) -> Answer {
        let Outcome { answer, trouble } = outcome;
        if trouble.is_none() {
            self.health.reached();
        }
        let Election { namespace, name, .. } = &self.lease.election;
        let sentence = trouble
            .map(|why| format!("the lease {namespace}/{name} cannot be read or written: {why}"));
        if self.health.set_obstacle(OBSTACLE, sentence.as_deref()) {
            match sentence {
                Some(sentence) => warn!("{sentence}; it is tried again"),
                None => info!("the lease can be read and written again"),
            }
        }
        answer
    }

    /// Begins and ends terms.
    fn publish(&mut self, now: Duration) {
        let until = self.candidate.may_write_until().filter(|_| self.candidate.leads(now));
        let term = self.term.borrow().clone();
        match (term, until) {
            (Some(fence), Some(until)) => fence.extend(until),
            (None, Some(until)) => {
                info!(identity = self.lease.election.identity, "leading");
                self.said.clear();
                self.term.send_replace(Some(Fence::until(until)));
            }
            (Some(fence), None) => {
                fence.close();
                warn!("the lease is lost; standing by");
                self.term.send_replace(None);
            }
            (None, None) => {}
        }
        let holder = self.candidate.holder();
        if until.is_none() && !holder.is_empty() && holder != self.said {
            holder.clone_into(&mut self.said);
            info!(leader = holder, "standing by");
        }
    }

    async fn release(&mut self) {
        if let Some(fence) = self.term.send_replace(None) {
            fence.close();
        }
        let parting = self.candidate.part();
        if parting == Parting::Nothing {
            info!(
                leader = self.candidate.holder(),
                "the lease is not ours; there is nothing to let go"
            );
            return;
        }
        // A lease that nobody knows of is read first, so there is time for two.
        match timeout(2 * LAST_REQUEST, self.let_go(parting)).await {
            Ok(Ok(true)) => info!("the lease is let go"),
            Ok(Ok(false)) => info!("the lease is not ours any more; there is nothing to let go"),
            Ok(Err(why)) => warn!(why, "{NOT_LET_GO}"),
            Err(_) => warn!(why = LATE, "{NOT_LET_GO}"),
        }
    }

    /// Makes the lease free; says whether it still was ours, or what is in the way.
    async fn let_go(&self, mut parting: Parting) -> Result<bool, String> {
        loop {
            let outcome = match &parting {
                Parting::Nothing => return Ok(false),
                Parting::Read => self.lease.read().await,
                Parting::Free(record, claim) => self.lease.write(Some(record), claim).await,
            };
            let is_written = matches!(parting, Parting::Free(..));
            parting = match outcome.answer {
                Answer::Is(_) if is_written => return Ok(true),
                Answer::Is(record) => self.candidate.parting(record),
                Answer::Missing => return Ok(false),
                // A renewal of our own may have been done of which we heard nothing.
                Answer::Conflict => Parting::Read,
                Answer::Lost => return Err(outcome.trouble.unwrap_or_default()),
            };
        }
    }
}

// === impl Lease ===

impl std::fmt::Debug for Lease {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Lease").field("election", &self.election).finish_non_exhaustive()
    }
}

impl Lease {
    /// How long to wait for an answer: so that there is time for another try.
    fn patience(&self) -> Duration {
        self.election.timing.renew / 2
    }

    fn collection(&self) -> Request {
        let namespace = &self.election.namespace;
        Request::new(format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"))
    }

    async fn send(&self, request: kube::Result<http::Request<Vec<u8>>>) -> kube::Result<Value> {
        self.client.request(request?).await
    }

    async fn read(&self) -> Outcome {
        let request = self.collection().get(&self.election.name, &GetParams::default());
        match self.send(request.map_err(kube::Error::BuildRequest)).await {
            Ok(object) => Outcome::of(Answer::Is(Record::from_value(object))),
            Err(error) if is(&error, StatusCode::NOT_FOUND) => Outcome::of(Answer::Missing),
            Err(error) => Outcome::lost(describe(&error)),
        }
    }

    async fn write(&self, before: Option<&Record>, claim: &Claim) -> Outcome {
        let name = &self.election.name;
        let object = Record::claimed(before, name, claim, Timestamp::now());
        let body = object.to_string().into_bytes();
        let parameters =
            PostParams { field_manager: Some("mxjob-operator".to_owned()), ..Default::default() };
        let request = match before {
            Some(_) => self.collection().replace(name, &parameters, body),
            None => self.collection().create(&parameters, body),
        };
        match self.send(request.map_err(kube::Error::BuildRequest)).await {
            Ok(object) => Outcome::of(Answer::Is(Record::from_value(object))),
            Err(error) if is(&error, StatusCode::CONFLICT) => Outcome::of(Answer::Conflict),
            Err(error) if is(&error, StatusCode::NOT_FOUND) => match before {
                Some(_) => Outcome::of(Answer::Missing),
                // What is missing for a creation is the namespace.
                None => {
                    let namespace = &self.election.namespace;
                    Outcome::lost(format!(
                        "{}; `kubectl create namespace {namespace}` makes it, and --leader-elect-namespace names another",
                        describe(&error)
                    ))
                }
            },
            Err(error) => Outcome::lost(describe(&error)),
        }
    }
}

// === impl Outcome ===

impl Outcome {
    fn of(answer: Answer) -> Self {
        Self { answer, trouble: None }
    }

    /// Nothing was heard in time.
    fn late() -> Self {
        Self::lost(LATE.to_owned())
    }

    /// Nothing is known of what was done.
    fn lost(trouble: String) -> Self {
        Self { answer: Answer::Lost, trouble: Some(trouble) }
    }
}

fn is(error: &kube::Error, code: StatusCode) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code.as_u16())
}

#[cfg(test)]
mod tests;
