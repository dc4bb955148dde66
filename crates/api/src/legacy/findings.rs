//! What will be different: one sentence for each thing that whoever migrates should know before, in terms of the job's own fields.

mod ending;
mod running;

use super::children::{self, Family};
use super::{Era, Finding};
use crate::job::{self, Job};
use crate::layout::{FIELDS, Field, Place, SCHEDULING};
use crate::policy::RestartScope;
use crate::status::ConditionType;
use crate::{names, validate};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

/// What is looked at.
pub(super) struct Subject<'a> {
    pub(super) object: &'a Value,
    pub(super) era: Era,
    pub(super) children: Option<&'a Family<'a>>,
    pub(super) now: Timestamp,
}

/// Notes everything.
pub(super) fn note(
    subject: &Subject<'_>,
    job: &Result<Job, job::Error>,
    findings: &mut Vec<Finding>,
) {
    faults(subject, job, findings);
    let Ok(job) = job else { return };
    if subject.era.is_older() {
        layouts(subject, job, findings);
    }
    if job.status.is_finished() {
        ending::finished(subject, job, findings);
    } else {
        running::note(subject, job, findings);
        replicas(subject, job, findings);
    }
}

/// What today's rules would refuse. A job that somebody has begun with is managed as well as it can be read; a new one is refused.
fn faults(subject: &Subject<'_>, job: &Result<Job, job::Error>, findings: &mut Vec<Finding>) {
    if let Err(error) = job {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        findings.push(Finding::danger(format!(
            "The controller cannot read the job and leaves it and its pods alone: {error}{}.",
            cause.unwrap_or_default()
        )));
        return;
    }
    let errors = validate::validate(subject.object);
    if errors.is_empty() {
        return;
    }
    findings.push(if subject.era == Era::Unknown {
        Finding::danger(format!(
            "Nobody has begun with the job, and the controller will refuse it: {errors}."
        ))
    } else if job.as_ref().is_ok_and(|job| job.is_too_large() && !job.status.is_finished()) {
        Finding::danger(format!("The job is too large, and the controller will fail it: {errors}."))
    } else {
        Finding::note(format!(
            "Today the job would not be accepted; as it stands it is carried on: {errors}."
        ))
    });
}

/// Policies in the layout that the operator did not read, which are read now.
fn layouts(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let (era, spec) = (subject.era, subject.object.get("spec").unwrap_or(&Value::Null));
    let read = if matches!(era, Era::A | Era::B) { Place::Flat } else { Place::Nested };
    for field in FIELDS {
        let was_known = match field.names() {
            [SCHEDULING, ..] => !matches!(era, Era::A | Era::B),
            ["suspend"] => era == Era::CLate,
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
        let text =
            format!("{} was not read by {era} and is in force now: {value}", field.path(place));
        findings.push(if field == Field::suspend() && job.suspend && !job.status.is_finished() {
            Finding::danger(format!("{text}, so all pods of the job are stopped."))
        } else {
            Finding::change(format!("{text}."))
        });
    }
    let policy = subject.object.pointer("/spec/successPolicy").and_then(Value::as_str);
    if let Some(policy) = policy.filter(|policy| !policy.is_empty()) {
        findings.push(Finding::change(format!(
            "spec.successPolicy was not read by {era} and is in force now: {policy}."
        )));
    }
}

/// Replicas without pods, and pods without replicas.
fn replicas(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(family) = subject.children else { return };
    let has_begun = !job.status.conditions.is_empty();
    let there: BTreeSet<&str> = family.pods.iter().map(|pod| children::name(pod)).collect();
    // Of a job that is too large no pod will be made.
    let expected = job.replicas.iter().filter(|_| !job.is_too_large()).flat_map(|replica| {
        (0..replica.count).map(|index| names::pod_name(&job.name, replica.role, index))
    });
    let missing: Vec<_> = expected.filter(|name| !there.contains(name.as_str())).collect();
    if has_begun && !job.suspend && !missing.is_empty() {
        let missing = list(&missing);
        let is_whole =
            job.restart_scope == RestartScope::Job && job.status.is_true(&ConditionType::Running);
        findings.push(if is_whole {
            Finding::danger(format!(
                "Pods of the running job are missing, and without them it is restarted as a whole: {missing}."
            ))
        } else {
            Finding::change(format!("Pods of the job are missing and will be made: {missing}."))
        });
    }
    let is_of_replica = |name: &String| names::replica_of(job, name).is_some();
    let taken: Vec<_> = family
        .strangers
        .iter()
        .map(|pod| children::name(pod).to_owned())
        .filter(is_of_replica)
        .collect();
    if !taken.is_empty() {
        findings.push(Finding::danger(format!(
            "Pods with names of the job's replicas are not controlled by it and stand in their way: {}.",
            list(&taken)
        )));
    }
    let spare = family.pods.iter().map(|pod| children::name(pod).to_owned());
    let spare: Vec<_> = spare.filter(|name| !is_of_replica(name)).collect();
    if !spare.is_empty() {
        findings.push(Finding::note(format!(
            "Pods that the job controls are none of its replicas and are left alone: {}.",
            list(&spare)
        )));
    }
    if family.pods.iter().any(|pod| is_ganged(pod)) {
        findings.push(Finding::note(
            "The pods belong to a PodGroup: run the operator with --gang-scheduler, or pods that are replaced are scheduled one by one.",
        ));
    }
}

fn is_ganged(pod: &Value) -> bool {
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
