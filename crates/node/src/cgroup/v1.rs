//! The files of cgroups v1.

use std::{io, path::Path};

use super::{
    interface::{Interface, MemoryUse, keyed, number, write, write_if_present},
    limits::{PERIOD_MICROS, ResourceLimits},
};

pub(super) struct V1;

impl Interface for V1 {
    fn limit_cpu(&self, folder: &Path, limits: &ResourceLimits) -> io::Result<()> {
        if let Some(shares) = limits.cpu_shares {
            write(folder, "cpu.shares", &shares.to_string())?;
        }
        if let Some(quota) = limits.cpu_quota {
            write(folder, "cpu.cfs_period_us", &PERIOD_MICROS.to_string())?;
            write(folder, "cpu.cfs_quota_us", &quota.to_string())?;
        }
        Ok(())
    }

    fn limit_memory(&self, folder: &Path, bytes: u64) -> io::Result<()> {
        // Memory and swap together are limited last, because they cannot be less than memory. The
        // file is missing where the kernel does not count swap.
        write(folder, "memory.limit_in_bytes", &bytes.to_string())?;
        write_if_present(folder, "memory.memsw.limit_in_bytes", &bytes.to_string())
    }

    /// v1 kills one process.
    fn kill_together(&self, _folder: &Path) {}

    fn memory(&self, folder: &Path) -> Option<MemoryUse> {
        let usage = number(folder, "memory.usage_in_bytes")?;
        let cached = keyed(folder, "memory.stat", "total_inactive_file").unwrap_or_default();
        Some(MemoryUse { usage, working_set: usage.saturating_sub(cached) })
    }

    fn oom_kills(&self, folder: &Path) -> u64 {
        keyed(folder, "memory.oom_control", "oom_kill").unwrap_or_default()
    }
}
