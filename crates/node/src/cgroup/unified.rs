//! Cgroups of the unified tree as groups of processes that no process can leave: to kill processes,
//! and to see that none is left.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};

use super::interface::keyed;

/// The cgroup of a command that runs in a container, below the container's.
pub(crate) fn of_command(container: &Path, pid: Pid) -> PathBuf {
    container.join(format!("exec-{}", pid.as_raw_nonzero()))
}

/// Moves a process into a cgroup.
pub(crate) fn join(folder: &Path, pid: Pid) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), pid.as_raw_nonzero().to_string())
}

/// The processes of a cgroup and of those below it.
pub(crate) fn processes(folder: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    collect(folder, &mut found);
    found
}

fn collect(folder: &Path, found: &mut Vec<Pid>) {
    if let Ok(text) = fs::read_to_string(folder.join("cgroup.procs")) {
        found.extend(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)));
    }
    for child in children(folder) {
        collect(&child, found);
    }
}

pub(super) fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Sends a signal to all processes of a cgroup.
pub(crate) fn signal(folder: &Path, signal: Signal) {
    for pid in processes(folder) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills all processes of a cgroup and of those below it, atomically from Linux 5.14 on.
pub(crate) fn kill(folder: &Path) {
    if fs::write(folder.join("cgroup.kill"), "1").is_err() {
        signal(folder, Signal::KILL);
    }
}

/// Whether no process is in a cgroup or below it. A missing cgroup is empty.
pub(crate) fn is_empty(folder: &Path) -> bool {
    match fs::read_to_string(folder.join("cgroup.events")) {
        Ok(events) => events.lines().any(|line| line == "populated 0"),
        Err(_) => true,
    }
}

/// Kills the processes of a cgroup until it is empty or `limit` has passed. Returns whether it is
/// empty.
pub(crate) fn kill_and_wait(folder: &Path, limit: Duration) -> bool {
    let started = Instant::now();
    loop {
        if is_empty(folder) {
            return true;
        }
        kill(folder);
        let Some(left) = limit.checked_sub(started.elapsed()) else { return false };
        wait_for_change(folder, left.min(Duration::from_millis(100)));
    }
}

/// Waits until `populated` changes or `limit` has passed.
fn wait_for_change(folder: &Path, limit: Duration) {
    let Ok(events) = File::open(folder.join("cgroup.events")) else { return };
    // Polling reports only changes since the last read.
    if io::read_to_string(&events).is_ok_and(|text| text.lines().any(|line| line == "populated 0"))
    {
        return;
    }
    let timeout = Timespec::try_from(limit).ok();
    let _ = poll(&mut [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)], timeout.as_ref());
}

/// The CPU time that the processes of a cgroup have used. The tree counts it without a controller.
pub(crate) fn cpu_time(folder: &Path) -> Option<Duration> {
    keyed(folder, "cpu.stat", "usage_usec").map(Duration::from_micros)
}

/// Removes an empty cgroup and the empty ones below it.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    for child in children(folder) {
        remove(&child)?;
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
