//! What the agent and the shims write down, and where.
//!
//! ```text
//! <state dir>/agent.lock                       held by the one agent of this directory
//!             addresses.json                   who has which loopback address
//!             pods/<uid>/pod.json              which pod this is, its address and cgroup
//!                       /hosts                 bind-mounted over /etc/hosts inside
//!                       /.volumes/<name>/       emptyDir, configMap and secret volumes
//!                       /<container>/<attempt>/spec.json   what to run        (agent)
//!                                              lock        held while the shim lives
//!                                              run.json    who runs it       (shim)
//!                                              stop        the grace period  (whoever stops it)
//!                                              exit.json   how it ended, written once
//!                                              log, shim.err
//! ```
//!
//! These files are the only truth about a process: memory is rebuilt from them, never the reverse. Only the
//! exit record is synced to disk, because it alone must outlive the machine; everything else describes
//! processes that a power failure ends with it.

mod attempt;
mod names;
mod record;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub(crate) use self::record::DEFAULT_UMASK;
pub use self::{
    attempt::AttemptDir,
    names::{DnsLabel, NameError, PodUid, RelativePath},
    record::{Bind, ExitReason, ExitRecord, PodRecord, RunRecord, Spec},
};

/// Name of the folder that holds the pods.
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

    /// All pods there are in a state directory.
    ///
    /// # Errors
    /// When the directory exists but cannot be read.
    pub fn all(state_dir: &Path) -> io::Result<Vec<Self>> {
        Ok(folders(&state_dir.join(PODS))?.into_iter().map(Self).collect())
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The hosts file of the pod. No container has a dot in its name, so none has this one.
    #[must_use]
    pub fn hosts(&self) -> PathBuf {
        self.0.join("etc.hosts")
    }

    /// What was written down about the pod, if its folder was completed.
    #[must_use]
    pub fn record(&self) -> Option<PodRecord> {
        read_json(&self.0.join("pod.json"))
    }

    /// Writes the pod's record.
    ///
    /// # Errors
    /// What the operating system says.
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

    /// The containers of which at least one attempt was written down, by name.
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

/// The folders inside a folder; none if it does not exist.
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

/// This boot of this kernel; processes recorded under another one are gone.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// Reads a file that may be missing or (after a crash) incomplete.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Replaces a file at once: readers see the old or the new content.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    mxjob_files::write(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

/// As [`write_json`], and the new content is on disk when this returns.
pub(crate) fn write_json_durably(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    mxjob_files::write_durably(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

/// Takes disk space for the next [`write_json_durably`] to this path, so that it succeeds on a full disk.
fn reserve(path: &Path) -> io::Result<()> {
    /// More than a record with the longest last line takes.
    const SPACE: u64 = 8 * 1024;
    mxjob_files::reserve(path, SPACE)
}
