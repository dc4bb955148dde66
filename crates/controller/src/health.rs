//! The health of the controller: whether its caches are complete, and what obstructs it.
//!
//! The controller writes it, and its process reads it for a readiness probe or a status page.
//! Nothing waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tracing::{info, warn};

/// The health of a controller; a cheap handle to read.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<HealthState>>);

#[derive(Debug, Default)]
struct HealthState {
    is_synced: bool,
    /// By resource: there is at most one for each.
    obstacles: BTreeMap<String, String>,
}

impl Health {
    /// Whether the controller has listed all jobs and their objects, and works.
    pub fn is_synced(&self) -> bool {
        self.state().is_synced
    }

    /// The obstacles: each a sentence that names the problem and how to fix it.
    pub fn obstacles(&self) -> Vec<String> {
        self.state().obstacles.values().cloned().collect()
    }

    /// A controller starts: the state of the last one does not apply to it.
    pub(crate) fn begin(&self) {
        *self.state() = HealthState::default();
    }

    pub(crate) fn set_synced(&self) {
        self.state().is_synced = true;
    }

    /// Stores an obstacle, and logs it if it is new. Returns whether it is.
    pub(crate) fn obstructed(&self, what: &str, why: &str) -> bool {
        let is_new = self.set_obstacle(what, Some(why));
        if is_new {
            warn!("{why}");
        }
        is_new
    }

    /// Removes an obstacle.
    pub(crate) fn cleared(&self, what: &str) {
        if self.set_obstacle(what, None) {
            info!(resource = what, "obstacle cleared");
        }
    }

    /// Stores or removes an obstacle. Returns whether that is new.
    fn set_obstacle(&self, what: &str, obstacle: Option<&str>) -> bool {
        let mut state = self.state();
        match obstacle {
            Some(obstacle) => {
                let before = state.obstacles.insert(what.to_owned(), obstacle.to_owned());
                before.as_deref() != Some(obstacle)
            }
            None => state.obstacles.remove(what).is_some(),
        }
    }

    fn state(&self) -> MutexGuard<'_, HealthState> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_and_its_end_are_each_new_once() {
        let health = Health::default();
        let set = |obstacle| health.set_obstacle("pods", obstacle);
        assert_eq!(
            [set(None), set(Some("a")), set(Some("a")), set(Some("b"))],
            [false, true, false, true]
        );
        assert_eq!(health.obstacles(), ["b"]);
        assert_eq!([set(None), set(None)], [true, false]);
        assert_eq!(health.obstacles(), [""; 0]);
    }

    #[test]
    fn a_new_controller_is_not_synced() {
        let health = Health::default();
        health.set_synced();
        health.set_obstacle("pods", Some("a"));
        assert!(health.is_synced());
        health.begin();
        assert!(!health.is_synced() && health.obstacles().is_empty());
    }
}
