//! The user, the groups and the rights of a container's program.

use rustix::{
    process::{Gid, Uid, getgid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_gid,
        set_thread_groups, set_thread_uid,
    },
};

use super::{
    Failure,
    system_calls::{HIGHEST, default_rules},
    try_to,
};
use crate::{
    state::{Security, Spec},
    sys::seccomp,
};

/// Takes the user, the groups and the capabilities of a spec.
pub(in crate::shim) fn take(spec: &Spec) -> Result<(), Failure> {
    let Security { groups, capabilities, no_new_privileges, filter_system_calls, .. } =
        &spec.security;
    if *filter_system_calls {
        // While this process has the right to do so.
        let allowed = capabilities.unwrap_or_default();
        try_to("filter system calls", filter(allowed))?;
    }
    if let Some(set) = capabilities {
        try_to("limit the capabilities", limit(CapabilitySet::from_bits_retain(*set)))?;
    }
    if spec.user.is_some() || spec.group.is_some() || !groups.is_empty() {
        let group = spec.group.map_or_else(getgid, Gid::from_raw);
        let all: Vec<Gid> =
            [group.as_raw()].iter().chain(groups).map(|&group| Gid::from_raw(group)).collect();
        try_to("set the supplementary groups", set_thread_groups(&all))?;
        try_to("change the group", set_thread_gid(group))?;
    }
    if let Some(user) = spec.user {
        try_to("change the user", set_thread_uid(Uid::from_raw(user)))?;
    }
    if *no_new_privileges {
        try_to("forbid new privileges", set_no_new_privs(true))?;
    }
    Ok(())
}

/// Forbids what the default seccomp profile forbids.
fn filter(capabilities: u64) -> std::io::Result<()> {
    let rules = default_rules(capabilities);
    match seccomp::forbid(&rules, HIGHEST) {
        // Without the right, it is possible for programs that get no new one.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            set_no_new_privs(true)?;
            seccomp::forbid(&rules, HIGHEST)
        }
        result => result,
    }
}

/// Removes all other capabilities from the bounding set, so that no program of the container gets
/// them. Executing a program gives root what is left and other users nothing, as in Kubernetes.
fn limit(allowed: CapabilitySet) -> rustix::io::Result<()> {
    /// The kernel rejects numbers that it does not know.
    const MOST: u32 = 64;
    for number in 0..MOST {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if allowed.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Err(rustix::io::Errno::INVAL) => break,
            removed => removed?,
        }
    }
    clear_ambient_capability_set()?;
    // The program would inherit these in spite of the bounding set.
    let own = capabilities(None)?;
    set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..own })
}
