//! Findings about a job that has not finished: the rules under which it continues, and those under
//! which it used to end.

use mxjob_api::layout::FIELDS;
use mxjob_api::{Job, JobMode, RestartPolicy, RestartScope, Role, SuccessPolicy};

use super::{Subject, after};
use crate::children;
use crate::finding::Finding;
use crate::operator::Operator;

pub(super) fn collect(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    deadline(subject, job, findings);
    backoff(subject, job, findings);
    if subject.operator.is_older() {
        findings.extend(clean_up(subject));
        findings.extend(success(subject, job));
        findings.extend(restarts(subject, job));
        findings.extend(schedulers(job));
        if let (Some(seconds), Operator::MxnetOperator1_1 | Operator::TrainingOperator1_5) =
            (job.ttl_seconds_after_finished, subject.operator)
        {
            findings.push(Finding::change(format!(
                "The job is deleted {seconds} s after its end (ttlSecondsAfterFinished); {} never did that.",
                subject.operator
            )));
        }
    }
}

fn deadline(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(seconds) = job.active_deadline_seconds else { return };
    match job.status.start_time {
        Some(start) if !job.suspend && after(start, seconds).is_some_and(|end| end <= subject.now) => {
            findings.push(Finding::danger(format!(
                "The job has been active since {start}, longer than its activeDeadlineSeconds of {seconds}: it fails as soon as the controller runs; to prevent that, raise or remove the field first."
            )));
        }
        None if subject.operator.is_older() => findings.push(Finding::change(format!(
            "{} did not store when the job started and never enforced activeDeadlineSeconds; the job's {seconds} s count from its adoption.",
            capitalized(subject.operator)
        ))),
        _ => {}
    }
}

fn backoff(subject: &Subject<'_>, job: &Job, findings: &mut Vec<Finding>) {
    let Some(limit) = job.backoff_limit.filter(|_| subject.operator.is_older()) else { return };
    if job.restart_scope == RestartScope::Job {
        findings.push(Finding::change(format!(
            "backoffLimit {limit} now counts restarts of the whole job; one restart more than that fails the job."
        )));
        return;
    }
    let pods = subject.children.map_or(&[][..], |owned| &owned.pods);
    let sum = pods.iter().fold(0, |sum: u64, pod| sum.saturating_add(children::restarts(pod)));
    findings.push(if i64::try_from(sum).is_ok_and(|sum| sum > limit.into()) {
        Finding::danger(format!(
            "The containers of the job have restarted {sum} times, which exceeds its backoffLimit of {limit}: it fails as soon as the controller runs."
        ))
    } else {
        let so_far = if subject.children.is_some() { format!(" (so far {sum})") } else { String::new() };
        Finding::change(format!(
            "backoffLimit {limit} now counts every replaced pod and every container restart, in all roles{so_far}; one more than that fails the job."
        ))
    });
}

fn clean_up(subject: &Subject<'_>) -> Option<Finding> {
    let spec = subject.object.get("spec")?;
    let field = FIELDS.into_iter().find(|field| field.names() == ["cleanPodPolicy"])?;
    if let Some(value) = field.value(spec) {
        return (value == "").then(|| {
            Finding::note("cleanPodPolicy is empty, which still means All: all pods of the job are deleted when it ends.")
        });
    }
    let operator = subject.operator;
    let old = operator.default_clean_pod_policy();
    let what = if old == "All" {
        "pods that have ended stay, with their logs, when the job ends"
    } else {
        "pods that still run when the job ends are stopped"
    };
    Some(Finding::change(format!(
        "cleanPodPolicy is not set, so {what}: the default is Running and was {old} with {operator}; set it to keep the old behaviour."
    )))
}

fn success(subject: &Subject<'_>, job: &Job) -> Option<Finding> {
    let operator = subject.operator;
    let now = match job.mode {
        JobMode::MXTune => "its tuner succeeds",
        JobMode::MXTrain
            if job.success_policy == SuccessPolicy::AllWorkers
                || job.count(Role::Scheduler) == 0 =>
        {
            "all of its workers succeed"
        }
        JobMode::MXTrain => "its scheduler succeeds and no worker has failed permanently",
    };
    let before = match (operator, job.mode) {
        (Operator::MxnetOperator1_1, _) | (Operator::TrainingOperator1_5, JobMode::MXTrain) => {
            "the first role whose replicas had all succeeded decided"
        }
        (Operator::TrainingOperator1_5 | Operator::TrainingOperator1_8, JobMode::MXTune) => {
            "such a job never ended"
        }
        _ => return None,
    };
    Some(Finding::change(format!("The job succeeds when {now}; with {operator} {before}.")))
}

fn restarts(subject: &Subject<'_>, job: &Job) -> Vec<Finding> {
    let operator = subject.operator;
    let has = |policies: &[RestartPolicy]| {
        job.replicas
            .iter()
            .any(|replica| replica.count > 0 && policies.contains(&replica.restart_policy))
    };
    let mut findings = Vec::new();
    if matches!(
        operator,
        Operator::MxnetOperator1_1 | Operator::TrainingOperator1_5 | Operator::TrainingOperator1_8
    ) && has(&[RestartPolicy::OnFailure, RestartPolicy::Always])
    {
        findings.push(Finding::change(format!(
            "A failed pod of restartPolicy OnFailure or Always is replaced, where {operator} failed the job."
        )));
    }
    if operator != Operator::TrainingOperator1_8 && has(&[RestartPolicy::ExitCode]) {
        findings.push(Finding::change(format!(
            "With restartPolicy ExitCode every code from 128 on is retried, where {operator} treated most of them as final (139, a crash, among them)."
        )));
    }
    if job.restart_scope == RestartScope::Job
        && has(&[RestartPolicy::OnFailure, RestartPolicy::Always, RestartPolicy::ExitCode])
    {
        findings.push(Finding::change(format!(
            "A retryable failure restarts all replicas, where {operator} restarted only the failed one: a job with a scheduler cannot take a restarted process back."
        )));
    }
    findings
}

/// Replicas get the address of scheduler 0 only.
fn schedulers(job: &Job) -> Option<Finding> {
    let singles = job.replicas.iter().filter(|replica| replica.role.is_single());
    let several = singles.into_iter().find(|replica| replica.count > 1)?;
    Some(Finding::change(format!(
        "The job has {} replicas of {}, but its processes learn the address of the first only. All of them are run; if that role decides, the job succeeds only when all of them succeed.",
        several.count, several.role
    )))
}

/// The operator's name for the start of a sentence.
fn capitalized(operator: Operator) -> String {
    let name = operator.to_string();
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
