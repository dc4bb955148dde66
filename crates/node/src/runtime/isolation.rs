//! What this machine lets us do to keep pods apart.
//!
//! With all rights, every pod has its own loopback address: wildcard binds stay on it, and service names
//! resolve through a hosts file of its own. Without them, addresses are put into the environment as
//! numbers instead (by the agent, in `agent/command.rs`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use crate::{cgroup, state::PodUid, sys::bpf};

/// The bit of CAP_SYS_ADMIN in a capability set.
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Which isolation to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IsolationMode {
    /// The best that is permitted.
    #[default]
    Auto,
    /// Plain processes: no mounts, no network programs, no cgroups.
    Plain,
}

/// What is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The folder of our cgroups.
    cgroups: Option<PathBuf>,
    mounts: bool,
    addresses: bool,
    why_not: Option<String>,
}

impl Isolation {
    /// Looks what is permitted, by doing it once.
    pub(super) fn detect(mode: IsolationMode, name: &str) -> Self {
        let mut found = Self { cgroups: None, mounts: false, addresses: false, why_not: None };
        if mode == IsolationMode::Plain {
            found.why_not = Some("it is switched off".to_owned());
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
                    found.why_not = Some(format!("network programs are refused ({error})"));
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

    /// Why pods do not own their address, for people.
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

/// Removes our folder and its parent, if nothing is in them.
pub(crate) fn remove_unused(folder: &Path) {
    if fs::remove_dir(folder).is_ok()
        && let Some(parent) = folder.parent()
    {
        let _ = fs::remove_dir(parent);
    }
}

fn make_cgroups(name: &str) -> Result<PathBuf, String> {
    let own = cgroup::own_folder().ok_or("there is no unified cgroup tree")?;
    let folder = own.join("mxjob").join(name);
    mxjob_files::public_dir(&folder).map_err(|error| format!("cgroups are refused ({error})"))?;
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
