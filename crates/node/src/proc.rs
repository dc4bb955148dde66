//! Start times, parents, descendants and use of processes, from `/proc`.

use std::{collections::HashMap, fs, time::Duration};

use rustix::process::Pid;

use crate::sys::process::{clock_ticks_per_second, page_size};

/// The fields of `/proc/<pid>/stat` that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: i32,
    session: i32,
    start: u64,
    /// CPU time of the process, and of its children that it has waited for, in clock ticks.
    own_ticks: u64,
    children_ticks: u64,
    /// Memory in pages.
    pages: u64,
}

/// What some processes use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) cpu: Duration,
    pub(crate) memory: u64,
}

/// All processes of one moment.
#[derive(Debug)]
pub(crate) struct Processes {
    all: HashMap<i32, Stat>,
    children: HashMap<i32, Vec<i32>>,
}

impl Processes {
    /// Reads them.
    pub(crate) fn read() -> Self {
        let all: HashMap<i32, Stat> = all().filter_map(|pid| Some((pid, stat(pid)?))).collect();
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for (pid, stat) in &all {
            children.entry(stat.parent).or_default().push(*pid);
        }
        Self { all, children }
    }

    /// What the descendants of a process use, with those that have ended. `None` if the process has
    /// ended.
    pub(crate) fn below(&self, root: i32, start: u64) -> Option<Used> {
        let root_stat = self.all.get(&root).filter(|stat| stat.start == start)?;
        let (mut ticks_used, mut pages) = (root_stat.children_ticks, 0_u64);
        let mut next = self.children.get(&root).cloned().unwrap_or_default();
        while let Some(pid) = next.pop() {
            if let Some(stat) = self.all.get(&pid) {
                ticks_used = ticks_used.saturating_add(stat.own_ticks + stat.children_ticks);
                pages = pages.saturating_add(stat.pages);
            }
            next.extend(self.children.get(&pid).into_iter().flatten());
        }
        Some(Used { cpu: ticks(ticks_used), memory: pages.saturating_mul(page_size()) })
    }
}

fn ticks(count: u64) -> Duration {
    Duration::from_millis(count.saturating_mul(1000) / clock_ticks_per_second())
}

/// The CPU time that the machine has spent with work since its start.
pub(crate) fn busy_time() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    ticks(busy_ticks(&text).unwrap_or_default())
}

fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let numbers = line.split_ascii_whitespace().map(|number| number.parse::<u64>().ok());
    // User, nice, system, idle, waiting, interrupts, soft interrupts, stolen. The rest counts
    // twice.
    let numbers: Vec<u64> = numbers.take(8).collect::<Option<_>>()?;
    let [user, nice, system, _, _, interrupts, soft, ..] = numbers.as_slice() else { return None };
    Some(user + nice + system + interrupts + soft)
}

/// The memory that the machine uses and cannot free.
pub(crate) fn memory_in_use() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let (total, free) = (kib("MemTotal:"), kib("MemAvailable:"));
    total.unwrap_or_default().saturating_sub(free.unwrap_or_default()).saturating_mul(1024)
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
    let fields: Vec<&str> = fields.collect();
    // Counted from the parent, which is field 4.
    let number = |index: usize| fields.get(index - 4)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.first()?.parse().ok()?,
        session: fields.get(2)?.parse().ok()?,
        start: number(22)?,
        own_ticks: number(14)? + number(15)?,
        children_ticks: number(16)? + number(17)?,
        pages: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_contain_parentheses_and_spaces() {
        let line = "42 (a) b (c) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99887 1 1";
        let expected = Stat {
            parent: 7,
            session: 41,
            start: 99887,
            own_ticks: 5 + 6,
            children_ticks: 7 + 8,
            pages: 1,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse(&line.replace(" S ", " Z ")), None, "a zombie is not alive");
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn work_of_the_machine_is_neither_idle_nor_waiting() {
        let stat = "cpu  10 1 5 1000 500 2 3 40 50 60\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(10 + 1 + 5 + 2 + 3));
        assert_eq!(busy_ticks(""), None);
    }

    #[test]
    fn the_use_of_a_process_is_that_of_its_descendants() {
        let stat = |parent, ticks, pages| Stat {
            parent,
            session: 0,
            start: 5,
            own_ticks: ticks,
            children_ticks: ticks * 10,
            pages,
        };
        let all =
            [(1, stat(0, 1000, 9)), (2, stat(1, 10, 2)), (3, stat(2, 1, 1)), (4, stat(0, 7, 7))];
        let children = [(0, vec![1, 4]), (1, vec![2]), (2, vec![3])];
        let processes = Processes { all: all.into(), children: children.into() };
        // Not the CPU time of the root itself, which is the shim.
        let expected = Used { cpu: ticks(10_000 + 110 + 11), memory: 3 * page_size() };
        assert_eq!(processes.below(1, 5), Some(expected));
        assert_eq!(processes.below(1, 6), None, "another process");
    }

    #[test]
    fn this_process_has_a_start_time() {
        assert!(start_time(rustix::process::getpid()).unwrap() > 0);
    }
}
