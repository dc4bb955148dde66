//! What both versions of cgroups can do, each with its own files.

use std::{fs, io, path::Path};

use super::limits::ResourceLimits;

/// The memory that the processes of a cgroup use, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoryUse {
    /// All of it, with cached files.
    pub(crate) usage: u64,
    /// Without the cached files that the kernel would drop first.
    pub(crate) working_set: u64,
}

/// The files of one version of cgroups.
pub(super) trait Interface {
    /// Sets the shares and the quota of CPU time that are given.
    fn limit_cpu(&self, folder: &Path, limits: &ResourceLimits) -> io::Result<()>;

    /// Limits the memory, and permits no swap.
    fn limit_memory(&self, folder: &Path, bytes: u64) -> io::Result<()>;

    /// Limits the number of processes and threads.
    fn limit_pids(&self, folder: &Path, count: u64) -> io::Result<()> {
        write(folder, "pids.max", &count.to_string())
    }

    /// Requests the kernel to kill all processes of the cgroup when it kills one for lack of
    /// memory, where it can.
    fn kill_together(&self, folder: &Path);

    /// The memory in use.
    fn memory(&self, folder: &Path) -> Option<MemoryUse>;

    /// How many processes the kernel killed for lack of memory.
    fn oom_kills(&self, folder: &Path) -> u64;
}

pub(super) fn write(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    fs::write(folder.join(file), text).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot set {file} to {text}: {error}"))
    })
}

/// Writes a file that the kernel may have been built or started without.
pub(super) fn write_if_present(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    if folder.join(file).exists() { write(folder, file, text) } else { Ok(()) }
}

/// The number in a file of one number.
pub(super) fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// The number of a key in a file of lines `key number`.
pub(super) fn keyed(folder: &Path, file: &str, key: &str) -> Option<u64> {
    keyed_in(&fs::read_to_string(folder.join(file)).ok()?, key)
}

fn keyed_in(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::keyed_in;

    #[test]
    fn a_key_is_a_whole_word() {
        let text = "inactive_file 7\ntotal_inactive_file 9\noom_kill 2\noom_kill_disable 0\n";
        for (key, expect) in [
            ("inactive_file", Some(7)),
            ("total_inactive_file", Some(9)),
            ("oom_kill", Some(2)),
            ("oom", None),
        ] {
            assert_eq!(keyed_in(text, key), expect, "{key}");
        }
    }
}
