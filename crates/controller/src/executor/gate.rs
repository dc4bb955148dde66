//! Whether the controller sees enough to plan: it must have seen all there is, and be able to go on seeing it.
//!
//! What is in the way is told four times: in the log and in [`Standing`] once, and as an event and a condition of each job that it stops.

use crate::standing::Standing;
use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};

/// The gate before the plans.
#[derive(Debug)]
pub(super) struct Gate {
    standing: Standing,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    /// Resources that cannot be followed, and why.
    blind: BTreeMap<String, String>,
}

/// What may be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing: not everything has been seen yet.
    NotYet,
    /// Nothing, for this reason.
    Blind(String),
    /// Everything.
    Clear,
}

impl Gate {
    pub(super) fn new(standing: Standing) -> Self {
        Self { standing, state: Mutex::default() }
    }

    /// Everything has been seen.
    pub(super) fn open(&self) {
        self.state().is_open = true;
        self.standing.set_synced();
    }

    pub(super) fn sight(&self) -> Sight {
        let state = self.state();
        match state.blind.first_key_value() {
            Some((_, why)) => Sight::Blind(why.clone()),
            None if state.is_open => Sight::Clear,
            None => Sight::NotYet,
        }
    }

    /// Notes that a resource cannot be followed; says whether that is news.
    pub(super) fn blinded(&self, resource: &str, why: &str) -> bool {
        self.state().blind.insert(resource.to_owned(), why.to_owned());
        self.standing.obstructed(resource, why)
    }

    /// Notes that a resource can be followed; says whether that is news.
    pub(super) fn sees(&self, resource: &str) -> bool {
        let was_blind = self.state().blind.remove(resource).is_some();
        self.standing.cleared(resource);
        was_blind
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_clear_when_all_is_seen_and_nothing_is_in_the_way() {
        let standing = Standing::default();
        let gate = Gate::new(standing.clone());
        assert_eq!(gate.sight(), Sight::NotYet);
        assert!(gate.blinded("pods", "no pods"));
        assert!(!gate.blinded("pods", "no pods"), "told once");
        assert_eq!(gate.sight(), Sight::Blind("no pods".to_owned()));
        assert!(gate.sees("pods"));
        assert!(!gate.sees("pods"));
        assert_eq!(gate.sight(), Sight::NotYet);
        gate.open();
        assert_eq!(gate.sight(), Sight::Clear);
        standing.obstructed("mxjobs/status", "no status");
        assert_eq!(gate.sight(), Sight::Clear, "it can plan all the same");
        assert_eq!(standing.obstacles(), ["no status"]);
        standing.cleared("mxjobs/status");
        assert!(standing.obstacles().is_empty() && standing.is_synced());
    }
}
