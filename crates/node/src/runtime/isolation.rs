//! Detects which means of isolation this machine permits.
//!
//! With all of them every pod has its own loopback address: wildcard binds stay on it, and service
//! names resolve through its own hosts file. Without them the agent puts numeric addresses into the
//! environment (`agent/command.rs`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use crate::{cgroup, state::PodUid, sys::bpf};

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
    /// The folder of the pods' cgroups.
    cgroups: Option<PathBuf>,
    mounts: bool,
    addresses: bool,
    why_not: Option<String>,
}

impl Isolation {
    /// Tries each means of isolation.
    pub(super) fn detect(mode: IsolationMode, name: &str) -> Self {
        let mut found = Self { cgroups: None, mounts: false, addresses: false, why_not: None };
        if mode == IsolationMode::Plain {
            found.why_not = Some("isolation is turned off".to_owned());
            return found;
        }
        found.mounts = has_sys_admin();
        match make_cgroups(name) {
            Ok(folder) => found.cgroups = Some(folder),
            Err(why) => found.why_not = Some(why),
        }
        if let Some(folder) = &found.cgroups {
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

    /// The cgroup for a new pod.
    pub(super) fn cgroup_of(&self, uid: &PodUid) -> Option<PathBuf> {
        self.cgroups.as_ref().map(|folder| folder.join(uid.as_str()))
    }

    pub(super) fn remove_if_unused(&self) {
        if let Some(folder) = &self.cgroups {
            remove_unused(folder);
        }
    }
}

/// Removes the folder of the pods' cgroups and its parent, if they are empty.
pub(super) fn remove_unused(folder: &Path) {
    if fs::remove_dir(folder).is_ok()
        && let Some(parent) = folder.parent()
    {
        let _ = fs::remove_dir(parent);
    }
}

fn make_cgroups(name: &str) -> Result<PathBuf, String> {
    let own = cgroup::own_folder().ok_or("no unified cgroup tree is mounted")?;
    let folder = own.join("mxjob").join(name);
    mxjob_files::public_dir(&folder)
        .map_err(|error| format!("cgroups cannot be created ({error})"))?;
    Ok(folder)
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
