//! Findings about a finished job: its time to live, and its remaining pods.

use mxjob_api::{CleanPodPolicy, Job};

use super::{Subject, after};
use crate::finding::Finding;
use crate::{adoption, children};

pub(super) fn collect(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    if job.status.completion_time.is_none() && subject.operator.is_older() {
        findings.push(Finding::note(
            "The status does not say when the job ended (completionTime); the time of its last condition is used instead.",
        ));
    }
    time_to_live(subject, job, findings);
    leftovers(subject, job, findings);
}

/// A time to live that older operators ignored takes effect as soon as the controller runs.
fn time_to_live(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(seconds) = job.ttl_seconds_after_finished else { return };
    let Some(end) = job.status.completion_time.or_else(|| adoption::ended(job)) else { return };
    let Some(expiry) = after(end, seconds.into()) else { return };
    findings.push(if expiry <= subject.now {
        Finding::danger(format!(
            "The job ended at {end} and its ttlSecondsAfterFinished of {seconds} has expired: it is deleted as soon as the controller runs; to keep it, remove the field first."
        ))
    } else {
        Finding::change(format!(
            "The job ended at {end} with ttlSecondsAfterFinished {seconds}: it is deleted at {expiry}."
        ))
    });
}

fn leftovers(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let pods = subject.children.map_or(&[][..], |owned| &owned.pods);
    let count = match job.clean_pod_policy {
        CleanPodPolicy::None => return,
        CleanPodPolicy::All => pods.len(),
        CleanPodPolicy::Running => pods.iter().filter(|pod| !children::has_ended(pod)).count(),
    };
    if count > 0 {
        findings.push(Finding::danger(format!(
            "{count} remaining pods of the finished job are deleted as soon as the controller runs (cleanPodPolicy {:?}); to keep them, set cleanPodPolicy to None first.",
            job.clean_pod_policy
        )));
    }
}
