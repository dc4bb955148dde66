//! Problems while jobs are followed: each is reported once, however often requests are retried.

use std::collections::BTreeSet;

use kube::runtime::watcher;
use mxjob_machinery::error::root_cause;

/// The kind of data that a request reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resource {
    Jobs,
    Pods,
    Lines,
}

/// The problems that were reported.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    denied: BTreeSet<Resource>,
    is_lost: bool,
}

// === impl Problems ===

impl Problems {
    /// A watch failed. Returns a message unless it was reported before.
    pub(crate) fn failed(&mut self, resource: Resource, error: &watcher::Error) -> Option<String> {
        let (status, error) = match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
                match error {
                    kube::Error::Api(status) => (Some(&**status), error),
                    _ => (None, error),
                }
            }
            watcher::Error::WatchError(status) => return self.rejected(resource, status),
            // A watch may be interrupted at any time; only a failing restart is a problem.
            watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion => return None,
        };
        match status {
            Some(status) => self.rejected(resource, status),
            None => {
                self.lost(&format!("cannot reach the cluster ({}); retrying", root_cause(error)))
            }
        }
    }

    fn rejected(&mut self, resource: Resource, status: &kube::core::Status) -> Option<String> {
        match status.code {
            401 | 403 => self.denied(resource, &status.message),
            // The resource version has expired; the watcher lists again.
            410 => None,
            _ => self.lost(&format!("the cluster does not answer: {}; retrying", status.message)),
        }
    }

    /// A request was forbidden. Returns a message unless it was reported before.
    pub(crate) fn denied(&mut self, resource: Resource, reason: &str) -> Option<String> {
        let missing = match resource {
            Resource::Jobs => "cannot watch the state of the jobs",
            Resource::Pods => "cannot watch the replicas or print their logs",
            Resource::Lines => "cannot print the logs of the replicas",
        };
        self.denied.insert(resource).then(|| format!("{missing}: {reason}"))
    }

    fn lost(&mut self, text: &str) -> Option<String> {
        (!std::mem::replace(&mut self.is_lost, true)).then(|| text.to_owned())
    }

    /// A request succeeded. Returns a message if an earlier one failed.
    pub(crate) fn answered(&mut self, resource: Resource) -> Option<&'static str> {
        self.denied.remove(&resource);
        std::mem::take(&mut self.is_lost).then_some("the cluster answers again")
    }

    /// Whether the cluster did not answer the last request.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether reading this is forbidden.
    pub(crate) fn is_denied(&self, resource: Resource) -> bool {
        self.denied.contains(&resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16, message: &str) -> watcher::Error {
        let status = kube::core::Status::failure(message, "").with_code(code);
        watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed()))
    }

    fn unreachable() -> watcher::Error {
        let error = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        watcher::Error::InitialListFailed(kube::Error::Service(error.into()))
    }

    #[test]
    fn outage_and_its_end_are_reported_once() {
        let mut problems = Problems::default();
        assert_eq!(
            problems.failed(Resource::Jobs, &unreachable()).as_deref(),
            Some("cannot reach the cluster (connection refused); retrying")
        );
        assert_eq!(problems.failed(Resource::Pods, &unreachable()), None);
        assert_eq!(problems.failed(Resource::Jobs, &api(503, "busy")), None);
        assert_eq!(problems.answered(Resource::Pods), Some("the cluster answers again"));
        assert_eq!(problems.answered(Resource::Jobs), None);
        assert!(problems.failed(Resource::Jobs, &api(503, "busy")).unwrap().contains("busy"));
    }

    #[test]
    fn missing_right_is_reported_once_per_resource() {
        let mut problems = Problems::default();
        assert!(
            problems.failed(Resource::Pods, &api(403, "no")).unwrap().ends_with("their logs: no")
        );
        assert_eq!(problems.failed(Resource::Pods, &api(403, "no")), None);
        assert!(problems.denied(Resource::Lines, "no").is_some());
        assert!(problems.is_denied(Resource::Pods) && !problems.is_denied(Resource::Jobs));
        assert_eq!(problems.answered(Resource::Pods), None);
        assert!(!problems.is_denied(Resource::Pods));
    }

    #[test]
    fn interrupted_or_expired_watch_is_no_problem() {
        let mut problems = Problems::default();
        assert_eq!(problems.failed(Resource::Jobs, &api(410, "too old")), None);
        assert_eq!(problems.failed(Resource::Jobs, &watcher::Error::NoResourceVersion), None);
        assert_eq!(problems.answered(Resource::Jobs), None);
    }
}
