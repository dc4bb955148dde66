//! The facts about a pod or a service that decide, read from the object's JSON.
//!
//! The caches keep nothing but views, so a job of a thousand replicas costs kilobytes, not
//! megabytes. Reading never fails: a field that is missing or has an unexpected type counts as
//! absent, because any node may have written a pod, and one odd object must not stop the other
//! jobs.

use jiff::{SignedDuration, Timestamp};
use mxjob_api::mxjob::CONTAINER;
use serde_json::{Map, Value};

use crate::pod_group::member::{Kind, is_marked};

/// Pod annotation with the number of the attempt that the pod belongs to; absent on pods of the
/// first attempt.
///
/// It distinguishes pods that a restart of the whole job has still to delete from those that the
/// restart created.
pub const ATTEMPT_ANNOTATION: &str = mxjob_api::labels::ATTEMPT_ANNOTATION;

/// The `activeDeadlineSeconds` that stops a pod without deleting it: its node ends the containers,
/// marks the pod as failed and keeps the logs.
pub(crate) const STOP_DEADLINE_SECONDS: i64 = 1;

/// How long before the deletion request a process must have ended for its end to count as its own.
///
/// Two clocks are compared: the node reports when the process ended, the API server when the
/// deletion was requested. Kubernetes expects the clocks of a cluster to agree within a second or
/// two, and both times are cut to whole seconds. Too large a value costs at most a second run of a
/// replica that had just succeeded; too small a value would treat a process that ended because of
/// the deletion as one that had succeeded.
const DELETION_MARGIN: SignedDuration = SignedDuration::from_secs(5);

/// The pod phases of Kubernetes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have been started yet.
    #[default]
    Pending,
    /// At least one container runs or is about to be restarted.
    Running,
    /// All containers ended with 0.
    Succeeded,
    /// All containers ended, at least one of them with an error.
    Failed,
    /// The node is unreachable.
    Unknown,
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + n for a process ended by signal n.
    pub code: i32,
    /// The signal, if the node reports it.
    pub signal: Option<i32>,
    /// `Error`, `OOMKilled`, `Completed`, …
    pub reason: Option<String>,
    /// What the node reports of the end: for a failure the last lines of the log.
    pub message: Option<String>,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// One pod of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// `metadata.name`: it identifies the replica.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether the pod is being deleted.
    pub terminating: bool,
    /// When its deletion was requested: its node told its processes to end then, not at
    /// `deletionTimestamp`.
    pub deletion_requested_at: Option<Timestamp>,
    /// The attempt that it was created for ([`ATTEMPT_ANNOTATION`]).
    pub attempt: u32,
    /// Whether it is marked as a member of its job's group for Volcano.
    pub(crate) is_marked_for_volcano: bool,
    /// Whether it is marked as a member of its job's group for scheduler-plugins.
    pub(crate) is_marked_for_plugins: bool,
    /// How the training container ended, if it did. Its exit code is the one that counts.
    pub exit: Option<Exit>,
    /// Another container that ended with an error: used only to explain a failure.
    pub other_exit: Option<(String, Exit)>,
    /// A container that ended with an error and that its node is about to restart in place.
    pub crash: Option<(String, Exit)>,
    /// Whether it was told to end and to stay, with its logs ([`STOP_DEADLINE_SECONDS`]).
    pub stopping: bool,
    /// Restarts of its containers in place, init containers included.
    pub restarts: u32,
    /// `status.startTime`.
    pub started_at: Option<Timestamp>,
    /// `status.reason`: what the node reports of the pod as a whole (`Evicted`, `NodeLost`, …).
    pub reason: Option<String>,
    /// `status.message`, beside the reason.
    pub message: Option<String>,
}

/// One service of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// `metadata.name`: the same as its pod's.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Whether the service is being deleted.
    pub terminating: bool,
}

// === impl Phase ===

impl Phase {
    fn parse(text: &str) -> Self {
        match text {
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Unknown" => Self::Unknown,
            // A pod without a phase has just been created.
            _ => Self::Pending,
        }
    }
}

// === impl Exit ===

impl Exit {
    fn read(terminated: &Value) -> Option<Self> {
        let code = terminated.get("exitCode")?.as_i64()?;
        Some(Self {
            code: i32::try_from(code).unwrap_or(i32::MAX),
            // A Go client writes "none" as zero.
            signal: terminated
                .get("signal")
                .and_then(Value::as_i64)
                .and_then(|n| i32::try_from(n).ok())
                .filter(|n| *n != 0),
            reason: text(terminated, "reason"),
            message: text(terminated, "message"),
            started_at: time(terminated, "startedAt"),
            finished_at: time(terminated, "finishedAt"),
        })
    }

    /// The signal that ended the process: as reported, or as the exit code implies.
    pub fn signal(&self) -> Option<i32> {
        // 64 is SIGRTMAX: larger codes are a program's own.
        self.signal.or_else(|| (129..=128 + 64).contains(&self.code).then(|| self.code - 128))
    }
}

// === impl PodView ===

impl PodView {
    /// Reads a pod; `None` if it has no name or no uid, so is not a stored object.
    pub fn read(pod: &Value) -> Option<Self> {
        let metadata = pod.get("metadata")?;
        let status = pod.get("status").unwrap_or(&Value::Null);
        let phase =
            status.get("phase").and_then(Value::as_str).map(Phase::parse).unwrap_or_default();
        let containers = || container_statuses(status, "containerStatuses");
        let init = || container_statuses(status, "initContainerStatuses");
        let training = containers()
            .find(|(name, _)| *name == CONTAINER)
            .and_then(|(_, status)| ended(status, phase));
        let other = init()
            .chain(containers())
            .filter(|(name, _)| *name != CONTAINER)
            .filter_map(|(name, status)| Some((name.to_owned(), ended(status, phase)?)))
            .filter(|(_, exit)| exit.code != 0)
            .min_by_key(|(_, exit)| exit.finished_at);
        Some(Self {
            name: text(metadata, "name")?,
            uid: text(metadata, "uid")?,
            phase,
            terminating: is_terminating(metadata),
            deletion_requested_at: deletion_requested_at(metadata),
            attempt: attempt(metadata),
            is_marked_for_volcano: is_marked(Kind::Volcano, metadata),
            is_marked_for_plugins: is_marked(Kind::SchedulerPlugins, metadata),
            exit: training,
            other_exit: other,
            crash: crash(init().chain(containers())),
            stopping: pod.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64)
                == Some(STOP_DEADLINE_SECONDS),
            restarts: init()
                .chain(containers())
                .map(|(_, status)| restart_count(status))
                .fold(0, u32::saturating_add),
            started_at: time(status, "startTime"),
            reason: text(status, "reason"),
            message: text(status, "message"),
        })
    }

    /// Whether it succeeded: all its containers ended with 0, and not because of its deletion. A
    /// process may end with 0 on a signal without having done its work. An end at about the time of
    /// the deletion request counts as caused by it.
    pub fn has_succeeded(&self) -> bool {
        let ended_before = || {
            let ends = self.finished_at().zip(self.deletion_requested_at);
            ends.is_some_and(|(end, requested)| requested.duration_since(end) >= DELETION_MARGIN)
        };
        self.phase == Phase::Succeeded && (!self.terminating || ended_before())
    }

    /// How the training container ended, or ended before it is started again.
    pub(crate) fn training_exit(&self) -> Option<&Exit> {
        let crash = self.crash.as_ref().filter(|(name, _)| name == CONTAINER);
        self.exit.as_ref().or_else(|| crash.map(|(_, exit)| exit))
    }

    /// When the pod ended, as far as its containers show.
    pub fn finished_at(&self) -> Option<Timestamp> {
        let other = self.other_exit.as_ref().and_then(|(_, exit)| exit.finished_at);
        self.exit.as_ref().and_then(|exit| exit.finished_at).or(other)
    }
}

// === impl ServiceView ===

impl ServiceView {
    /// Reads a service; `None` if it has no name or no uid, so is not a stored object.
    pub fn read(service: &Value) -> Option<Self> {
        let metadata = service.get("metadata")?;
        Some(Self {
            name: text(metadata, "name")?,
            uid: text(metadata, "uid")?,
            terminating: is_terminating(metadata),
        })
    }
}

fn container_statuses<'a>(
    status: &'a Value,
    list: &str,
) -> impl Iterator<Item = (&'a str, &'a Map<String, Value>)> + use<'a> {
    let statuses =
        status.get(list).and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    statuses.iter().filter_map(|status| {
        let status = status.as_object()?;
        Some((status.get("name")?.as_str()?, status))
    })
}

/// The end of a container. The last state counts only in a failed pod: otherwise the container runs
/// again.
fn ended(container: &Map<String, Value>, phase: Phase) -> Option<Exit> {
    let terminated = |state: &str| container.get(state)?.get("terminated").and_then(Exit::read);
    terminated("state")
        .or_else(|| if phase == Phase::Failed { terminated("lastState") } else { None })
}

/// The first container that waits to be started again after an error.
fn crash<'a>(
    mut containers: impl Iterator<Item = (&'a str, &'a Map<String, Value>)>,
) -> Option<(String, Exit)> {
    containers.find_map(|(name, status)| {
        status.get("state")?.get("waiting")?;
        let exit = Exit::read(status.get("lastState")?.get("terminated")?)?;
        (exit.code != 0).then(|| (name.to_owned(), exit))
    })
}

fn restart_count(container: &Map<String, Value>) -> u32 {
    container
        .get("restartCount")
        .and_then(Value::as_u64)
        .map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

fn is_terminating(metadata: &Value) -> bool {
    metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null())
}

/// `deletionTimestamp` is the time by which the pod must be gone.
fn deletion_requested_at(metadata: &Value) -> Option<Timestamp> {
    let grace = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
    let deadline = time(metadata, "deletionTimestamp")?;
    deadline.checked_sub(SignedDuration::from_secs(grace.max(0))).ok()
}

fn attempt(metadata: &Value) -> u32 {
    let annotation =
        metadata.get("annotations").and_then(|annotations| annotations.get(ATTEMPT_ANNOTATION));
    annotation.and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn text(object: &Value, field: &str) -> Option<String> {
    object.get(field).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time(object: &Value, field: &str) -> Option<Timestamp> {
    object.get(field).and_then(Value::as_str).and_then(|text| text.parse().ok())
}

#[cfg(test)]
mod tests;
