//! Which operator managed a job: read from the labels it put on pods, else from the status it
//! wrote, else from the fields it stored.

use std::fmt;

use mxjob_api::labels;
use mxjob_api::layout::{FIELDS, NESTED, Place};
use mxjob_machinery::json::{list, text};
use serde_json::Value;

use crate::children::{self, field};

/// Label with the job's name, by mxnet-operator 1.1 and training-operator 1.3 to 1.5.
const JOB_NAME: &str = "job-name";
/// The same by the first releases of mxnet-operator.
const OLDEST_JOB_NAME: &str = "mxnet_job_name";

/// The operator that managed a job, as far as the stored objects show.
///
/// | variant | releases | policies it read | default `cleanPodPolicy` |
/// | --- | --- | --- | --- |
/// | [`MxnetOperator1_0`](Self::MxnetOperator1_0) | mxnet-operator up to 1.0 | flat | `All` |
/// | [`MxnetOperator1_1`](Self::MxnetOperator1_1) | mxnet-operator 1.1 | flat | `All` |
/// | [`TrainingOperator1_5`](Self::TrainingOperator1_5) | training-operator 1.3 to 1.5 | `runPolicy` | `All` |
/// | [`TrainingOperator1_8`](Self::TrainingOperator1_8) | training-operator 1.6 to 1.8 | `runPolicy` | `None` |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// mxnet-operator up to 1.0.
    MxnetOperator1_0,
    /// mxnet-operator 1.1.
    MxnetOperator1_1,
    /// training-operator 1.3 to 1.5.
    TrainingOperator1_5,
    /// training-operator 1.6 to 1.8.
    TrainingOperator1_8,
    /// mxjob.
    Mxjob,
    /// No operator has written to the job yet.
    None,
}

// === impl Operator ===

impl Operator {
    pub(crate) fn of(job: &Value, pods: &[&Value]) -> Self {
        let none = Value::Null;
        let status = job.get("status").unwrap_or(&none);
        let spec = job.get("spec").unwrap_or(&none);
        let has = |key| field(status, key).is_some();
        let is_mxjob = is_status_written_by_mxjob(job)
            || has("completedIndexes")
            || has("restartState")
            || (has("mxReplicaStatuses") && has("replicaStatuses"));
        let is_nested = field(spec, NESTED).is_some();
        // An interrupted adoption leaves pods of both operators. The pods that are still to be
        // adopted decide, whatever the status says. Terminating pods of a job of mxjob need no
        // adoption.
        let counted = pods.iter().filter(|pod| !(is_mxjob && children::is_terminating(pod)));
        let operators = counted.filter_map(|pod| by_labels(pod, is_nested));
        if let Some(operator) = operators.min_by_key(|operator| *operator == Self::Mxjob) {
            return operator;
        }
        if is_mxjob {
            return Self::Mxjob;
        }
        if has("mxReplicaStatuses") {
            return Self::MxnetOperator1_0;
        }
        if field(status, "conditions").is_none() && !has("replicaStatuses") {
            return Self::None;
        }
        // Only training-operator 1.6 to 1.8 knew suspension. Only it and mxnet-operator 1.0 stored
        // a start time.
        if has_suspended(status) {
            return Self::TrainingOperator1_8;
        }
        let has_flat = FIELDS.iter().any(|field| field.get(spec, Place::Flat).is_some());
        match (is_nested, has("startTime")) {
            (true, true) => Self::TrainingOperator1_8,
            (true, false) => Self::TrainingOperator1_5,
            (false, true) if !has_flat => Self::TrainingOperator1_8,
            // The schema of training-operator would have pruned a flat field.
            (false, _) => Self::MxnetOperator1_1,
        }
    }

    /// The operator's default for `cleanPodPolicy`.
    pub fn default_clean_pod_policy(self) -> &'static str {
        match self {
            Self::MxnetOperator1_0 | Self::MxnetOperator1_1 | Self::TrainingOperator1_5 => "All",
            Self::TrainingOperator1_8 => "None",
            Self::Mxjob | Self::None => "Running",
        }
    }

    /// Whether it is mxnet-operator or training-operator.
    pub fn is_older(self) -> bool {
        !matches!(self, Self::Mxjob | Self::None)
    }
}

/// The name of the operator, as in reports.
impl fmt::Display for Operator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::MxnetOperator1_0 => "mxnet-operator 1.0",
            Self::MxnetOperator1_1 => "mxnet-operator 1.1",
            Self::TrainingOperator1_5 => "training-operator 1.5",
            Self::TrainingOperator1_8 => "training-operator 1.8",
            Self::Mxjob => "mxjob",
            Self::None => "no operator",
        })
    }
}

fn by_labels(pod: &Value, is_nested: bool) -> Option<Operator> {
    let labels = pod.pointer("/metadata/labels")?;
    let has = |label: &str| labels.get(label).is_some();
    match (
        has(labels::JOB_NAME),
        has(labels::MXNET_JOB_NAME) || has(OLDEST_JOB_NAME),
        has(JOB_NAME),
    ) {
        (true, true, _) => Some(Operator::Mxjob),
        (false, true, _) => Some(Operator::MxnetOperator1_0),
        (true, false, true) => Some(Operator::TrainingOperator1_5),
        (true, false, false) => Some(Operator::TrainingOperator1_8),
        (false, false, true) => {
            Some(if is_nested { Operator::TrainingOperator1_5 } else { Operator::MxnetOperator1_1 })
        }
        (false, false, false) => None,
    }
}

/// Whether mxjob has written the status, according to `managedFields`.
pub(crate) fn is_status_written_by_mxjob(job: &Value) -> bool {
    list(job, "/metadata/managedFields").iter().any(|entry| {
        let is = |field, word| entry.get(field).is_some_and(|value| value == word);
        is("manager", labels::OPERATOR) && is("subresource", "status")
    })
}

fn has_suspended(status: &Value) -> bool {
    list(status, "/conditions").iter().any(|condition| text(condition, "/type") == "Suspended")
}
