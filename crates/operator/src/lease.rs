//! Leader election over a Lease: of several operators one is active.
//!
//! [`candidate`] decides; this module sends the requests, and publishes a [`Fence`] for each term
//! in which this operator leads.
//!
//! A leader that loses the lease stands by again instead of exiting: its webhook is still needed, a
//! restart would only take time, and nothing of the lost term can write any more, since its fence
//! is closed for ever.

mod candidate;
mod record;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http::StatusCode;
use kube::Client;
use kube::api::{GetParams, PostParams};
use kube::core::Request;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::client::{Fence, clock, describe};
use crate::probes::Health;
use crate::wall_clock;
use candidate::{Answer, Candidate, Release, Step};
use record::{Claim, Record};

pub use candidate::{Timing, TimingError};

/// The lease, and the name of this candidate.
#[derive(Debug, Clone)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// The name of this candidate, which must be unique.
    pub identity: String,
    /// Durations of the election.
    pub timing: Timing,
}

/// The name of the election's problem in [`Health`].
const PROBLEM: &str = "lease";

/// How long a request may take while the operator stops, independent of the timing.
const LAST_REQUEST: Duration = Duration::from_secs(5);
/// How long the election may take to stop: the request in flight, then reading the lease and
/// releasing it.
pub(crate) const RELEASE_TIMEOUT: Duration = Duration::from_secs(3 * LAST_REQUEST.as_secs());

const NO_ANSWER: &str = "the API server did not answer in time";
const NOT_RELEASED: &str = "could not release the lease; other operators wait until it expires";

/// Takes part in an election.
#[derive(Debug)]
pub(crate) struct Elector {
    lease: Lease,
    candidate: Candidate,
    /// The current term; `None` while another operator leads.
    term: watch::Sender<Option<Fence>>,
    health: Health,
    /// The leader in the last log line.
    reported_leader: String,
}

/// The requests on the Lease.
struct Lease {
    client: Client,
    election: Election,
}

/// The result of a request.
struct Outcome {
    answer: Answer,
    /// What is wrong, unless it is part of a normal election.
    problem: Option<String>,
}

// === impl Election ===

impl Election {
    /// A unique name that shows which process it is.
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
        Self { lease, candidate, term, health, reported_leader: String::new() }
    }

    /// The current term. It changes when this operator begins to lead and when it stops leading.
    pub(crate) fn term(&self) -> watch::Receiver<Option<Fence>> {
        self.term.subscribe()
    }

    /// Takes part until `left`, and then releases the lease, so that another operator can lead
    /// immediately. Everything that acts in the current term must have stopped by then. Stopping
    /// takes at most [`RELEASE_TIMEOUT`].
    ///
    /// Timers stop while the machine sleeps, but the [`clock`] that decides what follows does not,
    /// so a machine that wakes up is at most a retry period late.
    pub(crate) async fn run(mut self, left: impl Future<Output = ()>) {
        let mut left = pin!(left);
        let mut is_leaving = false;
        while !is_leaving {
            self.health.election_progressed();
            let now = clock::now();
            let step = self.candidate.next(now);
            self.publish(now);
            let request_timeout = self.lease.request_timeout();
            let gives_up = self.candidate.gives_up_at();
            let request_timeout = gives_up
                .map_or(request_timeout, |end| request_timeout.min(end.saturating_sub(now)));
            let lease = &self.lease;
            let mut asked = pin!(async {
                let answer = match &step {
                    Step::Wait(until) => {
                        tokio::time::sleep(until.saturating_sub(now)).await;
                        return None;
                    }
                    Step::Read => timeout(request_timeout, lease.read()).await,
                    Step::Write { before, claim } => {
                        timeout(request_timeout, lease.write(before.as_deref(), claim)).await
                    }
                };
                Some(answer.unwrap_or_else(|_| Outcome::timed_out()))
            });
            let outcome = tokio::select! {
                outcome = &mut asked => outcome,
                () = &mut left => {
                    is_leaving = true;
                    if matches!(step, Step::Wait(_)) {
                        break;
                    }
                    // The request is not aborted: the server might process it, and the result would
                    // be unknown.
                    timeout(LAST_REQUEST, asked).await.unwrap_or_else(|_| Some(Outcome::timed_out()))
                }
            };
            if let Some(outcome) = outcome {
                let answer = self.report(outcome);
                self.candidate.answered(now, clock::now(), answer);
            }
        }
        self.release().await;
    }

    /// Reports a problem of a request, or that it is solved.
    fn report(&self, outcome: Outcome) -> Answer {
        let Outcome { answer, problem } = outcome;
        if problem.is_none() {
            self.health.api_server_reached();
        }
        let Election { namespace, name, .. } = &self.lease.election;
        let sentence =
            problem.map(|why| format!("cannot read or write the lease {namespace}/{name}: {why}"));
        if self.health.set_problem(PROBLEM, sentence.as_deref()) {
            match sentence {
                Some(sentence) => warn!("{sentence}; will retry"),
                None => info!("the lease is readable and writable again"),
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
                info!(identity = self.lease.election.identity, "started leading");
                self.reported_leader.clear();
                self.term.send_replace(Some(Fence::until(until)));
            }
            (Some(fence), None) => {
                fence.close();
                warn!("lost the lease; standing by");
                self.term.send_replace(None);
            }
            (None, None) => {}
        }
        let holder = self.candidate.holder();
        if until.is_none() && !holder.is_empty() && holder != self.reported_leader {
            holder.clone_into(&mut self.reported_leader);
            info!(leader = holder, "standing by");
        }
    }

    async fn release(&mut self) {
        if let Some(fence) = self.term.send_replace(None) {
            fence.close();
        }
        let release = self.candidate.begin_release();
        if release == Release::NotNeeded {
            info!(
                leader = self.candidate.holder(),
                "another operator holds the lease; nothing to release"
            );
            return;
        }
        // The lease may have to be read first, so there is time for two requests.
        match timeout(2 * LAST_REQUEST, self.release_lease(release)).await {
            Ok(Ok(true)) => info!("released the lease"),
            Ok(Ok(false)) => info!("another operator holds the lease by now; nothing to release"),
            Ok(Err(why)) => warn!(why, "{NOT_RELEASED}"),
            Err(_) => warn!(why = NO_ANSWER, "{NOT_RELEASED}"),
        }
    }

    /// Releases the lease. Returns whether it still was ours, or why that is unknown.
    async fn release_lease(&self, mut release: Release) -> Result<bool, String> {
        loop {
            let outcome = match &release {
                Release::NotNeeded => return Ok(false),
                Release::ReadFirst => self.lease.read().await,
                Release::Write(record, claim) => self.lease.write(Some(record), claim).await,
            };
            let is_written = matches!(release, Release::Write(..));
            release = match outcome.answer {
                Answer::Is(_) if is_written => return Ok(true),
                Answer::Is(record) => self.candidate.release_of(record),
                Answer::Missing => return Ok(false),
                // A renewal of ours may have been written without an answer.
                Answer::Conflict => Release::ReadFirst,
                Answer::Lost => return Err(outcome.problem.unwrap_or_default()),
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
    /// How long to wait for an answer, so that there is time for a second attempt.
    fn request_timeout(&self) -> Duration {
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
        let object = Record::claimed(before, name, claim, wall_clock::now());
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
                // A create fails with this status if the namespace does not exist.
                None => {
                    let namespace = &self.election.namespace;
                    Outcome::lost(format!(
                        "{}; create it with `kubectl create namespace {namespace}`, or set --leader-elect-namespace",
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
        Self { answer, problem: None }
    }

    /// There was no answer in time.
    fn timed_out() -> Self {
        Self::lost(NO_ANSWER.to_owned())
    }

    /// It is unknown whether the request was processed.
    fn lost(problem: String) -> Self {
        Self { answer: Answer::Lost, problem: Some(problem) }
    }
}

fn is(error: &kube::Error, code: StatusCode) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code.as_u16())
}

#[cfg(test)]
mod tests;
