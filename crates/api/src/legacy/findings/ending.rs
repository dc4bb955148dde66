//! A job that is over: what becomes of it and of what is left of it.

use super::{Finding, Subject};
use crate::job::Job;
use crate::legacy::adopt;
use crate::legacy::children;
use crate::policy::CleanPodPolicy;
use jiff::{SignedDuration, Timestamp};

pub(super) fn finished(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    if job.status.completion_time.is_none() && subject.era.is_older() {
        findings.push(Finding::note(
            "The status does not say when the job ended (completionTime); the time of its last condition is taken.",
        ));
    }
    time_to_live(subject, job, findings);
    leftovers(subject, job, findings);
}

/// A time to live that nobody acted on is acted on at once.
fn time_to_live(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(seconds) = job.ttl_seconds_after_finished else { return };
    let Some(end) = job.status.completion_time.or_else(|| adopt::ended(job)) else { return };
    let Some(expiry) = after(end, seconds.into()) else { return };
    findings.push(if expiry <= subject.now {
        Finding::danger(format!(
            "The job ended at {end} and its ttlSecondsAfterFinished of {seconds} is over: it is deleted as soon as the controller runs; remove the field before to keep it."
        ))
    } else {
        Finding::change(format!(
            "The job ended at {end} with ttlSecondsAfterFinished {seconds}: it is deleted at {expiry}."
        ))
    });
}

fn leftovers(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let pods = subject.children.map_or(&[][..], |family| &family.pods);
    let count = match job.clean_pod_policy {
        CleanPodPolicy::None => return,
        CleanPodPolicy::All => pods.len(),
        CleanPodPolicy::Running => pods.iter().filter(|pod| !children::has_ended(pod)).count(),
    };
    if count > 0 {
        findings.push(Finding::danger(format!(
            "{count} pods that are left of the finished job are deleted as soon as the controller runs (cleanPodPolicy {:?}); set cleanPodPolicy to None before to keep them.",
            job.clean_pod_policy
        )));
    }
}

/// A time that many seconds later, if there is one.
pub(super) fn after(time: Timestamp, seconds: i64) -> Option<Timestamp> {
    time.checked_add(SignedDuration::from_secs(seconds)).ok()
}
