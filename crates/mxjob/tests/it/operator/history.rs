//! Waiting for changes that the history records.

use kube::api::ApiResource;
use mxjob_testkit::{History, Resource};

use crate::support::wait_until;

/// The resources that tests of the operator record.
pub(crate) const RECORDED: [&str; 5] = ["mxjobs", "pods", "services", "events", "leases"];

/// A resource for `kube`.
pub(crate) fn kind(plural: &str) -> ApiResource {
    Resource::named(plural).api_resource()
}

/// Waiting in tests whose subjects are other processes.
pub(crate) trait Wait {
    /// Waits until a condition on the objects is true.
    fn wait_until(&self, what: &str, holds: impl FnMut(&Self) -> bool);

    /// Waits until the newest condition of a job is of that type.
    fn wait_for_state(&self, job: &str, state: &str);
}

impl Wait for History {
    fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        wait_until(what, || holds(self).then_some(()));
    }

    fn wait_for_state(&self, job: &str, state: &str) {
        self.wait_until(&format!("{job} is {state}"), |history| {
            history.last_condition(job).is_some_and(|last| last["type"] == state)
        });
    }
}
