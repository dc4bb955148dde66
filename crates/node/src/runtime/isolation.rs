//! Detects which means of isolation this machine permits.
//!
//! With all of them every pod has its own loopback address: wildcard binds stay on it, and service
//! names resolve through its own hosts file. Without them the agent puts numeric addresses into the
//! environment (`agent/command.rs`).
//!
//! What a kernel permits cannot be read from one place: it depends on capabilities, settings and
//! security modules. So each means is tried, those that change the process in a process of its own.

use std::{fs, path::Path};

use super::{Permitted, ShimCommand};
use crate::{
    cgroup::{self, Roots},
    sys::bpf,
};

/// The isolation to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IsolationMode {
    /// Everything that is permitted.
    #[default]
    Auto,
    /// Plain processes: no namespaces, no own addresses, no cgroups.
    Plain,
}

/// What keeps wildcard binds on the address of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    /// Nothing: pods share the machine's addresses.
    Shared,
    /// Network programs on their cgroups.
    NetworkPrograms,
    /// Their shims, which answer some of their system calls.
    Interception,
}

/// The isolation in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The folders of the pods' cgroups.
    cgroups: Roots,
    /// Whether containers have mounts of their own.
    mounts: bool,
    /// Whether these need a user namespace.
    user_namespace: bool,
    addresses: Addresses,
    why_not: Option<String>,
    no_mounts: Option<String>,
}

impl Isolation {
    /// Tries each means of isolation.
    pub(super) fn detect(mode: IsolationMode, name: &str, shim: &ShimCommand) -> Self {
        let mut found = Self {
            cgroups: Roots::default(),
            mounts: false,
            user_namespace: false,
            addresses: Addresses::Shared,
            why_not: None,
            no_mounts: None,
        };
        if mode == IsolationMode::Plain {
            let why = Some("isolation is turned off".to_owned());
            found.cgroups.why_not = why.clone();
            found.why_not = why.clone();
            found.no_mounts = why;
            return found;
        }
        let (cgroups, unified) = cgroup::make_roots(name);
        found.cgroups = cgroups;
        let permitted = shim.probe().unwrap_or_else(|error| {
            let why = format!("the shim cannot be started ({error})");
            Permitted { namespaces: Err(why.clone()), interception: Err(why) }
        });
        match permitted.namespaces {
            Ok(with_users) => {
                found.mounts = true;
                found.user_namespace = with_users;
                let folder = found.cgroups.unified.as_deref();
                match addresses(folder, unified.err(), permitted.interception) {
                    Ok(addresses) => found.addresses = addresses,
                    Err(why) => found.why_not = Some(why),
                }
            }
            Err(why) => {
                let why = format!("this machine permits this user no namespaces ({why})");
                found.why_not = Some(why.clone());
                found.no_mounts = Some(why);
            }
        }
        found
    }

    /// Whether a network program on the cgroup of a pod holds its address.
    pub(super) fn has_network_programs(&self) -> bool {
        self.addresses == Addresses::NetworkPrograms
    }

    /// Whether the shim holds the address of a pod.
    pub(super) fn needs_interception(&self) -> bool {
        self.addresses == Addresses::Interception
    }

    /// Whether pods own their address: wildcard binds stay on it, names resolve to it.
    #[must_use]
    pub fn owns_addresses(&self) -> bool {
        self.addresses != Addresses::Shared
    }

    /// Whether pods may have mounts (hosts file, volumes).
    #[must_use]
    pub const fn has_mounts(&self) -> bool {
        self.mounts
    }

    /// Whether mounts need a user namespace. In it the only user is the node's.
    #[must_use]
    pub const fn needs_user_namespace(&self) -> bool {
        self.user_namespace
    }

    /// Why pods may not have mounts, for messages.
    #[must_use]
    pub fn why_no_mounts(&self) -> Option<&str> {
        self.no_mounts.as_deref()
    }

    /// What a user should know about a machine that does not permit everything.
    #[must_use]
    pub fn limits(&self) -> Option<String> {
        let what = match (&self.no_mounts, &self.why_not) {
            (Some(why), _) => format!(
                "{why}: replicas share the machine's addresses and ports, and cannot have volumes"
            ),
            (None, Some(why)) => format!("{why}: replicas share the machine's addresses and ports"),
            (None, None) => return None,
        };
        Some(what)
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

/// The best means to hold addresses, or why there is none. `unified` is the folder of the pods'
/// cgroups in the unified tree; without it, `no_cgroups` says why.
fn addresses(
    unified: Option<&Path>,
    no_cgroups: Option<String>,
    interception: Result<(), String>,
) -> Result<Addresses, String> {
    let why = match unified.map(try_addresses) {
        Some(Ok(())) => return Ok(Addresses::NetworkPrograms),
        Some(Err(error)) => format!("the kernel refuses network programs ({error})"),
        None => no_cgroups.unwrap_or_default(),
    };
    match interception {
        Ok(()) => Ok(Addresses::Interception),
        Err(other) => Err(format!("{why} and the interception of system calls ({other})")),
    }
}

fn try_addresses(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join("probe");
    fs::create_dir_all(&probe)?;
    let result = bpf::attach_address(&probe, std::net::Ipv4Addr::LOCALHOST);
    let _ = fs::remove_dir(&probe);
    result
}
