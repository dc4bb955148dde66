//! The folder of one attempt to run one container.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{ExitRecord, RunRecord, Spec, read_json, reserve, write_json, write_json_durably};

/// A folder that holds everything about one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir(PathBuf);

impl AttemptDir {
    /// The attempt in this folder.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The log file.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Whatever the shim itself has to complain about.
    #[must_use]
    pub fn shim_errors(&self) -> PathBuf {
        self.0.join("shim.err")
    }

    /// Whether the attempt was written down completely.
    #[must_use]
    pub fn has_spec(&self) -> bool {
        self.0.join("spec.json").exists()
    }

    /// What to run.
    #[must_use]
    pub fn spec(&self) -> Option<Spec> {
        read_json(&self.0.join("spec.json"))
    }

    /// Writes down what to run, making the folder.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write_spec(&self, spec: &Spec) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        write_json(&self.0.join("spec.json"), spec)
    }

    /// Who runs it, once a shim has taken it.
    #[must_use]
    pub fn run(&self) -> Option<RunRecord> {
        read_json(&self.0.join("run.json"))
    }

    pub(crate) fn write_run(&self, run: &RunRecord) -> io::Result<()> {
        write_json(&self.0.join("run.json"), run)
    }

    /// How it ended.
    #[must_use]
    pub fn exit(&self) -> Option<ExitRecord> {
        read_json(&self.0.join("exit.json"))
    }

    /// Writes down how it ended, unless that is known already: the first record stays.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write_exit(&self, exit: &ExitRecord) -> io::Result<ExitRecord> {
        if let Some(known) = self.exit() {
            return Ok(known);
        }
        fs::create_dir_all(&self.0)?;
        write_json_durably(&self.0.join("exit.json"), exit)?;
        Ok(exit.clone())
    }

    /// Takes the disk space that [`Self::write_exit`] will need.
    pub(crate) fn reserve_exit(&self) -> io::Result<()> {
        reserve(&self.0.join("exit.json"))
    }

    /// The grace period somebody asked for, in seconds.
    #[must_use]
    pub fn stop_request(&self) -> Option<u64> {
        read_json(&self.0.join("stop"))
    }

    pub(crate) fn write_stop(&self, grace_seconds: u64) -> io::Result<()> {
        write_json(&self.0.join("stop"), &grace_seconds)
    }

    /// Takes the lock that says "a shim lives here" and keeps it as long as the result lives.
    pub(crate) fn lock(&self, wait: bool) -> io::Result<File> {
        let file = self.open_lock(true)?;
        let operation = if wait {
            FlockOperation::LockExclusive
        } else {
            FlockOperation::NonBlockingLockExclusive
        };
        flock(&file, operation)?;
        Ok(file)
    }

    /// Whether a shim lives. The lock decides, never a process id.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        // A shared lock, so that two who look at the same time do not see each other.
        match self.open_lock(false) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
            // Where it cannot be told (out of descriptors, say), the shim is taken to live.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn open_lock(&self, create: bool) -> io::Result<File> {
        mxjob_files::open(&self.0.join("lock"), create)
    }
}
