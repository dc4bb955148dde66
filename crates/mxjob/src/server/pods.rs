//! Running pods of this machine, whether or not a node agent manages them.

use std::path::Path;

use mxjob_node::state::PodDir;

/// The number of pods of which at least one container runs.
pub(crate) fn running(state_dir: &Path) -> usize {
    // Pods in an unreadable directory cannot be counted.
    let pods = PodDir::all(state_dir).unwrap_or_default();
    let runs = |pod: &PodDir| {
        pod.every_attempt().iter().any(|run| run.exit().is_none() && run.is_locked())
    };
    pods.into_iter().filter(runs).count()
}
