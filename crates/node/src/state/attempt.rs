//! The folder of one attempt to run one container.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};

use super::{ExitRecord, RunRecord, Spec, read_json, reserve, write_json, write_json_durably};

/// The folder of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptDir(PathBuf);

impl AttemptDir {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The log file that is written.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// An earlier file of the log. The files are numbered from 1 in the order in which they were
    /// written.
    #[must_use]
    pub fn rotated_log(&self, number: u64) -> PathBuf {
        self.0.join(format!("log.{number}"))
    }

    /// The numbers of the earlier files of the log, oldest first.
    ///
    /// # Errors
    /// When the folder exists but cannot be read.
    pub fn rotated_logs(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("log."));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The standard error of the shim itself.
    #[must_use]
    pub fn shim_errors(&self) -> PathBuf {
        self.0.join("shim.err")
    }

    /// Whether the attempt has a spec.
    #[must_use]
    pub fn has_spec(&self) -> bool {
        self.0.join("spec.json").exists()
    }

    /// The program to run.
    #[must_use]
    pub fn spec(&self) -> Option<Spec> {
        read_json(&self.0.join("spec.json"))
    }

    /// Writes the spec, and creates the folder.
    ///
    /// # Errors
    /// The system's error.
    pub fn write_spec(&self, spec: &Spec) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        write_json(&self.0.join("spec.json"), spec)
    }

    /// The process ids, once a shim has taken the attempt.
    #[must_use]
    pub fn run(&self) -> Option<RunRecord> {
        read_json(&self.0.join("run.json"))
    }

    pub(crate) fn write_run(&self, run: &RunRecord) -> io::Result<()> {
        write_json(&self.0.join("run.json"), run)
    }

    /// How the attempt ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<ExitRecord> {
        read_json(&self.0.join("exit.json"))
    }

    /// Records how the attempt ended, unless that is already recorded. Returns the record that is
    /// kept.
    ///
    /// # Errors
    /// The system's error.
    pub fn write_exit(&self, exit: &ExitRecord) -> io::Result<ExitRecord> {
        if let Some(known) = self.exit() {
            return Ok(known);
        }
        fs::create_dir_all(&self.0)?;
        write_json_durably(&self.0.join("exit.json"), exit)?;
        Ok(exit.clone())
    }

    /// Reserves the disk space for [`Self::write_exit`].
    pub(crate) fn reserve_exit(&self) -> io::Result<()> {
        reserve(&self.0.join("exit.json"))
    }

    /// The requested grace period in seconds, if a stop was requested.
    #[must_use]
    pub fn stop_request(&self) -> Option<u64> {
        read_json(&self.0.join("stop"))
    }

    pub(crate) fn write_stop(&self, grace_seconds: u64) -> io::Result<()> {
        write_json(&self.0.join("stop"), &grace_seconds)
    }

    /// Whether the hook after the start is done.
    #[must_use]
    pub fn post_started(&self) -> bool {
        self.0.join("post-start").exists()
    }

    pub(crate) fn mark_post_started(&self) -> io::Result<()> {
        write_json(&self.0.join("post-start"), &true)
    }

    /// The end of the grace period of a hook before the end, if one was begun.
    #[must_use]
    pub fn pre_stop(&self) -> Option<Timestamp> {
        read_json(&self.0.join("pre-stop"))
    }

    pub(crate) fn write_pre_stop(&self, until: Timestamp) -> io::Result<()> {
        write_json(&self.0.join("pre-stop"), &until)
    }

    /// Takes the lock that a living shim holds, until the result is dropped.
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

    /// Whether a shim runs. Decided by the lock, never by a process id.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        // A shared lock: two concurrent checks must not see each other.
        match self.open_lock(false) {
            Ok(file) => flock(&file, FlockOperation::NonBlockingLockShared).is_err(),
            // If the lock cannot be checked (for example without free descriptors), assume that the
            // shim runs.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn open_lock(&self, create: bool) -> io::Result<File> {
        mxjob_files::open(&self.0.join("lock"), create)
    }
}
