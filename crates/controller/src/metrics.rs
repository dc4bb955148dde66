//! The controller's Prometheus metrics.
//!
//! The counters of jobs have the names and labels of the training operator, so dashboards made for
//! it keep working. They count transitions after the API has accepted them, never the objects that
//! a watch delivers: a new controller, which lists all jobs again, counts none of them again.
//!
//! ```
//! let metrics = mxjob_controller::Metrics::default();
//! assert!(metrics.encode().ends_with("# EOF\n"));
//! ```

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mxjob_api::{Condition, ConditionType, Job, JobStatus};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::plan::NextStatus;

/// The counters, gauges and histograms; a cheap handle.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Collectors>);

/// `Content-Type` of the result of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Collectors {
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
    state: JobState,
}

/// The state of a job, from its newest true condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum JobState {
    Created,
    Waiting,
    Running,
    Restarting,
    Suspended,
    Succeeded,
    Failed,
}

impl EncodeLabelValue for JobState {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let label = match self {
            Self::Created => "created",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Suspended => "suspended",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        };
        EncodeLabelValue::encode(&label, encoder)
    }
}

// === impl JobState ===

impl JobState {
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
            // A job that was not picked up yet counts as created.
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
        let collectors = Collectors {
            registry: Registry::default(),
            created: Family::default(),
            deleted: Family::default(),
            successful: Family::default(),
            failed: Family::default(),
            restarted: Family::default(),
            jobs: Family::default(),
            // From 100 ms to more than an hour (the job waited for capacity).
            time_to_running: Histogram::new(exponential_buckets(0.1, 2.0, 17)),
            // From 100 µs (nothing to do) to some seconds (a thousand pods to create).
            reconciles: Histogram::new(exponential_buckets(0.0001, 2.0, 17)),
        };
        Self(Arc::new(collectors.registered()))
    }
}

impl Collectors {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        for (name, help, counter) in [
            ("created", "Jobs that the controller has picked up", &self.created),
            ("deleted", "Jobs that were deleted", &self.deleted),
            ("successful", "Jobs that succeeded", &self.successful),
            ("failed", "Jobs that failed", &self.failed),
            ("restarted", "Restarts of replicas and of whole jobs", &self.restarted),
        ] {
            registry.register(format!("training_operator_jobs_{name}"), help, counter.clone());
        }
        registry.register("mxjob_jobs", "Existing jobs by state", self.jobs.clone());
        registry.register_with_unit(
            "mxjob_time_to_running",
            "Time from the creation or resumption of a job until all its replicas run",
            Unit::Seconds,
            self.time_to_running.clone(),
        );
        registry.register_with_unit(
            "mxjob_reconcile_duration",
            "Duration of one reconcile of one job, including its requests",
            Unit::Seconds,
            self.reconciles.clone(),
        );
        self
    }
}

impl Metrics {
    /// All metrics as OpenMetrics text ([`CONTENT_TYPE`]).
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Only a failing writer makes this fail, and a string never fails.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.0.registry);
        text
    }

    /// Counts the transitions of a status write that the API accepted.
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
            && let Some(since) = waiting_since(job)
        {
            self.0.time_to_running.observe(now.duration_since(since).as_secs_f64().max(0.0));
        }
    }

    /// Counts a job that was rejected as invalid.
    pub(crate) fn refused(&self, namespace: &str) {
        self.0.failed.get_or_create(&labels(namespace)).inc();
    }

    /// Counts a deleted job.
    pub(crate) fn deleted(&self, namespace: &str) {
        self.0.deleted.get_or_create(&labels(namespace)).inc();
    }

    /// Moves a job from one state to another.
    pub(crate) fn moved(&self, namespace: &str, from: Option<JobState>, to: Option<JobState>) {
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

/// Whether the job has not run since it was resumed: it was suspended later than it ran.
fn has_resumed(status: &JobStatus) -> bool {
    let since = |kind| status.condition(&kind).and_then(|condition| condition.last_transition_time);
    since(ConditionType::Suspended) > since(ConditionType::Running)
}

/// When the job was created or last resumed.
fn waiting_since(job: &Job) -> Option<Timestamp> {
    let resumed = job.status.condition(&ConditionType::Suspended);
    resumed.and_then(|resumed: &Condition| resumed.last_transition_time).or(job.creation_timestamp)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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

    /// The metrics after writing these statuses one after another; the first one exists already.
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
            "existing conditions are not counted"
        );
    }

    #[test]
    fn jobs_are_counted_in_the_state_they_are_in() {
        let metrics = Metrics::default();
        metrics.moved("team", None, Some(JobState::Waiting));
        metrics.moved("team", None, Some(JobState::Running));
        metrics.moved("team", Some(JobState::Waiting), Some(JobState::Running));
        metrics.moved("team", Some(JobState::Running), None);
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
            (json!([]), JobState::Created),
            (json!([condition("Created")]), JobState::Created),
            (json!([waits]), JobState::Waiting),
            (json!([condition("Created"), condition("Running")]), JobState::Running),
            (json!([condition("Created"), ran, condition("Failed")]), JobState::Failed),
            (json!([condition("Created"), condition("Suspended")]), JobState::Suspended),
        ] {
            assert_eq!(
                JobState::of(&job(json!({ "conditions": conditions }))),
                expect,
                "{conditions}"
            );
        }
    }
}
