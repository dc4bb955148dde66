//! Messages of conditions and events.
//!
//! The contract defines their form. A failure names the first failed replica, its exit code, signal
//! and reason, and its last log line, so that `kubectl describe` answers "why" without a second
//! command.

use std::fmt::Write as _;

use mxjob_api::mxjob::CONTAINER;
use mxjob_api::{Job, ReplicaSpec};
use serde_json::Value;

use super::Problem;
use super::observe::{Replica, ReplicaState};
use crate::event::{Event, EventKind};
use crate::scheduling::Waiting;
use crate::view::{Exit, PodView};

/// Maximum length in characters of a log line in a message: one or two lines of a terminal.
const MAX_LINE_CHARS: usize = 300;

/// Why a job has failed.
pub(super) enum Failure<'a> {
    /// Replicas failed finally; the first to fail is in front, and there is at least one.
    Replica(Vec<&'a Replica<'a>>),
    /// The restarts exceed the backoff limit.
    Backoff {
        limit: u32,
        /// Replicas that would have been replaced or restarted; none if their restarts in place
        /// were seen too late.
        culprits: Vec<&'a Replica<'a>>,
    },
    /// It was active for too long.
    Deadline { seconds: i64 },
}

impl<'a> Failure<'a> {
    pub(super) fn message(&self, job: &Job) -> String {
        let mut message = format!("MXJob {} is failed because ", job.name);
        match self {
            Self::Replica(replicas) => message.push_str(&ends(replicas)),
            Self::Backoff { limit, culprits } => {
                let _ = write!(message, "it has reached the backoff limit of {limit}");
                if culprits.is_empty() {
                    message.push_str(": its containers were restarted more often.");
                } else {
                    let _ = write!(message, " and {}", ends(culprits));
                }
            }
            Self::Deadline { seconds } => {
                let _ = write!(message, "it was active longer than its deadline of {seconds} s.");
            }
        }
        message
    }

    /// The replicas that caused the failure.
    pub(super) fn replicas(&self) -> &[&'a Replica<'a>] {
        match self {
            Self::Replica(replicas) | Self::Backoff { culprits: replicas, .. } => replicas,
            Self::Deadline { .. } => &[],
        }
    }
}

pub(super) fn created(job: &Job, problems: &[Problem]) -> String {
    let mut message = format!("MXJob {} is created.", job.name);
    // One is enough to act on; the events report all of them.
    if let Some(problem) = problems.iter().min() {
        let _ = write!(message, " {}", cannot_create(problem));
    }
    message
}

fn cannot_create(problem: &Problem) -> String {
    format!("The {} cannot be created: {}", problem.object, problem.message)
}

pub(super) fn waiting(job: &Job, waiting: &Waiting, problems: &[Problem]) -> String {
    let mut message = format!("MXJob {} is created. {}", job.name, waits(job, waiting));
    if let Some(problem) = problems.iter().min() {
        let _ = write!(message, " {}", cannot_create(problem));
    }
    message
}

/// Why a job does not start yet, as a sentence.
pub(super) fn waits(job: &Job, waiting: &Waiting) -> String {
    format!("MXJob {} {}.", job.name, waiting.message)
}

pub(super) fn running(job: &Job) -> String {
    format!("MXJob {} is running.", job.name)
}

pub(super) fn succeeded(job: &Job) -> String {
    format!("MXJob {} is successfully completed.", job.name)
}

pub(super) fn suspended(job: &Job) -> String {
    format!("MXJob {} is suspended.", job.name)
}

pub(super) fn resumed(job: &Job) -> String {
    format!("MXJob {} is resumed.", job.name)
}

pub(super) fn restarting(job: &Job, culprits: &[&Replica<'_>]) -> String {
    format!("MXJob {} is restarting because {}", job.name, ends(culprits))
}

/// The warning, for a new job, that its templates set a different restart policy than its roles.
/// The policy of the role is used.
pub(super) fn overwritten_policy(job: &Job) -> Option<Event> {
    let is_overwritten = |replica: &ReplicaSpec| {
        let policy = replica.template.pointer("/spec/restartPolicy").and_then(Value::as_str);
        policy.is_some_and(|policy| policy != replica.restart_policy.as_str())
    };
    job.replicas.iter().any(is_overwritten).then(|| Event {
        kind: EventKind::Warning,
        reason: "SetPodTemplateRestartPolicy".to_owned(),
        message:
            "Restart policy in pod template will be overwritten by restart policy in replica spec"
                .to_owned(),
    })
}

/// One event for each replica whose training container ended with an exit code.
pub(super) fn exits<'a>(
    job: &'a Job,
    replicas: &'a [&Replica<'_>],
) -> impl Iterator<Item = Event> + 'a {
    replicas.iter().filter_map(|replica| {
        let pod = replica.pod?;
        let exit = pod.training_exit()?;
        Some(Event {
            kind: EventKind::Warning,
            reason: "ExitedWithCode".to_owned(),
            message: format!("Pod: {}.{} exited with code {}", job.namespace, pod.name, exit.code),
        })
    })
}

/// How the first of some replicas ended, how many others did, and the last log line of the first
/// one.
fn ends(replicas: &[&Replica<'_>]) -> String {
    let Some(first) = replicas.first() else { return "a replica failed".to_owned() };
    let (mut text, log) = match first.pod {
        Some(pod) if matches!(first.state, ReplicaState::Failed(_)) || pod.crash.is_some() => {
            end(&first.short_name(), pod)
        }
        _ => (format!("{} was removed", first.short_name()), None),
    };
    match replicas.len() - 1 {
        0 => {}
        1 => text.push_str(", and 1 other replica too"),
        others => {
            let _ = write!(text, ", and {others} other replicas too");
        }
    }
    match log.and_then(last_line) {
        Some(line) => {
            let _ = write!(text, ": {line}");
        }
        None => text.push('.'),
    }
    text
}

/// How a failed pod ended, as a clause, and its last log lines.
fn end<'a>(name: &str, pod: &'a PodView) -> (String, Option<&'a str>) {
    if let (None, Some((container, exit))) = (&pod.exit, &pod.crash) {
        let name = match container.as_str() {
            CONTAINER => name.to_owned(),
            other => format!("container {other} of {name}"),
        };
        return (exited(&name, exit, pod.reason.as_deref()), exit.message.as_deref());
    }
    match (&pod.exit, &pod.other_exit) {
        (Some(exit), None) => (
            exited(name, exit, pod.reason.as_deref()),
            exit.message.as_deref().or(pod.message.as_deref()),
        ),
        (Some(exit), Some(_)) if exit.code != 0 => (
            exited(name, exit, pod.reason.as_deref()),
            exit.message.as_deref().or(pod.message.as_deref()),
        ),
        (_, Some((container, exit))) => (
            exited(&format!("container {container} of {name}"), exit, pod.reason.as_deref()),
            exit.message.as_deref(),
        ),
        (None, None) => {
            let reason = pod.reason.as_deref().unwrap_or("no exit code is known");
            (format!("{name} failed ({reason})"), pod.message.as_deref())
        }
    }
}

fn exited(name: &str, exit: &Exit, pod_reason: Option<&str>) -> String {
    let mut text = format!("{name} exited with exit code {}", exit.code);
    if let Some(signal) = exit.signal() {
        let _ = write!(text, ", signal {signal}");
    }
    match (exit.reason.as_deref(), pod_reason) {
        (Some(reason), Some(pod)) if reason != pod => {
            let _ = write!(text, " ({reason}, {pod})");
        }
        (Some(reason), _) | (None, Some(reason)) => {
            let _ = write!(text, " ({reason})");
        }
        (None, None) => {}
    }
    text
}

/// The last line that is not empty, without control characters.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let mut shown: String =
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LINE_CHARS).collect();
    if line.chars().nth(MAX_LINE_CHARS).is_some() {
        shown.push('…');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_one_line_of_bounded_length() {
        for (text, line) in [
            ("a\nb\n\n", Some("b")),
            ("  only \r\n", Some("only")),
            ("\n \n", None),
            ("a\tb\u{1b}[0m", Some("a b [0m")),
        ] {
            assert_eq!(last_line(text).as_deref(), line, "{text:?}");
        }
        assert_eq!(last_line(&"é".repeat(301)).map(|line| line.chars().count()), Some(301));
        assert_eq!(last_line(&"é".repeat(300)).map(|line| line.chars().count()), Some(300));
    }
}
