//! Cgroups of pods and their containers.
//!
//! A cgroup of the unified tree (`unified`) holds the processes of a container: it serves to kill
//! them, to see that none is left, and to attach the network programs. [`Groups`] limit and measure
//! what the processes use. Where the controllers of the machine are in the unified tree (v2), these
//! are the same cgroups; in the hybrid layout each controller has a tree of its own (v1).
//!
//! The cgroups of pods are in a folder `mxjob`, where possible below the agent's own cgroup.

mod groups;
mod interface;
mod limits;
mod trees;
mod unified;
mod v1;
mod v2;

use std::{
    io,
    path::{Path, PathBuf},
};

pub(crate) use self::groups::remove_if_unused;
pub(crate) use self::unified::{
    cpu_time, is_empty, join, kill, kill_and_wait, of_command, processes, remove, signal,
};
pub use self::{groups::Groups, limits::ResourceLimits};

/// The folders for the cgroups of one agent's pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roots {
    /// In the unified tree.
    pub(crate) unified: Option<PathBuf>,
    /// Of the controllers.
    pub(crate) groups: Groups,
    /// Why not all limits can be enforced.
    pub(crate) why_not: Option<String>,
}

/// Makes the folders of an agent with this name.
///
/// # Errors
/// Why there is no folder in the unified tree. The controllers do without one.
pub(crate) fn make_roots(name: &str) -> (Roots, Result<(), String>) {
    let machine = trees::Trees::read();
    let unified = machine.make_unified(name);
    let mut roots = Roots { unified: unified.clone().ok(), ..Roots::default() };
    let (groups, why_not) = groups::make_roots(&machine, name, roots.unified.as_deref());
    roots.groups = groups;
    roots.why_not = why_not;
    (roots, unified.map(drop))
}

impl Roots {
    /// The cgroups of a pod: that of its processes, and those that limit them.
    pub(crate) fn of_pod(&self, uid: &str) -> (Option<PathBuf>, Groups) {
        (self.unified.as_ref().map(|folder| folder.join(uid)), self.groups.child(uid))
    }

    /// Removes empty cgroups of pods, except those of pods that are used.
    pub(crate) fn sweep(&self, is_used: impl Fn(&str) -> bool) {
        if let Some(folder) = &self.unified {
            groups::sweep(folder, &is_used);
        }
        self.groups.sweep(is_used);
    }

    /// Removes the folders and their parents, if they are empty.
    pub(crate) fn remove_if_unused(&self) {
        if let Some(folder) = &self.unified {
            remove_if_unused(folder);
        }
        self.groups.remove_if_unused();
    }
}

/// Removes the cgroups of a pod or container, after its processes have ended.
pub(crate) fn remove_all(unified: Option<&Path>, groups: &Groups) -> io::Result<()> {
    if let Some(folder) = unified {
        remove(folder)?;
    }
    groups.remove()
}
