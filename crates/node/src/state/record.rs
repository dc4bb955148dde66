//! The contents of the state files.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DnsLabel, LogLimits, PodUid, RelativePath, Security};
use crate::cgroup::{Groups, ResourceLimits};

/// The pod of a folder (`pod.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRecord {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Uid of the pod.
    pub uid: PodUid,
    /// Its loopback address.
    pub address: std::net::Ipv4Addr,
    /// Whether the pod uses the machine's network as it is (`hostNetwork`): its wildcard binds are
    /// not changed and can be reached from outside. It has its own loopback address as well.
    #[serde(default)]
    pub host_network: bool,
    /// Its cgroup, where cgroups are available. Those of its containers are below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// The cgroups that limit it. Those of its containers are below them.
    #[serde(default)]
    pub groups: Groups,
    /// What all its containers together may use.
    #[serde(default)]
    pub limits: ResourceLimits,
}

impl PodRecord {
    /// The cgroups of an attempt: that of its processes, and those that limit them.
    pub(crate) fn cgroups_of(
        &self,
        container: &DnsLabel,
        attempt: u32,
    ) -> (Option<PathBuf>, Groups) {
        let name = format!("{container}.{attempt}");
        (self.cgroup.as_ref().map(|pod| pod.join(&name)), self.groups.child(&name))
    }
}

/// The program of an attempt (`spec.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Name of the pod.
    pub pod: String,
    /// The host name inside, if it is not the pod's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// User to run as; `None` for the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Group to run as; `None` for the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// The file to mount over `/etc/hosts`; `None` where mounts are not permitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<PathBuf>,
    /// Folders and files to mount. Those with shorter paths are mounted first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<Bind>,
    /// Whether the mounts need a user namespace, because the node has no right to mount.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub user_namespace: bool,
    /// The address to which the shim binds what the program binds to all addresses; `None` if a
    /// network program does so, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intercept: Option<std::net::Ipv4Addr>,
    /// What the program may do.
    #[serde(default)]
    pub security: Security,
    /// The attempt's own cgroup, which exists; `None` where cgroups are not available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// The attempt's own cgroups that limit it, which exist.
    #[serde(default)]
    pub groups: Groups,
    /// Default seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
    /// The umask of the program.
    #[serde(default = "default_umask")]
    pub umask: u32,
    /// The limits of its log.
    #[serde(default)]
    pub log: LogLimits,
    /// The boot in which the attempt was created.
    pub boot_id: String,
}

/// The default of container runtimes, and of records without the field.
pub(crate) const DEFAULT_UMASK: u32 = 0o022;

const fn default_umask() -> u32 {
    DEFAULT_UMASK
}

/// One bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bind {
    /// The folder or file to mount.
    pub source: PathBuf,
    /// The part of it to mount, if not the whole. The shim resolves it when it mounts, because a
    /// container can change the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<RelativePath>,
    /// The mount point.
    pub target: PathBuf,
    /// Whether the mount is read-only.
    pub read_only: bool,
}

/// The processes of an attempt (`run.json`). First written before the program starts: an attempt
/// with this file is never started a second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// Process id of the shim.
    pub shim: i32,
    /// When the shim was started, in clock ticks since boot. With the process id it identifies one
    /// process.
    pub shim_start: u64,
    /// Process id of the program, once it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When the program was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
}

/// How an attempt ended (`exit.json`). Written once and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// Exit code, if the program exited or could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// The reason for pod status.
    pub reason: ExitReason,
    /// The last line that the program printed, or the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the program was started, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the end was noticed.
    pub finished_at: Timestamp,
    /// Number of log records that were dropped on a full disk.
    #[serde(default)]
    pub dropped_log_lines: u64,
    /// Processes of the container that did not end in time after SIGKILL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkillable: Vec<i32>,
    /// What its processes used; `None` if the program never ran or its shim was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<UsedRecord>,
}

/// What the processes of an attempt used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedRecord {
    /// CPU time in milliseconds, of all processes together.
    pub cpu_millis: u64,
    /// The largest resident memory of one process in bytes.
    pub peak_memory: u64,
}

/// Why an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// Exit code 0.
    Completed,
    /// Another exit code, or a signal.
    Error,
    /// Killed by the kernel at the memory limit.
    OOMKilled,
    /// The program could not be started.
    StartError,
    /// The pod has invalid names.
    InvalidPodSpec,
    /// The container has no command, and images are not used.
    ImageNotUsed,
    /// The shim was lost, and the exit code with it. The program has ended in an unknown way.
    ShimLost,
}

impl ExitReason {
    /// The word used in pod status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::OOMKilled => "OOMKilled",
            Self::StartError => "StartError",
            Self::InvalidPodSpec => "InvalidPodSpec",
            Self::ImageNotUsed => "ImageNotUsed",
            Self::ShimLost => "ShimLost",
        }
    }
}

impl ExitRecord {
    /// The end of an attempt whose program never ran.
    #[must_use]
    pub const fn not_started(
        code: i32,
        reason: ExitReason,
        message: String,
        now: Timestamp,
    ) -> Self {
        Self {
            code: Some(code),
            signal: None,
            reason,
            message: Some(message),
            started_at: None,
            finished_at: now,
            dropped_log_lines: 0,
            unkillable: Vec::new(),
            used: None,
        }
    }

    /// The end of an attempt whose shim ended without recording it.
    #[must_use]
    pub fn lost(started_at: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            code: None,
            signal: None,
            reason: ExitReason::ShimLost,
            message: Some(
                "the shim of the container ended unexpectedly, so its exit code is not known"
                    .to_owned(),
            ),
            started_at,
            finished_at: now,
            dropped_log_lines: 0,
            unkillable: Vec::new(),
            used: None,
        }
    }

    /// Whether the program exited with code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The exit code for pod status: 128 plus the signal for a killed program, `None` if unknown.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.code.or_else(|| self.signal.map(|signal| 128 + signal))
    }
}
