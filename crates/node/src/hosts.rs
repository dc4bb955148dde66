//! The hosts file of a pod, by which the names of services resolve for its processes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{OpenOptions, Permissions},
    io,
    net::Ipv4Addr,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
};

/// Names and their addresses, in the order in which they are written.
pub(crate) type Names = BTreeMap<String, Vec<Ipv4Addr>>;

/// The content of a hosts file: the usual local names, the pod's own name, and for each service of
/// the namespace `name`, `name.ns`, `name.ns.svc` and `name.ns.svc.cluster.local`. The lines of the
/// machine's own file come last.
pub(crate) fn content(
    pod: &str,
    address: Ipv4Addr,
    namespace: &str,
    services: &Names,
    machine: &str,
) -> String {
    let mut out = String::from(
        "# Written by the mxjob node agent.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    // Writing to a string cannot fail.
    if !services.contains_key(pod) {
        let _ = writeln!(out, "{address}\t{pod}");
    }
    for (name, addresses) in services {
        for address in addresses {
            let _ = writeln!(
                out,
                "{address}\t{name} {name}.{namespace} {name}.{namespace}.svc {name}.{namespace}.svc.cluster.local"
            );
        }
    }
    let machine: Vec<&str> =
        machine.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect();
    if !machine.is_empty() {
        out.push_str("# From the machine's hosts file.\n");
        out.push_str(&machine.join("\n"));
        out.push('\n');
    }
    out
}

/// Replaces the content of a file and keeps its inode, because a bind mount shows the inode and not
/// the name. A reader never sees a mixture: the content is one write, padded with empty lines to
/// the old length.
pub(crate) fn write_in_place(path: &Path, content: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    // Processes of every user read it where it is mounted.
    file.set_permissions(Permissions::from_mode(0o644))?;
    let old = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    let mut bytes = content.as_bytes().to_vec();
    if bytes.len() < old {
        bytes.resize(old, b'\n');
    }
    file.write_all_at(&bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_four_names() {
        let services = Names::from([
            ("a-scheduler-0".to_owned(), vec![Ipv4Addr::new(127, 64, 0, 1)]),
            ("b".to_owned(), vec![Ipv4Addr::new(127, 64, 0, 2), Ipv4Addr::new(127, 64, 0, 3)]),
            ("empty".to_owned(), vec![]),
        ]);
        let text =
            content("p", Ipv4Addr::new(127, 64, 0, 9), "ns", &services, "# x\n10.0.0.1 db\n\n");
        let lines: Vec<&str> = text.lines().skip(3).collect();
        assert_eq!(
            lines,
            [
                "127.64.0.9\tp",
                "127.64.0.1\ta-scheduler-0 a-scheduler-0.ns a-scheduler-0.ns.svc a-scheduler-0.ns.svc.cluster.local",
                "127.64.0.2\tb b.ns b.ns.svc b.ns.svc.cluster.local",
                "127.64.0.3\tb b.ns b.ns.svc b.ns.svc.cluster.local",
                "# From the machine's hosts file.",
                "10.0.0.1 db",
            ]
        );
    }

    #[test]
    fn a_rewritten_file_keeps_its_inode_and_no_old_content() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        write_in_place(&path, "one\ntwo\nthree\n").unwrap();
        let inode = std::fs::metadata(&path).unwrap().ino();
        write_in_place(&path, "four\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
        assert_eq!(std::fs::read_to_string(&path).unwrap().trim_end(), "four");
    }
}
