//! Stopping every pod of a state directory without an agent or an API server: `mxjob down`.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::{
    cgroup, proc,
    runtime::{LOCK, remove_unused},
    state::{self, AttemptDir, PodDir, PodRecord},
};

/// What a shim needs after its container's last process is killed.
const SHIM_TIME: Duration = Duration::from_secs(15);

/// Between two looks at a lock. There is no event to wait for that a deadline could end.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Pods (`namespace/name`) that had something running, and have nothing running now.
    pub stopped: Vec<String>,
    /// Pods of which something is still alive.
    pub alive: Vec<String>,
}

/// One pod with something to stop.
struct Target {
    record: PodRecord,
    /// Its shims, and processes without one.
    shims: Vec<std::os::fd::OwnedFd>,
}

/// Ends all pods: SIGTERM to every process, SIGKILL after `grace`. Returns when nothing is left, or only what even
/// SIGKILL does not end. How the containers ended is on record afterwards, and an agent that comes later
/// reports it. Blocks; no agent should run meanwhile, or it would start containers again whose policy says so.
///
/// # Errors
/// When the state directory cannot be read. One that does not exist has no pods.
pub fn stop_all(state_dir: &Path, grace: Duration) -> io::Result<StopReport> {
    let mut targets = Vec::new();
    for dir in PodDir::all(state_dir)? {
        let Some(record) = dir.record() else { continue };
        let attempts = dir.every_attempt();
        let mut shims: Vec<_> =
            attempts.iter().filter_map(|attempt| stop(attempt, grace)).collect();
        shims.extend(attempts.iter().flat_map(kill_lost));
        let populated = record.cgroup.as_deref().is_some_and(|folder| !cgroup::is_empty(folder));
        if populated || !shims.is_empty() {
            targets.push(Target { record, shims });
        } else {
            remove_group(&record);
        }
    }
    let deadline = Instant::now() + grace + SHIM_TIME;
    let mut report = StopReport::default();
    for target in targets {
        let gone = target.shims.iter().all(|shim| wait(shim, deadline));
        // Also what a lost shim left behind.
        let empty = target
            .record
            .cgroup
            .as_deref()
            .is_none_or(|folder| cgroup::kill_and_wait(folder, SHIM_TIME));
        let name = format!("{}/{}", target.record.namespace, target.record.name);
        if gone && empty {
            remove_group(&target.record);
            report.stopped.push(name);
        } else {
            report.alive.push(name);
        }
    }
    report.stopped.sort();
    report.alive.sort();
    Ok(report)
}

/// The same beside an agent that is about to go, and may be in the middle of starting a container: stops what there is, waits
/// up to `patience` for the agent to give up its lock, and stops what there is then.
///
/// # Errors
/// As [`stop_all`].
pub fn stop_all_after_agent(
    state_dir: &Path,
    grace: Duration,
    patience: Duration,
) -> io::Result<StopReport> {
    if !state_dir.exists() {
        return Ok(StopReport::default());
    }
    let lock = mxjob_files::open(&state_dir.join(LOCK), true)?;
    let is_free = || flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    if is_free() {
        return stop_all(state_dir, grace);
    }
    let mut report = stop_all(state_dir, grace)?;
    let deadline = Instant::now() + patience;
    while !is_free() && Instant::now() < deadline {
        #[allow(
            clippy::disallowed_methods,
            reason = "see the constant; this function blocks anyway"
        )]
        std::thread::sleep(LOCK_POLL);
    }
    let late = stop_all(state_dir, grace)?;
    report.alive = late.alive;
    report.stopped.extend(late.stopped);
    report.stopped.sort();
    report.stopped.dedup();
    Ok(report)
}

/// Ends what runs of one pod at once, and waits until its shims are gone, so that nobody writes to its folder any more.
/// Returns whether they are.
pub(crate) fn end_pod(dir: &PodDir) -> bool {
    let deadline = Instant::now() + SHIM_TIME;
    let attempts = dir.every_attempt();
    let shims: Vec<_> =
        attempts.iter().filter_map(|attempt| stop(attempt, Duration::ZERO)).collect();
    shims.iter().all(|shim| wait(shim, deadline))
}

/// Asks a living shim to end its container.
fn stop(attempt: &AttemptDir, grace: Duration) -> Option<std::os::fd::OwnedFd> {
    // Also one that has recorded the end: it is about to go, and may be waited for.
    if !attempt.is_locked() {
        return None;
    }
    let run = attempt.run()?;
    let pid = Pid::from_raw(run.shim)?;
    let shim = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    if proc::start_time(pid) != Some(run.shim_start) {
        return None;
    }
    // Without the file the shim uses its own grace period, which is no reason to leave it running.
    let _ = attempt.write_stop(grace.as_secs());
    pidfd_send_signal(&shim, Signal::TERM).ok()?;
    Some(shim)
}

/// Kills what a lost shim left behind where no cgroup holds it together: the program died with its shim, and what it started in
/// its session did not.
fn kill_lost(attempt: &AttemptDir) -> Vec<std::os::fd::OwnedFd> {
    let left = || {
        let spec = attempt.spec()?;
        if attempt.is_locked()
            || attempt.exit().is_some()
            || spec.cgroup.is_some()
            || spec.boot_id != state::boot_id()
        {
            return None;
        }
        let program = Pid::from_raw(attempt.run()?.pid?)?;
        // Its number is not given away as long as its session has members; if it lives, they are another's.
        proc::start_time(program)
            .is_none()
            .then(|| proc::descendants(program, program.as_raw_nonzero().get()))
    };
    let kill = |pid| {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        pidfd_send_signal(&process, Signal::KILL).ok()?;
        Some(process)
    };
    left().unwrap_or_default().into_iter().filter_map(kill).collect()
}

fn wait(shim: &std::os::fd::OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(shim, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn remove_group(record: &PodRecord) {
    if let Some(folder) = &record.cgroup {
        let _ = cgroup::remove(folder);
        if let Some(parent) = folder.parent().map(PathBuf::from) {
            remove_unused(&parent);
        }
    }
}
