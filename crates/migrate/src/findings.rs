//! What changes for a job: one sentence for each fact that the user should know before the
//! migration, in terms of the job's fields.

mod finished;
mod unfinished;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use mxjob_api::layout::{FIELDS, Field, Place, SCHEDULING};
use mxjob_api::{ConditionType, Job, RestartScope, job, names, validate};
use mxjob_machinery::error::chain;
use serde_json::Value;

use crate::children::{self, Owned};
use crate::finding::Finding;
use crate::operator::Operator;

/// The job that is assessed.
pub(crate) struct Subject<'a> {
    pub(crate) object: &'a Value,
    pub(crate) operator: Operator,
    pub(crate) children: Option<&'a Owned<'a>>,
    pub(crate) now: Timestamp,
}

/// Collects all findings about the job.
pub(crate) fn collect(
    subject: &Subject<'_>,
    job: &Result<Job, job::Error>,
    findings: &mut Vec<Finding>,
) {
    errors(subject, job, findings);
    let Ok(job) = job else { return };
    if subject.operator.is_older() {
        layouts(subject, job, findings);
    }
    if job.status.is_finished() {
        finished::collect(subject, job, findings);
    } else {
        unfinished::collect(subject, job, findings);
        replicas(subject, job, findings);
    }
}

/// Validation errors under the current rules. A job that an operator has started is still managed
/// as far as it can be read; a new one is rejected.
fn errors(subject: &Subject<'_>, job: &Result<Job, job::Error>, findings: &mut Vec<Finding>) {
    if let Err(error) = job {
        findings.push(Finding::danger(format!(
            "The controller cannot read the job and leaves it and its pods unmanaged: {}.",
            chain(error)
        )));
        return;
    }
    let errors = validate::validate(subject.object);
    if errors.is_empty() {
        return;
    }
    findings.push(if subject.operator == Operator::None {
        Finding::danger(format!(
            "No operator has started the job, and the controller will reject it: {errors}."
        ))
    } else if job.as_ref().is_ok_and(|job| job.is_too_large() && !job.status.is_finished()) {
        Finding::danger(format!("The job is too large, and the controller will fail it: {errors}."))
    } else {
        Finding::note(format!(
            "The job would be rejected today; since it exists, it is still managed: {errors}."
        ))
    });
}

/// Policies in a place that the operator did not read and that is read now.
fn layouts(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let (operator, spec) = (subject.operator, subject.object.get("spec").unwrap_or(&Value::Null));
    let read = if matches!(operator, Operator::MxnetOperator1_0 | Operator::MxnetOperator1_1) {
        Place::Flat
    } else {
        Place::Nested
    };
    for field in FIELDS {
        let was_known = match field.names() {
            [SCHEDULING, ..] => {
                !matches!(operator, Operator::MxnetOperator1_0 | Operator::MxnetOperator1_1)
            }
            ["suspend"] => operator == Operator::TrainingOperator1_8,
            _ => true,
        };
        if was_known && field.get(spec, read).is_some() {
            continue;
        }
        let places = Place::ALL.into_iter();
        let Some((place, value)) =
            places.filter_map(|place| Some((place, field.get(spec, place)?))).next()
        else {
            continue;
        };
        let text = format!(
            "{} was not read by {operator} and is now in effect: {value}",
            field.path(place)
        );
        findings.push(if field == Field::suspend() && job.suspend && !job.status.is_finished() {
            Finding::danger(format!("{text}, so all pods of the job are stopped."))
        } else {
            Finding::change(format!("{text}."))
        });
    }
    let policy = subject.object.pointer("/spec/successPolicy").and_then(Value::as_str);
    if let Some(policy) = policy.filter(|policy| !policy.is_empty()) {
        findings.push(Finding::change(format!(
            "spec.successPolicy was not read by {operator} and is now in effect: {policy}."
        )));
    }
}

/// Replicas without pods, pods without replicas, and pods of a gang.
fn replicas(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(owned) = subject.children else { return };
    let has_begun = !job.status.conditions.is_empty();
    let existing: BTreeSet<&str> = owned.pods.iter().map(|pod| children::name(pod)).collect();
    // No pod will be created for a job that is too large.
    let expected = job.replicas.iter().filter(|_| !job.is_too_large()).flat_map(|replica| {
        (0..replica.count).map(|index| names::pod_name(&job.name, replica.role, index))
    });
    let missing: Vec<_> = expected.filter(|name| !existing.contains(name.as_str())).collect();
    if has_begun && !job.suspend && !missing.is_empty() {
        let missing = list(&missing);
        let is_whole =
            job.restart_scope == RestartScope::Job && job.status.is_true(&ConditionType::Running);
        findings.push(if is_whole {
            Finding::danger(format!(
                "Pods of the running job are missing, so the whole job is restarted: {missing}."
            ))
        } else {
            Finding::change(format!("Pods of the job are missing and will be created: {missing}."))
        });
    }
    let is_of_replica = |name: &String| names::replica_of(job, name).is_some();
    let taken: Vec<_> = owned
        .other_pods
        .iter()
        .map(|pod| children::name(pod).to_owned())
        .filter(is_of_replica)
        .collect();
    if !taken.is_empty() {
        findings.push(Finding::danger(format!(
            "Pods that the job does not control have the names of its replicas and block them: {}.",
            list(&taken)
        )));
    }
    let spare = owned.pods.iter().map(|pod| children::name(pod).to_owned());
    let spare: Vec<_> = spare.filter(|name| !is_of_replica(name)).collect();
    if !spare.is_empty() {
        findings.push(Finding::note(format!(
            "Pods that the job controls match none of its replicas and are left alone: {}.",
            list(&spare)
        )));
    }
    if owned.pods.iter().any(|pod| is_in_pod_group(pod)) {
        findings.push(Finding::note(
            "The pods belong to a PodGroup: run the operator with --gang-scheduler; otherwise replaced pods are scheduled one by one.",
        ));
    }
}

fn is_in_pod_group(pod: &Value) -> bool {
    let has = |map: &str, key: &str| pod.pointer(map).and_then(|map| map.get(key)).is_some();
    has("/metadata/annotations", "scheduling.k8s.io/group-name")
        || has("/metadata/labels", "scheduling.x-k8s.io/pod-group")
}

/// The first few names.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.get(..SHOWN.min(names.len())).unwrap_or_default().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The time that many seconds later, if it can be represented.
fn after(time: Timestamp, seconds: i64) -> Option<Timestamp> {
    time.checked_add(SignedDuration::from_secs(seconds)).ok()
}
