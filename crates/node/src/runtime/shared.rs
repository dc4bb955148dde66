//! The state that the runtime and all its sandboxes share.

use std::{fs::File, path::PathBuf};

use super::{Isolation, ShimCommand};

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

impl Drop for Shared {
    fn drop(&mut self) {
        // Only an empty cgroup can be removed, so running pods keep theirs.
        self.isolation.remove_if_unused();
    }
}
