//! The state that the runtime and all its sandboxes share.

use std::{collections::HashSet, fs::File, path::PathBuf};

use super::{Error, Isolation, ShimCommand};
use crate::state::PodDir;

/// A state directory in use.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state_dir: PathBuf,
    pub(super) shim: ShimCommand,
    pub(super) isolation: Isolation,
    pub(super) boot_id: String,
    /// Locked until the runtime is dropped: two agents must not run the same pods.
    pub(super) _lock: File,
}

impl Shared {
    /// Removes the empty cgroups of pods that an earlier agent did not record, because it was
    /// killed.
    pub(super) fn sweep_cgroups(&self) -> Result<(), Error> {
        let failed = |source| Error::Prepare { path: self.state_dir.clone(), source };
        let known: HashSet<PathBuf> = PodDir::all(&self.state_dir)
            .map_err(failed)?
            .iter()
            .map(|dir| dir.path().to_owned())
            .collect();
        let is_used = |name: &str| {
            name.parse().is_ok_and(|uid| known.contains(PodDir::new(&self.state_dir, &uid).path()))
        };
        self.isolation.cgroups().sweep(is_used);
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Only an empty cgroup can be removed, so running pods keep theirs.
        self.isolation.cgroups().remove_if_unused();
    }
}
