//! An attempt whose shim runs.

use std::{
    io,
    process::Child,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Error, lost::end_lost};
use crate::{
    changes::Changes,
    proc,
    state::{AttemptDir, ExitRecord, RunRecord},
    sys::readable::Readable,
};

/// How long a shim that holds the lock may take to write its process id.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(500);

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    container: String,
    dir: AttemptDir,
    /// The shim: readable when it has ended, and safe to signal.
    pidfd: Readable,
    started_at: Option<Timestamp>,
    /// The shim as our child, to be reaped; `None` if an earlier agent started it. The lock is only
    /// held to take it.
    child: Mutex<Option<Child>>,
}

impl Running {
    /// Finds the shim of an attempt; `None` if none runs.
    pub(super) fn attach(
        container: &str,
        dir: AttemptDir,
        mut child: Option<Child>,
    ) -> io::Result<Option<Self>> {
        let deadline = Instant::now() + CLAIM_TIMEOUT;
        let mut changes = None;
        while dir.is_locked() {
            let left = deadline.saturating_duration_since(Instant::now());
            // Our own child has reported that it is ready. A shim of an earlier agent may still be
            // starting, if that agent was killed a moment ago.
            if let Some(run) = dir.run()
                && (run.pid.is_some() || child.is_some() || left.is_zero())
            {
                return Self::of(container, dir, &run, child);
            }
            match &changes {
                _ if left.is_zero() => return Ok(None),
                // The files are checked again after this, in case of a change before the watch.
                None => changes = Some(Changes::watch(dir.path())?),
                Some(changes) => changes.wait(left),
            }
        }
        if let Some(child) = &mut child {
            let _ = child.wait();
        }
        Ok(None)
    }

    fn of(
        container: &str,
        dir: AttemptDir,
        run: &RunRecord,
        child: Option<Child>,
    ) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(run.shim) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The descriptor pins the process: if it is the recorded one now, it stays so.
        if proc::start_time(pid) != Some(run.shim_start) {
            return Ok(None);
        }
        Ok(Some(Self {
            container: container.to_owned(),
            dir,
            pidfd: Readable::new(pidfd)?,
            started_at: run.started_at,
            child: Mutex::new(child),
        }))
    }

    /// When the program was started.
    #[must_use]
    pub const fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// The folder of the attempt.
    #[must_use]
    pub const fn dir(&self) -> &AttemptDir {
        &self.dir
    }

    /// Requests the shim to end the container: SIGTERM to all its processes, and SIGKILL after
    /// `grace_seconds`. A second request can only shorten this time.
    ///
    /// # Errors
    /// When the request cannot be written.
    pub fn terminate(&self, grace_seconds: u64) -> io::Result<()> {
        self.dir.write_stop(grace_seconds)?;
        // Fails only if the shim has just ended.
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
        Ok(())
    }

    /// Waits for the end. Cancel-safe.
    ///
    /// # Errors
    /// When the end of a lost container cannot be recorded.
    pub async fn wait(&self) -> Result<ExitRecord, Error> {
        let failed = |source| Error::Record { container: self.container.clone(), source };
        self.pidfd.readable().await.map_err(failed)?;
        if let Some(mut child) = self.child.lock().take() {
            // It has ended, so this does not block.
            let _ = child.wait();
        }
        if let Some(exit) = self.dir.exit() {
            return Ok(exit);
        }
        let spec = self.dir.spec().ok_or_else(|| {
            failed(io::Error::new(io::ErrorKind::NotFound, "the folder of the attempt was removed"))
        })?;
        end_lost(&self.container, &self.dir, &spec)
    }
}
