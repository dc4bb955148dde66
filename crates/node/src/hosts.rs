//! The hosts file of a pod, by which the names of services resolve for its processes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{OpenOptions, Permissions},
    io,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::Path,
};

use mxjob_machinery::names;

/// Names and their addresses, in the order in which they are written.
pub(crate) type Names = BTreeMap<String, Vec<Ipv4Addr>>;

/// Most addresses of one name. No program connects to more, and pods times services lines would be
/// too many.
pub(crate) const MAX_ADDRESSES: usize = 128;

/// The part of a hosts file that pods with the same services share: for each service of the
/// namespace `name`, `name.ns`, `name.ns.svc` and `name.ns.svc.cluster.local`, and the lines of the
/// machine's own file.
pub(crate) fn shared(namespace: &str, services: &Names, machine: &str) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    for (name, addresses) in services.iter().filter(|(name, _)| is_host_name(name)) {
        for address in addresses.iter().take(MAX_ADDRESSES) {
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

/// The content of a hosts file: the usual local names, the pod's own name (`own`), the shared part,
/// and the lines of the pod's `hostAliases`.
pub(crate) fn content(own: Option<(&str, Ipv4Addr)>, shared: &str, aliases: &[String]) -> String {
    let mut out = String::from(
        "# Written by the mxjob node agent.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n",
    );
    if let Some((pod, address)) = own.filter(|(pod, _)| is_host_name(pod)) {
        let short = Some(host_name(pod)).filter(|short| *short != pod);
        let _ = match short {
            Some(short) => writeln!(out, "{address}\t{pod} {short}"),
            None => writeln!(out, "{address}\t{pod}"),
        };
    }
    out.push_str(shared);
    for line in aliases {
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// The host name of a pod: the kernel limits its length. Shortened as in Kubernetes.
pub(crate) fn host_name(pod: &str) -> &str {
    const MAX: usize = 63;
    match pod.get(..MAX) {
        Some(start) => start.trim_end_matches(['-', '.']),
        None => pod,
    }
}

/// The line for an item of `hostAliases`. `None` if its address or all of its names are invalid.
pub(crate) fn alias_line<'a>(ip: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let address: IpAddr = ip.parse().ok()?;
    let names: Vec<&str> = names.filter(|name| is_host_name(name)).collect();
    (!names.is_empty()).then(|| format!("{address}\t{}", names.join(" ")))
}

/// Whether a name may be in a hosts file: with any other, such as one with a line break, a user
/// would write lines of their own.
fn is_host_name(name: &str) -> bool {
    names::dns1123_subdomain(name).is_empty()
}

/// The longest hosts file that is padded. A container may have made its file of any length.
const MAX_PADDED: u64 = 8 * 1024 * 1024;

/// Replaces the content of a file and keeps its inode, because a bind mount shows the inode and not
/// the name. A reader never sees a mixture: the content is one write, padded with empty lines to
/// the old length. A file that is longer than this agent writes it is truncated instead.
pub(crate) fn write_in_place(path: &Path, content: &str) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    // Processes of every user read it where it is mounted.
    file.set_permissions(Permissions::from_mode(0o644))?;
    let length = file.metadata()?.len();
    let mut bytes = content.as_bytes().to_vec();
    if length > MAX_PADDED.max(content.len() as u64) {
        file.set_len(content.len() as u64)?;
    } else if let Ok(old) = usize::try_from(length)
        && bytes.len() < old
    {
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
        let shared = shared("ns", &services, "# x\n10.0.0.1 db\n\n");
        let text = content(Some(("p", Ipv4Addr::new(127, 64, 0, 9))), &shared, &[]);
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
    fn a_long_pod_name_is_shortened_to_a_host_name() {
        assert_eq!(host_name("p"), "p");
        assert_eq!(host_name(&"a".repeat(63)), "a".repeat(63));
        let long = format!("{}-.-.{}", "a".repeat(60), "b".repeat(100));
        assert_eq!(host_name(&long), "a".repeat(60));
        let text = content(Some((&long, Ipv4Addr::LOCALHOST)), "", &[]);
        assert!(!text.contains("aaa"), "{text}");
        let long = format!("{}-{}", "a".repeat(62), "b".repeat(100));
        let text = content(Some((&long, Ipv4Addr::LOCALHOST)), "", &[]);
        assert!(text.ends_with(&format!("\t{long} {}\n", "a".repeat(62))), "{text}");
    }

    #[test]
    fn only_valid_names_and_addresses_are_written() {
        let evil = "a\n10.9.9.9 bank";
        let services = Names::from([(evil.to_owned(), vec![Ipv4Addr::LOCALHOST])]);
        assert_eq!(shared("ns", &services, ""), "");
        let own = Some((evil, Ipv4Addr::LOCALHOST));
        assert!(!content(own, "", &[]).contains("bank"));
        assert_eq!(alias_line("10.0.0.1\n10.0.0.2", ["db"].into_iter()), None);
        assert_eq!(alias_line("10.0.0.1", [evil].into_iter()), None);
        let line = alias_line("::1", ["db", evil, "db.example.com"].into_iter());
        assert_eq!(line.as_deref(), Some("::1\tdb db.example.com"));
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
    #[test]
    fn a_file_of_any_length_is_rewritten_without_its_length_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
        write_in_place(&path, "one\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");
    }
}
