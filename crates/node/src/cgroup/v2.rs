//! The files of cgroups v2.

use std::{fs, io, path::Path};

use super::{
    interface::{Interface, MemoryUse, keyed, number, write, write_if_present},
    limits::{PERIOD_MICROS, ResourceLimits, weight},
};

pub(super) struct V2;

impl Interface for V2 {
    fn limit_cpu(&self, folder: &Path, limits: &ResourceLimits) -> io::Result<()> {
        if let Some(shares) = limits.cpu_shares {
            write(folder, "cpu.weight", &weight(shares).to_string())?;
        }
        if let Some(quota) = limits.cpu_quota {
            write(folder, "cpu.max", &format!("{quota} {PERIOD_MICROS}"))?;
        }
        Ok(())
    }

    fn limit_memory(&self, folder: &Path, bytes: u64) -> io::Result<()> {
        write(folder, "memory.max", &bytes.to_string())?;
        // Missing in a kernel without swap.
        write_if_present(folder, "memory.swap.max", "0")
    }

    fn kill_together(&self, folder: &Path) {
        let _ = fs::write(folder.join("memory.oom.group"), "1");
    }

    fn memory(&self, folder: &Path) -> Option<MemoryUse> {
        let usage = number(folder, "memory.current")?;
        let cached = keyed(folder, "memory.stat", "inactive_file").unwrap_or_default();
        Some(MemoryUse { usage, working_set: usage.saturating_sub(cached) })
    }

    fn oom_kills(&self, folder: &Path) -> u64 {
        keyed(folder, "memory.events", "oom_kill").unwrap_or_default()
    }
}
