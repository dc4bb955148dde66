//! Stops every pod of a state directory without an agent or an API server, for `mxjob down`.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::{
    cgroup, proc,
    state::{self, AGENT_LOCK, AttemptDir, PodDir, PodRecord},
    volumes,
};

/// How long a shim may take to end after its container was killed.
const SHIM_EXIT_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the lock is checked. No system call waits for a lock with a timeout.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The result of a stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Pods (`namespace/name`) that had running processes and have none now.
    pub stopped: Vec<String>,
    /// Pods (`namespace/name`) that still have running processes.
    pub alive: Vec<String>,
}

/// A pod with processes to stop.
struct RunningPod {
    dir: PodDir,
    record: PodRecord,
    /// Its shims, and processes of lost shims.
    shims: Vec<std::os::fd::OwnedFd>,
}

/// Ends all pods: SIGTERM to every process, SIGKILL after `grace`. Returns when no process is left,
/// or only such that SIGKILL does not end. The ends of the containers are recorded, and the next
/// agent reports them. Blocks. No agent should run at the same time: it would restart containers as
/// their restart policy says.
///
/// # Errors
/// When the state directory cannot be read. A missing one has no pods.
pub fn stop_all(state_dir: &Path, grace: Duration) -> io::Result<StopReport> {
    let mut pods = Vec::new();
    for dir in PodDir::all(state_dir)? {
        let Some(record) = dir.record() else { continue };
        let attempts = dir.every_attempt();
        let mut shims: Vec<_> =
            attempts.iter().filter_map(|attempt| stop(attempt, grace)).collect();
        shims.extend(attempts.iter().flat_map(kill_lost));
        let populated = record.cgroup.as_deref().is_some_and(|folder| !cgroup::is_empty(folder));
        if populated || !shims.is_empty() {
            pods.push(RunningPod { dir, record, shims });
        } else {
            release(&dir, &record);
        }
    }
    let deadline = Instant::now() + grace + SHIM_EXIT_TIMEOUT;
    let mut report = StopReport::default();
    for pod in pods {
        let shims_ended = pod.shims.iter().all(|shim| wait(shim, deadline));
        // Also the processes that a lost shim left.
        let is_empty = pod
            .record
            .cgroup
            .as_deref()
            .is_none_or(|folder| cgroup::kill_and_wait(folder, SHIM_EXIT_TIMEOUT));
        let name = format!("{}/{}", pod.record.namespace, pod.record.name);
        if shims_ended && is_empty {
            release(&pod.dir, &pod.record);
            report.stopped.push(name);
        } else {
            report.alive.push(name);
        }
    }
    report.stopped.sort();
    report.alive.sort();
    Ok(report)
}

/// Like [`stop_all`], while an agent ends that may just be starting a container: stops all pods,
/// waits up to `lock_timeout` until the agent releases its lock, and stops all pods again.
///
/// # Errors
/// As for [`stop_all`].
pub fn stop_all_after_agent(
    state_dir: &Path,
    grace: Duration,
    lock_timeout: Duration,
) -> io::Result<StopReport> {
    if !state_dir.exists() {
        return Ok(StopReport::default());
    }
    let lock = mxjob_files::open(&state_dir.join(AGENT_LOCK), true)?;
    let is_unlocked = || flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    if is_unlocked() {
        return stop_all(state_dir, grace);
    }
    let mut report = stop_all(state_dir, grace)?;
    let deadline = Instant::now() + lock_timeout;
    while !is_unlocked() && Instant::now() < deadline {
        #[allow(
            clippy::disallowed_methods,
            reason = "no event to wait for; this function blocks anyway"
        )]
        std::thread::sleep(LOCK_POLL_INTERVAL);
    }
    let late = stop_all(state_dir, grace)?;
    report.alive = late.alive;
    report.stopped.extend(late.stopped);
    report.stopped.sort();
    report.stopped.dedup();
    Ok(report)
}

/// Kills the containers of one pod, and waits until its shims have ended, so that nothing writes to
/// its folder afterwards. Returns whether they have.
pub(super) fn end_pod(dir: &PodDir) -> bool {
    let deadline = Instant::now() + SHIM_EXIT_TIMEOUT;
    let attempts = dir.every_attempt();
    let shims: Vec<_> =
        attempts.iter().filter_map(|attempt| stop(attempt, Duration::ZERO)).collect();
    shims.iter().all(|shim| wait(shim, deadline))
}

/// Requests a running shim to end its container.
fn stop(attempt: &AttemptDir, grace: Duration) -> Option<std::os::fd::OwnedFd> {
    // Also a shim that has recorded the end: it is about to end, and can be waited for.
    if !attempt.is_locked() {
        return None;
    }
    let run = attempt.run()?;
    let pid = Pid::from_raw(run.shim)?;
    let shim = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    if proc::start_time(pid) != Some(run.shim_start) {
        return None;
    }
    // Best effort: without the file the shim uses the grace period of the spec.
    let _ = attempt.write_stop(grace.as_secs());
    pidfd_send_signal(&shim, Signal::TERM).ok()?;
    Some(shim)
}

/// Kills the processes that a lost shim left, without cgroups: the program ended with its shim, but
/// other processes of its session did not.
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
        // The id is not reused while its session has members. If a process has it, the session is
        // another's.
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

/// Removes what an ended pod keeps of the machine: its memory and its cgroup. If the next agent
/// starts it again, its volumes in memory are empty, as after a reboot.
fn release(dir: &PodDir, record: &PodRecord) {
    volumes::remove_memory(dir, &record.uid);
    let _ = cgroup::remove_all(record.cgroup.as_deref(), &record.groups);
    if let Some(parent) = record.cgroup.as_deref().and_then(Path::parent) {
        cgroup::remove_if_unused(parent);
    }
    record.groups.parent().remove_if_unused();
}
