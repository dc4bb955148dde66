//! One server per data directory, and how others find it.
//!
//! A record lock and not `flock`: the kernel says which process holds it, so that `down` signals
//! exactly that one, even if process ids were reused. The kernel releases it when the process ends,
//! however that happens.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;
use rustix::process::{
    Flock, FlockType, Pid, PidfdFlags, Signal, fcntl_getlk, pidfd_open, pidfd_send_signal,
};

/// Held while the server of the directory, or `down`, is running.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Closing any descriptor of this file ends a record lock, so nobody else in this process may
    /// open it.
    _file: File,
}

/// Why the lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another process has it.
    #[error(
        "the data directory {} is in use by {}: stop it with `mxjob down --data-dir {0}`, or choose another directory",
        dir.display(), holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held { dir: PathBuf, holder: Option<i32> },
    /// The file cannot be used.
    #[error("cannot lock {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The process that serves a data directory.
#[derive(Debug)]
pub(crate) struct Holder {
    pid: Pid,
    process: OwnedFd,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock; the error names its holder.
    pub(crate) fn take(dir: &Path, path: &Path) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Io { path: path.to_owned(), source };
        let file = mxjob_files::open(path, true).map_err(failed)?;
        match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::ACCESS | Errno::AGAIN) => {
                let holder = holder_pid(&file).map(|pid| pid.as_raw_nonzero().get());
                return Err(Error::Held { dir: dir.to_owned(), holder });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // For users who read the file; only the lock itself counts.
        let mut writer = &file;
        file.set_len(0)
            .and_then(|()| writeln!(writer, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The process that holds the lock, if any.
fn holder_pid(file: &File) -> Option<Pid> {
    fcntl_getlk(file, &Flock::from(FlockType::WriteLock)).ok().flatten().and_then(|lock| lock.pid)
}

// === impl Holder ===

impl Holder {
    /// The process that holds a lock, if any does.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |source: io::Error| Error::Io { path: path.to_owned(), source };
        let file = match mxjob_files::open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let Some(pid) = holder_pid(&file) else { return Ok(None) };
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(Errno::SRCH) => return Ok(None),
            process => process.map_err(|error| failed(error.into()))?,
        };
        // The second check proves that the descriptor refers to the holder, and not to a later
        // process with the same id.
        Ok((holder_pid(&file) == Some(pid)).then_some(Self { pid, process }))
    }

    /// Its process id.
    pub(crate) fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.process, Signal::TERM) {
            Err(Errno::SRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// Waits until the process has ended; false after the time limit.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
            match poll(&mut [PollFd::new(&self.process, PollFlags::IN)], left.as_ref()) {
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return false,
                Ok(_) => return true,
            }
        }
    }
}
