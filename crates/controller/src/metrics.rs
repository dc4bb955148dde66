//! What the controller counts, in the form that Prometheus reads.
//!
//! The counters of jobs have the names and labels of the training operator, so that dashboards made for it go on working. They
//! count transitions when the API has taken them, never the objects that a watch brings: a new controller, which sees all jobs
//! anew, counts none of them again.
//!
//! ```
//! let metrics = mxjob_controller::Metrics::default();
//! assert!(metrics.encode().ends_with("# EOF\n"));
//! ```

use crate::plan::NextStatus;
use jiff::Timestamp;
use mxjob_api::{Condition, ConditionType, Job, JobStatus};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::sync::Arc;
use std::time::Duration;

/// The counters, gauges and histograms; a cheap handle.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

/// `Content-Type` of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Inner {
    registry: Registry,
    created: Family<JobLabels, Counter>,
    deleted: Family<JobLabels, Counter>,
    successful: Family<JobLabels, Counter>,
    failed: Family<JobLabels, Counter>,
    restarted: Family<JobLabels, Counter>,
    jobs: Family<StateLabels, Gauge>,
    time_to_running: Histogram,
    reconciles: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job_namespace: String,
    framework: Framework,
}

/// The training operator counts the jobs of all frameworks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // as the label reads
enum Framework {
    mxnet,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    job_namespace: String,
    state: State,
}

/// The state of a job, as its newest condition tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State {
    Created,
    Waiting,
    Running,
    Restarting,
    Suspended,
    Succeeded,
    Failed,
}

impl EncodeLabelValue for State {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let word = match self {
            Self::Created => "created",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Suspended => "suspended",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

// === impl State ===

impl State {
    pub(crate) fn of(job: &Job) -> Self {
        let status = &job.status;
        let newest =
            status.conditions.iter().rev().find(|condition| status.is_true(&condition.kind));
        match newest.map(|newest| &newest.kind) {
            Some(ConditionType::Running) => Self::Running,
            Some(ConditionType::Restarting) => Self::Restarting,
            Some(ConditionType::Suspended) => Self::Suspended,
            Some(ConditionType::Succeeded) => Self::Succeeded,
            Some(ConditionType::Failed) => Self::Failed,
            // A job that nobody has looked at yet is as good as created.
            _ => match newest {
                Some(created) if created.reason != "MXJobCreated" => Self::Waiting,
                _ => Self::Created,
            },
        }
    }
}

// === impl Metrics ===

impl Default for Metrics {
    /// All zero, in a registry of their own.
    fn default() -> Self {
        let inner = Inner {
            registry: Registry::default(),
            created: Family::default(),
            deleted: Family::default(),
            successful: Family::default(),
            failed: Family::default(),
            restarted: Family::default(),
            jobs: Family::default(),
            // From 100 ms (everything is at hand) to an hour and more (the job waited for room).
            time_to_running: Histogram::new(exponential_buckets(0.1, 2.0, 17)),
            // From 100 µs (nothing to do) to some seconds (a thousand pods to make).
            reconciles: Histogram::new(exponential_buckets(0.0001, 2.0, 17)),
        };
        Self(Arc::new(inner.registered()))
    }
}

impl Inner {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        for (name, help, counter) in [
            ("created", "Jobs that the controller has taken up", &self.created),
            ("deleted", "Jobs that are gone, whoever deleted them", &self.deleted),
            ("successful", "Jobs that succeeded", &self.successful),
            ("failed", "Jobs that failed", &self.failed),
            ("restarted", "Restarts of replicas and of whole jobs", &self.restarted),
        ] {
            registry.register(format!("training_operator_jobs_{name}"), help, counter.clone());
        }
        registry.register("mxjob_jobs", "Jobs that there are, by state", self.jobs.clone());
        registry.register_with_unit(
            "mxjob_time_to_running",
            "From the creation of a job, or its resumption, until all its replicas run",
            Unit::Seconds,
            self.time_to_running.clone(),
        );
        registry.register_with_unit(
            "mxjob_reconcile_duration",
            "How long one look at one job takes, its requests included",
            Unit::Seconds,
            self.reconciles.clone(),
        );
        self
    }
}

impl Metrics {
    /// Everything as OpenMetrics text ([`CONTENT_TYPE`]).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Only a writer that fails makes this fail, and a string does not.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0.registry);
        text
    }

    /// Counts what a status write that the API has taken tells of.
    pub(crate) fn wrote(&self, job: &Job, next: &NextStatus, now: Timestamp) {
        let (before, after) = (&job.status, &next.status);
        let labels = labels(&job.namespace);
        let becomes = |kind: ConditionType| after.is_true(&kind) && !before.is_true(&kind);
        if becomes(ConditionType::Created) {
            self.0.created.get_or_create(&labels).inc();
        }
        if becomes(ConditionType::Succeeded) {
            self.0.successful.get_or_create(&labels).inc();
        }
        if becomes(ConditionType::Failed) {
            self.0.failed.get_or_create(&labels).inc();
        }
        let restarts = restarts(after).saturating_sub(restarts(before));
        if restarts > 0 {
            self.0.restarted.get_or_create(&labels).inc_by(restarts);
        }
        let is_first_run = before.condition(&ConditionType::Running).is_none()
            && before.condition(&ConditionType::Restarting).is_none();
        if becomes(ConditionType::Running)
            && (is_first_run || has_resumed(before))
            && let Some(since) = came(job)
        {
            self.0.time_to_running.observe(now.duration_since(since).as_secs_f64().max(0.0));
        }
    }

    /// Counts a job that has failed before it began.
    pub(crate) fn refused(&self, namespace: &str) {
        self.0.failed.get_or_create(&labels(namespace)).inc();
    }

    /// Counts a job that is gone.
    pub(crate) fn deleted(&self, namespace: &str) {
        self.0.deleted.get_or_create(&labels(namespace)).inc();
    }

    /// Notes that a job has come into a state, and left another.
    pub(crate) fn moved(&self, namespace: &str, from: Option<State>, to: Option<State>) {
        if from == to {
            return;
        }
        let gauge = |state| {
            let labels = StateLabels { job_namespace: namespace.to_owned(), state };
            self.0.jobs.get_or_create_owned(&labels)
        };
        if let Some(from) = from {
            gauge(from).dec();
        }
        if let Some(to) = to {
            gauge(to).inc();
        }
    }

    /// Notes how long a reconcile took.
    pub(crate) fn reconciled(&self, took: Duration) {
        self.0.reconciles.observe(took.as_secs_f64());
    }
}

fn labels(namespace: &str) -> JobLabels {
    JobLabels { job_namespace: namespace.to_owned(), framework: Framework::mxnet }
}

fn restarts(status: &JobStatus) -> u64 {
    status.replicas.values().map(|role| u64::from(role.restarts)).sum()
}

/// Whether the job has not run since it was resumed: it was held back later than it ran.
fn has_resumed(status: &JobStatus) -> bool {
    let since = |kind| status.condition(&kind).and_then(|condition| condition.last_transition_time);
    since(ConditionType::Suspended) > since(ConditionType::Running)
}

/// When the job came, or came back.
fn came(job: &Job) -> Option<Timestamp> {
    let resumed = job.status.condition(&ConditionType::Suspended);
    resumed.and_then(|resumed: &Condition| resumed.last_transition_time).or(job.creation_timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[allow(clippy::needless_pass_by_value)] // reads better with a literal
    fn job(status: Value) -> Job {
        let object = json!({
            "metadata": { "name": "digits", "namespace": "team", "uid": "u", "creationTimestamp": "2026-11-24T08:00:00Z" },
            "spec": { "mxReplicaSpecs": { "Worker": {} } },
            "status": status,
        });
        Job::from_value(&object).unwrap()
    }

    fn condition(kind: &str) -> Value {
        json!({ "type": kind, "status": "True", "reason": format!("MXJob{kind}"), "message": "" })
    }

    /// Counts the writes that lead through these statuses, the first being there already.
    fn counted(statuses: &[Value]) -> String {
        let metrics = Metrics::default();
        for pair in statuses.windows(2) {
            let next = NextStatus { status: job(pair[1].clone()).status, ..NextStatus::default() };
            metrics.wrote(&job(pair[0].clone()), &next, "2026-11-24T08:00:03Z".parse().unwrap());
        }
        metrics.encode()
    }

    fn count(text: &str, name: &str) -> u64 {
        let series = format!("{name}{{job_namespace=\"team\",framework=\"mxnet\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.map_or(0, |count| count.parse().unwrap())
    }

    #[test]
    fn each_transition_counts_once_under_the_names_of_the_training_operator() {
        let created = json!({ "conditions": [condition("Created")] });
        let running = json!({ "conditions": [condition("Created"), condition("Running")] });
        let restarting = json!({
            "conditions": [condition("Created"), condition("Restarting")],
            "mxReplicaStatuses": { "Worker": { "restarts": 2 } },
        });
        let ended = |kind: &str| json!({ "conditions": [condition("Created"), condition(kind)] });
        let text = counted(&[
            json!({}),
            created.clone(),
            created.clone(),
            running.clone(),
            restarting,
            running,
            ended("Succeeded"),
        ]);
        let counts = ["created", "successful", "failed", "restarted", "deleted"]
            .map(|name| count(&text, &format!("training_operator_jobs_{name}_total")));
        assert_eq!(counts, [1, 1, 0, 2, 0], "{text}");
        assert!(
            text.contains("mxjob_time_to_running_seconds_count 1"),
            "only the first run: {text}"
        );
        assert!(text.contains("mxjob_time_to_running_seconds_sum 3.0"), "{text}");
        let text = counted(&[created, ended("Failed")]);
        assert_eq!(count(&text, "training_operator_jobs_failed_total"), 1);
        assert_eq!(
            count(&text, "training_operator_jobs_created_total"),
            0,
            "what is there is not counted"
        );
    }

    #[test]
    fn jobs_are_counted_in_the_state_they_are_in() {
        let metrics = Metrics::default();
        metrics.moved("team", None, Some(State::Waiting));
        metrics.moved("team", None, Some(State::Running));
        metrics.moved("team", Some(State::Waiting), Some(State::Running));
        metrics.moved("team", Some(State::Running), None);
        let text = metrics.encode();
        for (state, number) in [("waiting", 0), ("running", 1)] {
            let line = format!("mxjob_jobs{{job_namespace=\"team\",state=\"{state}\"}} {number}");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn the_newest_condition_that_holds_is_the_state() {
        let mut waits = condition("Created");
        waits["reason"] = "MXJobWaiting".into();
        let mut ran = condition("Running");
        ran["status"] = "False".into();
        for (conditions, expect) in [
            (json!([]), State::Created),
            (json!([condition("Created")]), State::Created),
            (json!([waits]), State::Waiting),
            (json!([condition("Created"), condition("Running")]), State::Running),
            (json!([condition("Created"), ran, condition("Failed")]), State::Failed),
            (json!([condition("Created"), condition("Suspended")]), State::Suspended),
        ] {
            assert_eq!(
                State::of(&job(json!({ "conditions": conditions }))),
                expect,
                "{conditions}"
            );
        }
    }
}
