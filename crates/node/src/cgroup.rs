//! Cgroups of the unified tree (pure v2, or the hybrid layout, where it has no controllers):
//! process groups that no process can leave. They serve to kill processes, to see that none is
//! left, and to attach the network programs.
//!
//! The cgroups of pods are below the agent's own cgroup, in a folder `mxjob`.

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

/// The folder of the unified tree that this process is in, if that tree is mounted.
pub(crate) fn own_folder() -> Option<PathBuf> {
    let mount = unified_mount(&fs::read_to_string("/proc/self/mountinfo").ok()?)?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    Some(mount.join(own_path(&own)?.trim_start_matches('/')))
}

fn unified_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2"))
            .then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

fn own_path(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

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

fn children(folder: &Path) -> Vec<PathBuf> {
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

/// Number of processes of a cgroup that the kernel killed for lack of memory. 0 without the memory
/// controller.
pub(crate) fn oom_kills(folder: &Path) -> u64 {
    let Ok(events) = fs::read_to_string(folder.join("memory.events")) else { return 0 };
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_tree_is_found_in_both_layouts() {
        let hybrid = "30 24 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw,mode=755\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(unified_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let pure =
            "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(unified_mount(pure), Some("/sys/fs/cgroup".into()));
        assert_eq!(unified_mount("24 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), None);
    }

    #[test]
    fn the_own_group_is_the_line_without_controllers() {
        assert_eq!(own_path("8:pids:/x\n0::/a.slice/b.scope\n"), Some("/a.slice/b.scope"));
        assert_eq!(own_path("8:pids:/x\n"), None);
    }
}
