//! Attempts whose shim ended without recording how its container ended.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Error;
use crate::{
    cgroup, clock, proc,
    state::{self, AttemptDir, ExitRecord, Spec},
};

/// How long killed processes may take to end.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Kills what a lost shim left behind and records the attempt as lost.
pub(super) fn end_lost(
    container: &str,
    dir: &AttemptDir,
    spec: &Spec,
) -> Result<ExitRecord, Error> {
    let run = dir.run();
    if spec.boot_id == state::boot_id() {
        match &spec.cgroup {
            Some(folder) => {
                cgroup::kill_and_wait(folder, KILL_TIMEOUT);
            }
            None => kill_session(run.as_ref().and_then(|run| run.pid)),
        }
        let _ = cgroup::remove_all(spec.cgroup.as_deref(), &spec.groups);
    }
    let exit = ExitRecord::lost(run.and_then(|run| run.started_at), clock::now());
    dir.write_exit(&exit)
        .map_err(|source| Error::Record { container: container.to_owned(), source })
}

/// The best that can be done without cgroups: the program ended with its shim, but other processes
/// of its session did not.
fn kill_session(program: Option<i32>) {
    let Some(program) = program.and_then(Pid::from_raw) else { return };
    for pid in proc::descendants(program, program.as_raw_nonzero().get()) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
