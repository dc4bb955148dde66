//! Where the trees of cgroups are mounted, and where in them this process is.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{geteuid, getpid};

/// The folder of one agent is below this one.
const FOLDER: &str = "mxjob";
/// The cgroup for the agent itself, where its own one has to be free of processes.
const AGENT: &str = "mxjob-agent";

/// What `/proc` says about cgroups.
#[derive(Debug, Default)]
pub(super) struct Trees {
    mountinfo: String,
    own: String,
}

/// Which controllers a cgroup of v2 can pass on to those below it.
pub(super) const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

impl Trees {
    pub(super) fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self { mountinfo: read("/proc/self/mountinfo"), own: read("/proc/self/cgroup") }
    }

    /// The folder of a v1 controller for an agent's pods; `None` if the controller is not in v1.
    pub(super) fn v1(&self, controller: &str, name: &str) -> Option<PathBuf> {
        let (mount, root) = self.mount("cgroup", Some(controller))?;
        let own = self.own.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            names.split(',').any(|one| one == controller).then_some(path)
        })?;
        Some(below(&mount, root, own).join(FOLDER).join(name))
    }

    /// Makes the folder of the unified tree for an agent's pods: below the agent's own cgroup, or,
    /// if only the root of the tree can pass on controllers, below the root.
    pub(super) fn make_unified(&self, name: &str) -> Result<PathBuf, String> {
        let (mount, root) =
            self.mount("cgroup2", None).ok_or("no unified cgroup tree is mounted")?;
        let own = self.own.lines().find_map(|line| line.strip_prefix("0::"));
        let own = own.ok_or("no unified cgroup tree is mounted")?;
        let own = below(&mount, root, own);
        // After a restart in place.
        let own = if own.ends_with(AGENT) { own.parent().unwrap_or(&mount) } else { &own };
        let parent = if pass_on(own) || move_to_leaf(own) {
            own
        } else if geteuid().is_root() && pass_on(&mount) {
            &mount
        } else {
            own
        };
        let folder = parent.join(FOLDER).join(name);
        let made = mxjob_files::public_dir(&folder);
        made.map_err(|error| format!("cgroups cannot be created ({error})"))?;
        pass_on(&parent.join(FOLDER));
        pass_on(&folder);
        Ok(folder)
    }

    /// The folder where a tree is mounted, and which part of the tree that is.
    fn mount(&self, kind: &str, controller: Option<&str>) -> Option<(PathBuf, &str)> {
        self.mountinfo.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let is_kind = after.next() == Some(kind);
            let has = |name| after.nth(1).is_some_and(|all| all.split(',').any(|one| one == name));
            let mut before = before.split(' ').skip(3);
            (is_kind && controller.is_none_or(has))
                .then(|| Some((before.next()?, before.next()?)))?
                .map(|(root, mount)| (mount.into(), root))
        })
    }
}

/// The folder of a path of `/proc/self/cgroup`. In a container only a part of the tree is mounted.
fn below(mount: &Path, root: &str, path: &str) -> PathBuf {
    let path = path.strip_prefix(root).unwrap_or(path);
    mount.join(path.trim_start_matches('/'))
}

/// The controllers that can be used in a cgroup of v2.
pub(super) fn available(folder: &Path) -> Vec<&'static str> {
    let text = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    CONTROLLERS.into_iter().filter(|name| text.split_whitespace().any(|one| one == *name)).collect()
}

/// Lets the cgroups below this one use its controllers. Returns whether it has all that the kernel
/// has there; in the hybrid layout these are none.
pub(super) fn pass_on(folder: &Path) -> bool {
    let enable = |name| fs::write(folder.join("cgroup.subtree_control"), format!("+{name}"));
    let results: Vec<io::Result<()>> = available(folder).into_iter().map(enable).collect();
    results.iter().all(Result::is_ok)
}

/// Moves this process to a cgroup below its own, because a cgroup of v2 passes controllers on only
/// if it has no process itself. Other processes are left alone, so this works for a service.
fn move_to_leaf(own: &Path) -> bool {
    let leaf = own.join(AGENT);
    let pid = getpid().as_raw_nonzero().to_string();
    let processes = fs::read_to_string(own.join("cgroup.procs")).unwrap_or_default();
    if !processes.lines().eq([pid.as_str()]) || mxjob_files::public_dir(&leaf).is_err() {
        return false;
    }
    if fs::write(leaf.join("cgroup.procs"), &pid).is_ok() && pass_on(own) {
        return true;
    }
    let _ = fs::write(own.join("cgroup.procs"), &pid);
    let _ = fs::remove_dir(&leaf);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees(mountinfo: &str, own: &str) -> Trees {
        Trees { mountinfo: mountinfo.to_owned(), own: own.to_owned() }
    }

    #[test]
    fn each_controller_is_found_in_its_own_tree() {
        let hybrid = trees(
            "30 24 0:26 / /sys/fs/cgroup rw - tmpfs cgroup rw,mode=755\n\
             31 30 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
             32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
             33 30 0:29 /docker/x /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n",
            "9:memory:/docker/x/a\n8:cpu,cpuacct:/b\n0::/c\n",
        );
        for (controller, folder) in [
            ("cpu", Some("/sys/fs/cgroup/cpu,cpuacct/b/mxjob/n")),
            ("memory", Some("/sys/fs/cgroup/memory/a/mxjob/n")),
            ("pids", None),
        ] {
            assert_eq!(hybrid.v1(controller, "n"), folder.map(PathBuf::from), "{controller}");
        }
        let (mount, _) = hybrid.mount("cgroup2", None).unwrap();
        assert_eq!(mount, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_machine_without_cgroups_has_no_trees() {
        let none = trees("24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "");
        assert_eq!(none.v1("cpu", "n"), None);
        assert!(none.make_unified("n").unwrap_err().contains("no unified cgroup tree"));
    }
}
