//! Whether the controller may plan: it must have listed everything, and be able to follow changes.
//!
//! An obstacle is reported once in the log and in [`Health`], and as an event and a condition of
//! each job that it stops.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};

use crate::health::Health;

/// Holds the workers back while the caches are incomplete.
#[derive(Debug)]
pub(super) struct SyncGate {
    health: Health,
    state: Mutex<GateState>,
}

#[derive(Debug, Default)]
struct GateState {
    is_open: bool,
    /// Resources that cannot be followed, with the reason.
    blocked: BTreeMap<String, String>,
}

/// Whether the workers may plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyncStatus {
    /// Not everything has been listed yet.
    NotSynced,
    /// A resource cannot be followed, for this reason.
    Blocked(String),
    /// Everything has been listed.
    Synced,
}

impl SyncGate {
    pub(super) fn new(health: Health) -> Self {
        Self { health, state: Mutex::default() }
    }

    /// Everything has been listed.
    pub(super) fn open(&self) {
        self.state().is_open = true;
        self.health.set_synced();
    }

    pub(super) fn status(&self) -> SyncStatus {
        let state = self.state();
        match state.blocked.first_key_value() {
            Some((_, why)) => SyncStatus::Blocked(why.clone()),
            None if state.is_open => SyncStatus::Synced,
            None => SyncStatus::NotSynced,
        }
    }

    /// Marks a resource as one that cannot be followed. Returns whether that is new.
    pub(super) fn block(&self, resource: &str, why: &str) -> bool {
        self.state().blocked.insert(resource.to_owned(), why.to_owned());
        self.health.obstructed(resource, why)
    }

    /// Marks a resource as one that can be followed. Returns whether that is new.
    pub(super) fn unblock(&self, resource: &str) -> bool {
        let was_blind = self.state().blocked.remove(resource).is_some();
        self.health.cleared(resource);
        was_blind
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_synced_when_all_is_listed_and_no_resource_is_blocked() {
        let health = Health::default();
        let sync_gate = SyncGate::new(health.clone());
        assert_eq!(sync_gate.status(), SyncStatus::NotSynced);
        assert!(sync_gate.block("pods", "no pods"));
        assert!(!sync_gate.block("pods", "no pods"), "reported once");
        assert_eq!(sync_gate.status(), SyncStatus::Blocked("no pods".to_owned()));
        assert!(sync_gate.unblock("pods"));
        assert!(!sync_gate.unblock("pods"));
        assert_eq!(sync_gate.status(), SyncStatus::NotSynced);
        sync_gate.open();
        assert_eq!(sync_gate.status(), SyncStatus::Synced);
        health.obstructed("mxjobs/status", "no status");
        assert_eq!(sync_gate.status(), SyncStatus::Synced, "it can still plan");
        assert_eq!(health.obstacles(), ["no status"]);
        health.cleared("mxjobs/status");
        assert!(health.obstacles().is_empty() && health.is_synced());
    }
}
