//! Capabilities by name.

use k8s_openapi::api::core::v1::Capabilities;

/// All capabilities, by their number in the kernel.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// The capabilities of a container that does not change them: those of containerd and Docker.
const DEFAULT: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The word for all capabilities.
const ALL: &str = "ALL";

/// The capabilities of a container: first all are added or removed, then single ones.
pub(super) fn allowed(changes: Option<&Capabilities>) -> Result<u64, String> {
    let names = |list: Option<&Vec<String>>| -> Vec<String> {
        list.into_iter().flatten().map(|name| name.to_ascii_uppercase()).collect()
    };
    let add = names(changes.and_then(|changes| changes.add.as_ref()));
    let drop = names(changes.and_then(|changes| changes.drop.as_ref()));
    let has_all = |list: &[String]| list.iter().any(|name| name == ALL);
    let bits = |list: &[String]| {
        let single = list.iter().filter(|name| *name != ALL);
        single.map(|name| bit(name)).try_fold(0, |set, one| Ok::<_, String>(set | one?))
    };
    let mut set = bits(&DEFAULT.map(str::to_owned))?;
    if has_all(&add) {
        set = (1 << NAMES.len()) - 1;
    }
    if has_all(&drop) {
        set = 0;
    }
    Ok((set | bits(&add)?) & !bits(&drop)?)
}

fn bit(name: &str) -> Result<u64, String> {
    let short = name.strip_prefix("CAP_").unwrap_or(name);
    let number = NAMES.iter().position(|known| *known == short);
    number.map(|number| 1 << number).ok_or_else(|| format!("have the unknown capability {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_added_and_dropped_as_in_container_runtimes() {
        let default = 0xa804_25fb;
        let all = 0x1ff_ffff_ffff;
        for (add, drop, expect) in [
            (&[][..], &[][..], default),
            (&["SYS_ADMIN"], &[], default | 1 << 21),
            (&["cap_sys_admin"], &["KILL"], (default | 1 << 21) & !(1 << 5)),
            (&["ALL"], &[], all),
            (&[], &["all"], 0),
            (&["NET_BIND_SERVICE"], &["ALL"], 1 << 10),
            (&["ALL"], &["ALL"], 0),
            (&["ALL"], &["CHECKPOINT_RESTORE"], all & !(1 << 40)),
            (&["KILL"], &["KILL"], default & !(1 << 5)),
        ] {
            let list = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
            let changes = Capabilities { add: list(add), drop: list(drop) };
            assert_eq!(allowed(Some(&changes)), Ok(expect), "{add:?} {drop:?}");
        }
        let changes = Capabilities { add: Some(vec!["FLY".to_owned()]), drop: None };
        assert_eq!(allowed(Some(&changes)).unwrap_err(), "have the unknown capability \"FLY\"");
    }
}
