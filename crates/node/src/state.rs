//! The files of the agent and the shims.
//!
//! ```text
//! <state dir>/agent.lock                       held by the one agent of this directory
//!             addresses.json                   the loopback addresses of pods
//!             pods/<uid>/pod.json              identity, address and cgroup of the pod
//!                       /devices.json            the devices of its containers
//!                       /etc.hosts             bind-mounted over /etc/hosts
//!                       /.volumes/<name>/       emptyDir, configMap and downwardAPI volumes
//!                       /<container>/<attempt>/spec.json   what to run        (agent)
//!                                              lock        held while the shim runs
//!                                              run.json    process ids       (shim)
//!                                              stop        the grace period  (agent, `mxjob down`)
//!                                              post-start  once that hook is done  (agent)
//!                                              pre-stop    when that hook ends     (agent)
//!                                              exit.json   how it ended      (shim), written once
//!                                              log         the newest part of the log
//!                                              log.<number>  earlier parts, the oldest lowest
//!                                              shim.err
//! ```
//!
//! These files are the only source of truth about processes: memory is rebuilt from them, never the
//! reverse. Only the exit record is synced to disk, because only it must survive a power failure;
//! the other files describe processes that a power failure ends.

mod attempt;
mod log_limits;
mod names;
mod record;
mod security;

use std::{
    fs,
    hash::{Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
};

pub(crate) use self::record::DEFAULT_UMASK;
pub use self::{
    attempt::AttemptDir,
    log_limits::LogLimits,
    names::{DnsLabel, NameError, PodUid, RelativePath},
    record::{Bind, ExitReason, ExitRecord, PodRecord, RunRecord, Spec, UsedRecord},
    security::Security,
};
pub use crate::cgroup::{Groups, ResourceLimits};

/// The file that an agent holds locked.
pub(crate) const AGENT_LOCK: &str = "agent.lock";
/// The folder that holds the pods.
const PODS: &str = "pods";

/// The folder of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDir(PathBuf);

impl PodDir {
    /// The folder of the pod with this uid.
    #[must_use]
    pub fn new(state_dir: &Path, uid: &PodUid) -> Self {
        Self(state_dir.join(PODS).join(uid.as_str()))
    }

    /// All pods of a state directory.
    ///
    /// # Errors
    /// When the directory exists but cannot be read.
    pub fn all(state_dir: &Path) -> io::Result<Vec<Self>> {
        Ok(folders(&state_dir.join(PODS))?.into_iter().map(Self).collect())
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The hosts file of the pod. The dot distinguishes it from the folders of containers.
    #[must_use]
    pub fn hosts(&self) -> PathBuf {
        self.0.join("etc.hosts")
    }

    /// The devices of its containers.
    #[must_use]
    pub(crate) fn devices(&self) -> PathBuf {
        self.0.join("devices.json")
    }

    /// The record of the pod, which is written last when its folder is created.
    #[must_use]
    pub fn record(&self) -> Option<PodRecord> {
        read_json(&self.0.join("pod.json"))
    }

    /// Writes the pod's record.
    ///
    /// # Errors
    /// The system's error.
    pub fn write_record(&self, record: &PodRecord) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        write_json(&self.0.join("pod.json"), record)
    }

    /// The folder of one attempt to run a container.
    #[must_use]
    pub fn attempt(&self, container: &DnsLabel, attempt: u32) -> AttemptDir {
        AttemptDir::new(self.0.join(container.as_str()).join(attempt.to_string()))
    }

    /// The attempts of one container, oldest first.
    #[must_use]
    pub fn attempts(&self, container: &DnsLabel) -> Vec<(u32, AttemptDir)> {
        let mut found: Vec<_> = folders(&self.0.join(container.as_str()))
            .unwrap_or_default()
            .into_iter()
            .filter_map(|path| {
                Some((path.file_name()?.to_str()?.parse().ok()?, AttemptDir::new(path)))
            })
            .collect();
        found.sort_by_key(|(number, _)| *number);
        found
    }

    /// The containers with at least one attempt, by name.
    #[must_use]
    pub fn containers(&self) -> Vec<DnsLabel> {
        let mut found: Vec<DnsLabel> = folders(&self.0)
            .unwrap_or_default()
            .iter()
            .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
            .filter(|container| !self.attempts(container).is_empty())
            .collect();
        found.sort();
        found
    }

    /// Every attempt of every container that has a spec.
    #[must_use]
    pub fn every_attempt(&self) -> Vec<AttemptDir> {
        let mut found: Vec<_> = self
            .containers()
            .iter()
            .flat_map(|container| self.attempts(container))
            .map(|(_, dir)| dir)
            .filter(AttemptDir::has_spec)
            .collect();
        found.sort_by(|a, b| a.path().cmp(b.path()));
        found
    }
}

/// The folders in a folder; none if it does not exist.
fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// A hash of a path that is the same in every release.
pub(crate) fn dir_hash(path: &Path) -> u32 {
    // FNV-1a: `DefaultHasher` may change between releases, and a running process can outlive a
    // release.
    struct Fnv(u64);
    impl std::hash::Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for &byte in bytes {
                self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    path.as_os_str().hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The id of this boot. Processes that were recorded in another boot have ended.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Reads a file. `None` if it is missing or, after a crash, incomplete.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces a file atomically.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    mxjob_files::write(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

/// Like [`write_json`], and the new content is on disk when this returns.
pub(crate) fn write_json_durably(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    mxjob_files::write_durably(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

/// Reserves disk space for the next [`write_json_durably`] to this path.
fn reserve(path: &Path) -> io::Result<()> {
    /// More bytes than a record with the longest last line.
    const SPACE: u64 = 8 * 1024;
    mxjob_files::reserve(path, SPACE)
}
