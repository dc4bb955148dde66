//! The cgroups that limit a pod or a container, one for each controller.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, poll},
    process::Pid,
};
use serde::{Deserialize, Serialize};

use super::{
    interface::{Interface, MemoryUse},
    limits::{ResourceLimits, SHARES_OF_A_CPU},
    trees::{self, CONTROLLERS, Trees},
    unified,
    v1::V1,
    v2::V2,
};

/// How long the kernel may take to forget the processes of a cgroup that have ended.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The cgroups of a pod or a container. What is absent cannot be limited on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Groups(BTreeMap<Controller, Group>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Controller {
    Cpu,
    Memory,
    Pids,
}

/// A cgroup of one controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    version: Version,
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Version {
    V1,
    V2,
}

// === impl Controller ===

impl Controller {
    const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    const fn name(self) -> &'static str {
        let [cpu, memory, pids] = CONTROLLERS;
        match self {
            Self::Cpu => cpu,
            Self::Memory => memory,
            Self::Pids => pids,
        }
    }
}

// === impl Version ===

impl Version {
    fn interface(self) -> &'static dyn Interface {
        match self {
            Self::V1 => &V1,
            Self::V2 => &V2,
        }
    }
}

// === impl Group ===

impl Group {
    fn interface(&self) -> &'static dyn Interface {
        self.version.interface()
    }
}

// === impl Groups ===

impl Groups {
    /// The cgroups with this name below these.
    pub(crate) fn child(&self, name: &str) -> Self {
        let child =
            |group: &Group| Group { version: group.version, folder: group.folder.join(name) };
        Self(self.0.iter().map(|(controller, group)| (*controller, child(group))).collect())
    }

    /// The cgroups that these are in.
    pub(crate) fn parent(&self) -> Self {
        let parent = |group: &Group| {
            Some(Group { version: group.version, folder: group.folder.parent()?.to_owned() })
        };
        let all =
            self.0.iter().filter_map(|(controller, group)| Some((*controller, parent(group)?)));
        Self(all.collect())
    }

    /// Creates them with these limits. Existing ones get the limits.
    pub(crate) fn create(&self, limits: &ResourceLimits) -> io::Result<()> {
        for (controller, group) in &self.0 {
            mxjob_files::public_dir(&group.folder)?;
            let (folder, interface) = (&group.folder, group.interface());
            match (controller, limits) {
                (Controller::Cpu, limits) => interface.limit_cpu(folder, limits)?,
                (Controller::Memory, ResourceLimits { memory: Some(bytes), .. }) => {
                    interface.limit_memory(folder, *bytes)?;
                }
                (Controller::Pids, ResourceLimits { pids: Some(count), .. }) => {
                    interface.limit_pids(folder, *count)?;
                }
                (Controller::Memory | Controller::Pids, _) => {}
            }
        }
        Ok(())
    }

    /// Lets the cgroups below these use their controllers.
    pub(crate) fn pass_on(&self) {
        for group in self.0.values().filter(|group| group.version == Version::V2) {
            trees::pass_on(&group.folder);
        }
    }

    /// Requests the kernel to kill all processes when it kills one for lack of memory.
    pub(crate) fn kill_together(&self) {
        if let Some(group) = self.0.get(&Controller::Memory) {
            group.interface().kill_together(&group.folder);
        }
    }

    /// Moves a process into those of v1. Those of v2 are in the unified tree, where the process is
    /// in a cgroup of the same name or below it.
    pub(crate) fn join(&self, pid: Pid) -> io::Result<()> {
        self.of_v1().try_for_each(|folder| unified::join(folder, pid))
    }

    /// How many processes the kernel killed for lack of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let group = self.0.get(&Controller::Memory);
        group.map_or(0, |group| group.interface().oom_kills(&group.folder))
    }

    /// The memory in use.
    pub(crate) fn memory(&self) -> Option<MemoryUse> {
        let group = self.0.get(&Controller::Memory)?;
        group.interface().memory(&group.folder)
    }

    /// Removes those of v1 with all below them, after their processes have ended.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + REMOVE_TIMEOUT;
        self.of_v1().try_for_each(|folder| remove(folder, deadline))
    }

    /// Removes those of v1, if they are empty, and the folder above them.
    pub(crate) fn remove_if_unused(&self) {
        self.of_v1().for_each(remove_if_unused);
    }

    /// Removes cgroups without processes below these, except those with a name that is used.
    pub(crate) fn sweep(&self, is_used: impl Fn(&str) -> bool) {
        self.of_v1().for_each(|folder| sweep(folder, &is_used));
    }

    fn of_v1(&self) -> impl Iterator<Item = &Path> {
        let groups = self.0.values().filter(|group| group.version == Version::V1);
        groups.map(|group| group.folder.as_path())
    }
}

/// Removes a folder of pods' cgroups and its parent, if they are empty.
pub(crate) fn remove_if_unused(folder: &Path) {
    if fs::remove_dir(folder).is_ok()
        && let Some(parent) = folder.parent()
    {
        let _ = fs::remove_dir(parent);
    }
}

/// Removes the empty cgroups in a folder, except those with a name that is used.
pub(crate) fn sweep(folder: &Path, is_used: impl Fn(&str) -> bool) {
    for child in unified::children(folder) {
        let name = child.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !is_used(name) {
            let _ = unified::remove(&child);
        }
    }
}

fn remove(folder: &Path, deadline: Instant) -> io::Result<()> {
    loop {
        match unified::remove(folder) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                // Nothing reports that the last process of a v1 cgroup is gone.
                let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 }));
            }
            result => return result,
        }
    }
}

/// Makes the folder of each controller for an agent's pods. Returns why some are missing.
pub(super) fn make_roots(
    machine: &Trees,
    name: &str,
    unified: Option<&Path>,
) -> (Groups, Option<String>) {
    let mut groups = BTreeMap::new();
    let mut missing = Vec::new();
    let in_unified = unified.map(trees::available).unwrap_or_default();
    for controller in Controller::ALL {
        let group = if in_unified.contains(&controller.name()) {
            unified.map(|folder| Group { version: Version::V2, folder: folder.to_owned() })
        } else {
            let folder = machine.v1(controller.name(), name);
            folder.map(|folder| Group { version: Version::V1, folder })
        };
        let made = group.ok_or_else(|| "there is none".to_owned()).and_then(|group| {
            mxjob_files::public_dir(&group.folder).map_err(|error| error.to_string())?;
            Ok(group)
        });
        match made {
            Ok(group) => {
                groups.insert(controller, group);
            }
            Err(why) => missing.push(format!("{} ({why})", controller.name())),
        }
    }
    if let Some(cpu) = groups.get(&Controller::Cpu) {
        share_cpus(cpu);
    }
    let why_not = format!("this agent cannot use the cgroup controllers {}", missing.join(", "));
    (Groups(groups), (!missing.is_empty()).then_some(why_not))
}

/// Gives all pods together the CPU time that they would get with a cgroup for each CPU. Best
/// effort: it matters only beside other processes of the machine.
fn share_cpus(group: &Group) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let shares = u64::try_from(cpus).unwrap_or(1).saturating_mul(SHARES_OF_A_CPU);
    let limits = ResourceLimits { cpu_shares: Some(shares), ..ResourceLimits::default() };
    for folder in group.folder.parent().into_iter().chain([group.folder.as_path()]) {
        let _ = group.interface().limit_cpu(folder, &limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// cgroups of v2 as plain files: what the machine of a test may not have.
    fn files() -> (tempfile::TempDir, Groups) {
        let dir = tempfile::tempdir().unwrap();
        let group = || Group { version: Version::V2, folder: dir.path().to_owned() };
        let groups = Controller::ALL.map(|controller| (controller, group()));
        (dir, Groups(groups.into()))
    }

    #[test]
    fn limits_of_v2_have_their_own_files() {
        let (dir, groups) = files();
        fs::write(dir.path().join("memory.swap.max"), "max").unwrap();
        let mut limits = ResourceLimits::of_amounts(1000, 1500, 64 << 20);
        limits.pids = Some(100);
        groups.create(&limits).unwrap();
        groups.kill_together();
        for (file, expect) in [
            ("cpu.weight", "39"),
            ("cpu.max", "150000 100000"),
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "100"),
        ] {
            assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), expect, "{file}");
        }
    }

    #[test]
    fn the_use_of_memory_excludes_what_the_kernel_drops_first() {
        let (dir, groups) = files();
        fs::write(dir.path().join("memory.current"), "1000\n").unwrap();
        fs::write(dir.path().join("memory.stat"), "file 500\ninactive_file 400\n").unwrap();
        fs::write(dir.path().join("memory.events"), "oom 3\noom_kill 2\noom_group_kill 1\n")
            .unwrap();
        assert_eq!(groups.memory(), Some(MemoryUse { usage: 1000, working_set: 600 }));
        assert_eq!(groups.oom_kills(), 2);
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let (_dir, groups) = files();
        let text = serde_json::to_string(&groups.child("pod")).unwrap();
        assert_eq!(serde_json::from_str::<Groups>(&text).unwrap(), groups.child("pod"));
    }
}
