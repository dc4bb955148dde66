//! Detects which means of isolation this machine permits.
//!
//! With all of them every pod has its own loopback address: wildcard binds stay on it, and service
//! names resolve through its own hosts file. Without them the agent puts numeric addresses into the
//! environment (`agent/command.rs`).

use std::{fs, path::Path};

use rustix::process::geteuid;

use crate::{
    cgroup::{self, Roots},
    sys::bpf,
};

/// The bit of CAP_SYS_ADMIN in a capability set.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// The isolation to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IsolationMode {
    /// Everything that is permitted.
    #[default]
    Auto,
    /// Plain processes: no mounts, no network programs, no cgroups.
    Plain,
}

/// The isolation in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The folders of the pods' cgroups.
    cgroups: Roots,
    mounts: bool,
    addresses: bool,
    why_not: Option<String>,
}

impl Isolation {
    /// Tries each means of isolation.
    pub(super) fn detect(mode: IsolationMode, name: &str) -> Self {
        let mut found =
            Self { cgroups: Roots::default(), mounts: false, addresses: false, why_not: None };
        if mode == IsolationMode::Plain {
            let why = "isolation is turned off".to_owned();
            found.cgroups.why_not = Some(why.clone());
            found.why_not = Some(why);
            return found;
        }
        found.mounts = has_sys_admin();
        let (cgroups, unified) = cgroup::make_roots(name);
        found.cgroups = cgroups;
        found.why_not = unified.err();
        if let Some(folder) = &found.cgroups.unified {
            match try_addresses(folder) {
                Ok(()) => found.addresses = true,
                Err(error) => {
                    found.why_not = Some(format!("the kernel refuses network programs ({error})"));
                }
            }
        }
        if !found.mounts {
            found.addresses = false;
            found.why_not.get_or_insert_with(|| "mounts are not permitted".to_owned());
        }
        found
    }

    /// Whether pods own their address: wildcard binds stay on it, names resolve to it.
    #[must_use]
    pub const fn owns_addresses(&self) -> bool {
        self.addresses
    }

    /// Whether pods may have mounts (hosts file, volumes).
    #[must_use]
    pub const fn has_mounts(&self) -> bool {
        self.mounts
    }

    /// Why pods do not own their address, for messages.
    #[must_use]
    pub fn why_not(&self) -> Option<&str> {
        self.why_not.as_deref()
    }

    /// Why limits of CPU, memory or processes are not enforced, for messages.
    #[must_use]
    pub fn why_not_limited(&self) -> Option<&str> {
        self.cgroups.why_not.as_deref()
    }

    /// The folders of the pods' cgroups.
    pub(super) const fn cgroups(&self) -> &Roots {
        &self.cgroups
    }
}

fn try_addresses(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join("probe");
    fs::create_dir_all(&probe)?;
    let result = bpf::attach_address(&probe, std::net::Ipv4Addr::LOCALHOST);
    let _ = fs::remove_dir(&probe);
    result
}

fn has_sys_admin() -> bool {
    geteuid().is_root()
        && fs::read_to_string("/proc/self/status").is_ok_and(|status| {
            status
                .lines()
                .find_map(|line| line.strip_prefix("CapEff:"))
                .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
                .is_some_and(|set| set & CAP_SYS_ADMIN != 0)
        })
}
