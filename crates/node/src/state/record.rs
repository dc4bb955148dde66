//! The contents of the state files.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PodUid, RelativePath};

/// Which pod a folder belongs to (`pod.json`).
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
    /// Whether it wants the machine's network as it is (`hostNetwork`): its wildcard binds are then left alone and
    /// can be reached from outside. Its own address works nevertheless.
    #[serde(default)]
    pub host_network: bool,
    /// Its cgroup, when there is one; the containers' are below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
}

/// What a shim has to run (`spec.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Name of the pod, which is also the host name inside.
    pub pod: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// User to run as; `None` keeps the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Group to run as; `None` keeps the agent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// The hosts file to see as `/etc/hosts`; `None` where mounts are not permitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<PathBuf>,
    /// Folders and files to mount, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub binds: Vec<Bind>,
    /// The attempt's own cgroup, already made; `None` where cgroups are not available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// Seconds between SIGTERM and SIGKILL when nobody says otherwise.
    pub grace_seconds: u64,
    /// The umask of the program.
    #[serde(default = "default_umask")]
    pub umask: u32,
    /// The boot the attempt belongs to.
    pub boot_id: String,
}

/// What container runtimes give, and releases gave that did not write it down.
pub(crate) const DEFAULT_UMASK: u32 = 0o022;

const fn default_umask() -> u32 {
    DEFAULT_UMASK
}

/// One bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bind {
    /// What to mount.
    pub source: PathBuf,
    /// What to mount of it, if not the whole. It is looked up when it is mounted, because a container may change what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<RelativePath>,
    /// Where to.
    pub target: PathBuf,
    /// Whether it may not be written.
    pub read_only: bool,
}

/// Who runs an attempt (`run.json`): first written before the program is started, so that an attempt
/// with this file is never started a second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// Process id of the shim.
    pub shim: i32,
    /// When the shim was started, in clock ticks since boot: with the process id it names one process.
    pub shim_start: u64,
    /// Process id of the program, once it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// When the program was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
}

/// How an attempt ended (`exit.json`). Never changed once written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// Exit code, if the program ended by itself or could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why, in one word.
    pub reason: ExitReason,
    /// The last line the program printed, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the program was started, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When the end was seen.
    pub finished_at: Timestamp,
    /// Log records that a full disk took.
    #[serde(default)]
    pub dropped_log_lines: u64,
    /// Processes of the container that even SIGKILL did not end in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unkillable: Vec<i32>,
}

/// Why an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// Exit code 0.
    Completed,
    /// Another exit code, or a signal.
    Error,
    /// Ended by the kernel because its memory limit was reached.
    OOMKilled,
    /// The program could not be started.
    StartError,
    /// The pod has names that cannot be names of folders.
    InvalidPodSpec,
    /// There was nothing to start: the container relies on its image.
    ImageNotUsed,
    /// Its shim was lost, and the exit code with it. Nothing is known about the program but that it is gone.
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
        }
    }

    /// The end of an attempt whose shim is gone without a word.
    #[must_use]
    pub fn lost(started_at: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            code: None,
            signal: None,
            reason: ExitReason::ShimLost,
            message: Some(
                "the process that watched the container is gone; its exit code is not known"
                    .to_owned(),
            ),
            started_at,
            finished_at: now,
            dropped_log_lines: 0,
            unkillable: Vec::new(),
        }
    }

    /// True if the program ended by itself with code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The code as pod status has it: 128 and the signal for a killed program, `None` if nothing is known.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        self.code.or_else(|| self.signal.map(|signal| 128 + signal))
    }
}
