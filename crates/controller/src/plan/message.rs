//! What people read: condition and event messages.
//!
//! The shapes are the contract's. A failure names the first failed replica, its exit code, signal and reason, and its last log line, so that
//! `kubectl describe` answers "why" without a second command.

use super::observe::{Replica, State};
use super::{Event, EventKind, Problem};
use crate::admission::Waiting;
use crate::view::{Exit, PodView};
use mxjob_api::{Job, ReplicaSpec};
use serde_json::Value;
use std::fmt::Write as _;

/// Longest log line in a message: what fits a terminal or two.
const LINE_MAX: usize = 300;

/// Why a job has failed.
pub(super) enum Failure<'a> {
    /// A replica failed for good; the first to fail is in front, and there is at least one.
    Replica(Vec<&'a Replica<'a>>),
    /// One restart too many.
    Backoff {
        /// How many were allowed.
        limit: u32,
        /// Replicas that would have been replaced; none if containers were restarted in place.
        culprits: Vec<&'a Replica<'a>>,
    },
    /// It was active for too long.
    Deadline {
        /// How long it might have been.
        seconds: i64,
    },
}

impl<'a> Failure<'a> {
    /// The condition's message.
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

    /// The replicas whose failure it is.
    pub(super) fn replicas(&self) -> &[&'a Replica<'a>] {
        match self {
            Self::Replica(replicas) | Self::Backoff { culprits: replicas, .. } => replicas,
            Self::Deadline { .. } => &[],
        }
    }
}

pub(super) fn created(job: &Job, problems: &[Problem]) -> String {
    let mut message = format!("MXJob {} is created.", job.name);
    // One is enough to act on; the events have them all.
    if let Some(problem) = problems.iter().min() {
        let _ = write!(message, " {}", cannot(problem));
    }
    message
}

fn cannot(problem: &Problem) -> String {
    format!("The {} cannot be made: {}", problem.object, problem.message)
}

pub(super) fn waiting(job: &Job, waiting: &Waiting, problems: &[Problem]) -> String {
    let mut message = format!("MXJob {} is created. {}", job.name, waits(job, waiting));
    if let Some(problem) = problems.iter().min() {
        let _ = write!(message, " {}", cannot(problem));
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

/// The warning, for a new job, that its templates ask for another restart policy than its roles. Only the latter is obeyed.
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

/// One event for each replica whose training container ended with a code.
pub(super) fn exits<'a>(
    job: &'a Job,
    replicas: &'a [&Replica<'_>],
) -> impl Iterator<Item = Event> + 'a {
    replicas.iter().filter_map(|replica| {
        let pod = replica.pod?;
        let exit = pod.exit.as_ref()?;
        Some(Event {
            kind: EventKind::Warning,
            reason: "ExitedWithCode".to_owned(),
            message: format!("Pod: {}.{} exited with code {}", job.namespace, pod.name, exit.code),
        })
    })
}

/// How the first of some replicas ended, how many others did, and the first one's last words.
fn ends(replicas: &[&Replica<'_>]) -> String {
    let Some(first) = replicas.first() else { return "a replica failed".to_owned() };
    let (mut text, words) = match first.pod {
        Some(pod) if matches!(first.state, State::Failed(_)) => end(&first.short_name(), pod),
        _ => (format!("{} was removed", first.short_name()), None),
    };
    match replicas.len() - 1 {
        0 => {}
        1 => text.push_str(", and 1 other replica too"),
        others => {
            let _ = write!(text, ", and {others} other replicas too");
        }
    }
    match words.and_then(last_line) {
        Some(line) => {
            let _ = write!(text, ": {line}");
        }
        None => text.push('.'),
    }
    text
}

/// How a failed pod ended, as a clause, and what it said last.
fn end<'a>(name: &str, pod: &'a PodView) -> (String, Option<&'a str>) {
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

/// The last line that says something, fit for one line of a terminal.
fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let mut shown: String =
        line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LINE_MAX).collect();
    if line.chars().nth(LINE_MAX).is_some() {
        shown.push('…');
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_one_line_of_bounded_length() {
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
