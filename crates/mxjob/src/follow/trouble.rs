//! What goes wrong while jobs are followed, told once, however often it is tried again.

use std::collections::BTreeSet;

use kube::runtime::watcher;

use crate::exit::root;

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Jobs,
    Pods,
    Lines,
}

/// What has been told already.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    denied: BTreeSet<What>,
    lost: bool,
}

// === impl Trouble ===

impl Trouble {
    /// A watch failed; what is to be said about it.
    pub(crate) fn failed(&mut self, what: What, error: &watcher::Error) -> Option<String> {
        let (status, error) = match error {
            watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => {
                match error {
                    kube::Error::Api(status) => (Some(&**status), error),
                    _ => (None, error),
                }
            }
            watcher::Error::WatchError(status) => return self.refused(what, status),
            // A watch may break at any time. Whether that matters shows when it is started again.
            watcher::Error::WatchFailed(_) | watcher::Error::NoResourceVersion => return None,
        };
        match status {
            Some(status) => self.refused(what, status),
            None => self.lost(&format!("cannot reach the cluster ({}); trying again", root(error))),
        }
    }

    fn refused(&mut self, what: What, status: &kube::core::Status) -> Option<String> {
        match status.code {
            401 | 403 => self.denied(what, &status.message),
            // The past that we asked for is forgotten; the present is read next.
            410 => None,
            _ => {
                self.lost(&format!("the cluster does not answer: {}; trying again", status.message))
            }
        }
    }

    /// We may not read something; what is to be said about it.
    pub(crate) fn denied(&mut self, what: What, why: &str) -> Option<String> {
        let missing = match what {
            What::Jobs => "how the jobs stand cannot be seen",
            What::Pods => "what the replicas do and print cannot be seen",
            What::Lines => "what the replicas print cannot be seen",
        };
        self.denied.insert(what).then(|| format!("{missing}: {why}"))
    }

    fn lost(&mut self, text: &str) -> Option<String> {
        (!std::mem::replace(&mut self.lost, true)).then(|| text.to_owned())
    }

    /// Something was read; what is to be said about it.
    pub(crate) fn answered(&mut self, what: What) -> Option<&'static str> {
        self.denied.remove(&what);
        std::mem::take(&mut self.lost).then_some("the cluster answers again")
    }

    /// Whether the cluster did not answer when it was last asked.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether something cannot be read for want of a right.
    pub(crate) fn is_denied(&self, what: What) -> bool {
        self.denied.contains(&what)
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
    fn trouble_is_told_once_and_its_end_too() {
        let mut trouble = Trouble::default();
        assert_eq!(
            trouble.failed(What::Jobs, &unreachable()).as_deref(),
            Some("cannot reach the cluster (connection refused); trying again")
        );
        assert_eq!(trouble.failed(What::Pods, &unreachable()), None);
        assert_eq!(trouble.failed(What::Jobs, &api(503, "busy")), None);
        assert_eq!(trouble.answered(What::Pods), Some("the cluster answers again"));
        assert_eq!(trouble.answered(What::Jobs), None);
        assert!(trouble.failed(What::Jobs, &api(503, "busy")).unwrap().contains("busy"));
    }

    #[test]
    fn a_missing_right_is_told_once_for_each_thing() {
        let mut trouble = Trouble::default();
        assert!(trouble.failed(What::Pods, &api(403, "no")).unwrap().ends_with("be seen: no"));
        assert_eq!(trouble.failed(What::Pods, &api(403, "no")), None);
        assert!(trouble.denied(What::Lines, "no").is_some());
        assert!(trouble.is_denied(What::Pods) && !trouble.is_denied(What::Jobs));
        assert_eq!(trouble.answered(What::Pods), None);
        assert!(!trouble.is_denied(What::Pods));
    }

    #[test]
    fn a_watch_that_ends_or_is_too_old_is_no_trouble() {
        let mut trouble = Trouble::default();
        assert_eq!(trouble.failed(What::Jobs, &api(410, "too old")), None);
        assert_eq!(trouble.failed(What::Jobs, &watcher::Error::NoResourceVersion), None);
        assert_eq!(trouble.answered(What::Jobs), None);
    }
}
