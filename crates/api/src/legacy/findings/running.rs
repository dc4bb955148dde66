//! A job that is not over: by which rules it goes on, and by which it ended before.

use super::ending::after;
use super::{Finding, Subject};
use crate::job::Job;
use crate::layout::FIELDS;
use crate::legacy::{Era, children};
use crate::policy::{RestartPolicy, RestartScope, SuccessPolicy};
use crate::role::{JobMode, Role};

pub(super) fn note(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    deadline(subject, job, findings);
    backoff(subject, job, findings);
    if subject.era.is_older() {
        findings.extend(clean_up(subject));
        findings.extend(success(subject, job));
        findings.extend(restarts(subject, job));
        findings.extend(schedulers(job));
        if let (Some(seconds), Era::B | Era::CEarly) = (job.ttl_seconds_after_finished, subject.era)
        {
            findings.push(Finding::change(format!(
                "The job is deleted {seconds} s after its end (ttlSecondsAfterFinished), which {} never did.",
                subject.era
            )));
        }
    }
}

fn deadline(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(seconds) = job.active_deadline_seconds else { return };
    match job.status.start_time {
        Some(start) if !job.suspend && after(start, seconds).is_some_and(|end| end <= subject.now) => {
            findings.push(Finding::danger(format!(
                "The job has been active since {start}, longer than its activeDeadlineSeconds of {seconds}: it fails as soon as the controller runs; raise or remove the field before."
            )));
        }
        None if subject.era.is_older() => findings.push(Finding::change(format!(
            "{} did not note when the job started, so its activeDeadlineSeconds of {seconds}, which never ended a job there, count from the take-over.",
            sentence(subject.era)
        ))),
        _ => {}
    }
}

fn backoff(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(limit) = job.backoff_limit.filter(|_| subject.era.is_older()) else { return };
    if job.restart_scope == RestartScope::Job {
        findings.push(Finding::change(format!(
            "backoffLimit {limit} counts the restarts of the job as a whole, from now on; the one after the last of them fails the job."
        )));
        return;
    }
    let pods = subject.children.map_or(&[][..], |family| &family.pods);
    let sum = pods.iter().fold(0, |sum: u64, pod| sum.saturating_add(children::restarts(pod)));
    findings.push(if i64::try_from(sum).is_ok_and(|sum| sum > limit.into()) {
        Finding::danger(format!(
            "The containers of the job have restarted {sum} times, more often than its backoffLimit of {limit}: it fails as soon as the controller runs."
        ))
    } else {
        let so_far = if subject.children.is_some() { format!(" (so far {sum})") } else { String::new() };
        Finding::change(format!(
            "backoffLimit {limit} counts every replaced pod and every container that restarts, in all roles{so_far}; the one after the last of them fails the job."
        ))
    });
}

fn clean_up(subject: &Subject<'_>) -> Option<Finding> {
    let spec = subject.object.get("spec")?;
    let field = FIELDS.into_iter().find(|field| field.names() == ["cleanPodPolicy"])?;
    if let Some(value) = field.value(spec) {
        return (value == "").then(|| {
            Finding::note("cleanPodPolicy is empty, which goes on to mean All: all pods of the job go when it ends.")
        });
    }
    let era = subject.era;
    let old = era.default_clean_pod_policy();
    let what = if old == "All" {
        "the pods that have ended stay with their logs when the job ends"
    } else {
        "the pods that still run when the job ends are stopped"
    };
    Some(Finding::change(format!(
        "cleanPodPolicy is not given, so {what}: the default is Running and was {old} with {era}; set it to have it as it was."
    )))
}

fn success(subject: &Subject<'_>, job: &Job) -> Option<Finding> {
    let era = subject.era;
    let now = match job.mode {
        JobMode::MXTune => "its tuner has",
        JobMode::MXTrain
            if job.success_policy == SuccessPolicy::AllWorkers
                || job.count(Role::Scheduler) == 0 =>
        {
            "all of its workers have"
        }
        JobMode::MXTrain => "its scheduler has and no worker has failed for good",
    };
    let before = match (era, job.mode) {
        (Era::B, _) | (Era::CEarly, JobMode::MXTrain) => {
            "the first role of which all replicas had ended well decided"
        }
        (Era::CEarly | Era::CLate, JobMode::MXTune) => "such a job never ended",
        _ => return None,
    };
    Some(Finding::change(format!("The job succeeds when {now}; with {era} {before}.")))
}

fn restarts(subject: &Subject<'_>, job: &Job) -> Vec<Finding> {
    let era = subject.era;
    let has = |policies: &[RestartPolicy]| {
        job.replicas
            .iter()
            .any(|replica| replica.count > 0 && policies.contains(&replica.restart_policy))
    };
    let mut findings = Vec::new();
    if matches!(era, Era::B | Era::CEarly | Era::CLate)
        && has(&[RestartPolicy::OnFailure, RestartPolicy::Always])
    {
        findings.push(Finding::change(format!(
            "A failed pod of restartPolicy OnFailure or Always is replaced, where {era} failed the job."
        )));
    }
    if era != Era::CLate && has(&[RestartPolicy::ExitCode]) {
        findings.push(Finding::change(format!(
            "With restartPolicy ExitCode every code from 128 on is retried, where {era} took most of them for final (139, a crash, among them)."
        )));
    }
    if job.restart_scope == RestartScope::Job
        && has(&[RestartPolicy::OnFailure, RestartPolicy::Always, RestartPolicy::ExitCode])
    {
        findings.push(Finding::change(format!(
            "A failure that may be retried restarts all replicas, where {era} restarted the failed one alone: a rendezvous with a scheduler does not take a lost process back."
        )));
    }
    findings
}

/// Only scheduler 0 is ever told to anybody.
fn schedulers(job: &Job) -> Option<Finding> {
    let singles = job.replicas.iter().filter(|replica| replica.role.is_single());
    let several = singles.into_iter().find(|replica| replica.count > 1)?;
    Some(Finding::change(format!(
        "The job has {} replicas of {}, and no process ever hears of any but the first; they are run as they are, and the job succeeds only if all of them do where that role decides.",
        several.count, several.role
    )))
}

/// The name at the start of a sentence.
fn sentence(era: Era) -> String {
    let name = era.to_string();
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
