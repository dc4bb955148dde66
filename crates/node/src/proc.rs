//! Start times, parents and descendants of processes, from `/proc`.

use std::{collections::HashMap, fs};

use rustix::process::Pid;

/// The fields of `/proc/<pid>/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: i32,
    session: i32,
    start: u64,
}

/// The start time of a process in clock ticks since boot. With its id it identifies one process of
/// this boot.
pub(crate) fn start_time(pid: Pid) -> Option<u64> {
    stat(pid.as_raw_nonzero().get()).map(|stat| stat.start)
}

/// The parent of a living process.
pub(crate) fn parent(pid: Pid) -> Option<i32> {
    stat(pid.as_raw_nonzero().get()).map(|stat| stat.parent)
}

/// All living descendants of a process, and all members of `session` (0 for none).
pub(crate) fn descendants(root: Pid, session: i32) -> Vec<Pid> {
    let root = root.as_raw_nonzero().get();
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let mut found = Vec::new();
    for pid in all() {
        if let Some(stat) = stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
            if session != 0 && stat.session == session {
                found.push(pid);
            }
        }
    }
    let mut next = vec![root];
    while let Some(parent) = next.pop() {
        for &child in children.get(&parent).into_iter().flatten() {
            found.push(child);
            next.push(child);
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into_iter().filter(|&pid| pid != root).filter_map(Pid::from_raw).collect()
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name in parentheses may contain anything, so fields are counted after it: state is field
    // 3.
    let (_, after) = text.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let start = fields.nth(15)?.parse().ok()?;
    Some(Stat { parent, session, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_contain_parentheses_and_spaces() {
        let line = "42 (a) b (c) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99887 1 1";
        assert_eq!(parse(line), Some(Stat { parent: 7, session: 41, start: 99887 }));
        assert_eq!(parse(&line.replace(" S ", " Z ")), None, "a zombie is not alive");
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_process_has_a_start_time() {
        assert!(start_time(rustix::process::getpid()).unwrap() > 0);
    }
}
