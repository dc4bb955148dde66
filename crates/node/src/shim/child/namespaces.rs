//! The namespaces of a container.

use std::{fs, io};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    process::{getegid, geteuid},
};

use crate::sys::process::unshare_mounts_and_host_name;

/// Gives this process a view of the mounts and a host name of its own. Without the permission for
/// that it needs a user namespace (`with_users`), in which only the own user and group exist.
pub(in crate::shim) fn separate(with_users: bool) -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare_mounts_and_host_name(with_users)?;
    if with_users {
        // The kernel demands this before it accepts a map of groups from an ordinary user.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    // New mounts of the machine appear here; ours do not appear there.
    Ok(mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?)
}
