//! How the controller stands: whether it has seen all there is, and what is in its way.
//!
//! The controller writes it, its process reads it: for a readiness probe, and to say on a status page what is wrong. Nothing waits for
//! it.

use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::{info, warn};

/// How a controller stands; a cheap handle to read.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    is_synced: bool,
    /// By what they are in the way of: there is one at most for each resource.
    obstacles: BTreeMap<String, String>,
}

impl Standing {
    /// Whether the controller has seen all jobs and what belongs to them, and works.
    pub fn is_synced(&self) -> bool {
        self.inner().is_synced
    }

    /// What is in the controller's way: each a sentence that names it and says how to mend it. Empty if nothing is.
    pub fn obstacles(&self) -> Vec<String> {
        self.inner().obstacles.values().cloned().collect()
    }

    /// A controller begins: what was known of the last one does not hold for it.
    pub(crate) fn begin(&self) {
        *self.inner() = Inner::default();
    }

    pub(crate) fn set_synced(&self) {
        self.inner().is_synced = true;
    }

    /// Notes what is in the way of something, and tells the log if it is news; says whether it is.
    pub(crate) fn obstructed(&self, what: &str, why: &str) -> bool {
        let is_news = self.set_obstacle(what, Some(why));
        if is_news {
            warn!("{why}");
        }
        is_news
    }

    /// Notes that nothing is in the way of something any more.
    pub(crate) fn cleared(&self, what: &str) {
        if self.set_obstacle(what, None) {
            info!(resource = what, "nothing is in the way any more");
        }
    }

    /// Notes what is in the way of something, or that nothing is any more; says whether that is news.
    fn set_obstacle(&self, what: &str, obstacle: Option<&str>) -> bool {
        let mut inner = self.inner();
        match obstacle {
            Some(obstacle) => {
                let before = inner.obstacles.insert(what.to_owned(), obstacle.to_owned());
                before.as_deref() != Some(obstacle)
            }
            None => inner.obstacles.remove(what).is_some(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_is_news_once_and_its_end_too() {
        let standing = Standing::default();
        let set = |obstacle| standing.set_obstacle("pods", obstacle);
        assert_eq!(
            [set(None), set(Some("a")), set(Some("a")), set(Some("b"))],
            [false, true, false, true]
        );
        assert_eq!(standing.obstacles(), ["b"]);
        assert_eq!([set(None), set(None)], [true, false]);
        assert_eq!(standing.obstacles(), [""; 0]);
    }

    #[test]
    fn a_new_controller_has_seen_nothing_yet() {
        let standing = Standing::default();
        standing.set_synced();
        standing.set_obstacle("pods", Some("a"));
        assert!(standing.is_synced());
        standing.begin();
        assert!(!standing.is_synced() && standing.obstacles().is_empty());
    }
}
