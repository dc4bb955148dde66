//! The system calls that the seccomp profile `RuntimeDefault` forbids: what the default profile of
//! containerd and Docker forbids, as a list of exceptions.

use crate::sys::seccomp::Rule;

/// The highest number that the profile knows. Calls that were added later "do not exist".
pub(super) const HIGHEST: libc::c_long = 466;

/// Capabilities, by their number in the kernel.
const DAC_READ_SEARCH: u32 = 2;
const SYS_MODULE: u32 = 16;
const SYS_RAWIO: u32 = 17;
const SYS_CHROOT: u32 = 18;
const SYS_PTRACE: u32 = 19;
const SYS_PACCT: u32 = 20;
const SYS_ADMIN: u32 = 21;
const SYS_BOOT: u32 = 22;
const SYS_NICE: u32 = 23;
const SYS_TIME: u32 = 25;
const SYS_TTY_CONFIG: u32 = 26;
const SYSLOG: u32 = 34;

/// Calls that nobody may make.
const NEVER: &[libc::c_long] = &[
    libc::SYS_add_key,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_nfsservctl,
    libc::SYS_pivot_root,
    libc::SYS_request_key,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_userfaultfd,
];

/// Calls that a capability permits.
const WITH_CAPABILITY: &[(u32, &[libc::c_long])] = &[
    (DAC_READ_SEARCH, &[libc::SYS_open_by_handle_at]),
    (SYS_MODULE, &[libc::SYS_delete_module, libc::SYS_finit_module, libc::SYS_init_module]),
    (SYS_CHROOT, &[libc::SYS_chroot]),
    (SYS_PTRACE, &[libc::SYS_kcmp, libc::SYS_pidfd_getfd, libc::SYS_process_madvise]),
    (SYS_PACCT, &[libc::SYS_acct]),
    (
        SYS_ADMIN,
        &[
            libc::SYS_bpf,
            libc::SYS_fanotify_init,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fsopen,
            libc::SYS_fspick,
            libc::SYS_lookup_dcookie,
            libc::SYS_mount,
            libc::SYS_mount_setattr,
            libc::SYS_move_mount,
            libc::SYS_name_to_handle_at,
            libc::SYS_open_tree,
            libc::SYS_perf_event_open,
            libc::SYS_quotactl,
            libc::SYS_quotactl_fd,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_setns,
            libc::SYS_umount2,
            libc::SYS_unshare,
        ],
    ),
    (SYS_BOOT, &[libc::SYS_reboot]),
    (
        SYS_NICE,
        &[
            libc::SYS_get_mempolicy,
            libc::SYS_mbind,
            libc::SYS_migrate_pages,
            libc::SYS_move_pages,
            libc::SYS_set_mempolicy,
        ],
    ),
    (SYS_TIME, &[libc::SYS_clock_settime, libc::SYS_settimeofday]),
    (SYS_TTY_CONFIG, &[libc::SYS_vhangup]),
    (SYSLOG, &[libc::SYS_syslog]),
];

/// The same, for calls of one architecture.
#[cfg(target_arch = "x86_64")]
const OF_ARCHITECTURE: (&[libc::c_long], &[libc::c_long]) = (
    &[libc::SYS__sysctl, libc::SYS_sysfs, libc::SYS_uselib, libc::SYS_ustat],
    &[libc::SYS_ioperm, libc::SYS_iopl],
);
#[cfg(not(target_arch = "x86_64"))]
const OF_ARCHITECTURE: (&[libc::c_long], &[libc::c_long]) = (&[], &[]);

/// The flags of `clone` for new namespaces.
const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// The rules for a program with these capabilities at most.
pub(super) fn default_rules(capabilities: u64) -> Vec<Rule> {
    let has = |capability: u32| capabilities & (1 << capability) != 0;
    let (never, raw_io) = OF_ARCHITECTURE;
    let with_capability = WITH_CAPABILITY.iter().copied().chain([(SYS_RAWIO, raw_io)]);
    let forbidden = with_capability.filter(|(capability, _)| !has(*capability));
    let forbidden = forbidden.flat_map(|(_, calls)| calls).chain(NEVER).chain(never);
    let mut rules: Vec<Rule> =
        forbidden.map(|&number| Rule::Fail { number, error: libc::EPERM }).collect();
    if !has(SYS_ADMIN) {
        // Its flags are in memory, where a filter cannot see them. Programs then use `clone`.
        rules.push(Rule::Fail { number: libc::SYS_clone3, error: libc::ENOSYS });
        rules.push(Rule::FailWithFlags {
            number: libc::SYS_clone,
            flags: NAMESPACES.unsigned_abs(),
            error: libc::EPERM,
        });
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_permits_its_calls() {
        let forbids = |capabilities: u64, call: libc::c_long| {
            default_rules(capabilities).iter().any(|rule| match rule {
                Rule::Fail { number, .. } => *number == call,
                Rule::FailWithFlags { number, .. } => *number == call,
            })
        };
        for (call, capability) in [
            (libc::SYS_mount, SYS_ADMIN),
            (libc::SYS_clone3, SYS_ADMIN),
            (libc::SYS_clone, SYS_ADMIN),
            (libc::SYS_reboot, SYS_BOOT),
            (libc::SYS_chroot, SYS_CHROOT),
        ] {
            assert!(forbids(0, call) && !forbids(1 << capability, call), "{call}");
        }
        assert!(forbids(u64::MAX, libc::SYS_keyctl) && !forbids(0, libc::SYS_read));
    }
}
