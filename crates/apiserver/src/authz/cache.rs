//! The policy as stored, kept up to date by the store's log.
//!
//! There is no task: whoever asks takes in first what has been committed since the last question, so that a decision
//! follows every write that was answered before it. The lock is held for that alone; decisions are made on a snapshot.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mxjob_store::{Event, EventKind, ListOptions, Store, Watch};

use crate::authz::policy::{GROUP, Policy};
use crate::document;

/// Roles and bindings of a store. Cheap to clone.
#[derive(Clone)]
pub(super) struct Cache(Arc<Inner>);

struct Inner {
    store: Store,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    policy: Policy,
    /// `None` before the first question, and after the log was cut off under the watch.
    watch: Option<Watch>,
}

impl Cache {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(Inner { store, state: Mutex::default() }))
    }

    /// The policy as of now.
    pub(super) fn policy(&self) -> Policy {
        // A panic while holding it leaves a policy that is at most behind, and the watch knows by how much.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.catch_up(&self.0.store);
        state.policy.clone()
    }
}

impl State {
    fn catch_up(&mut self, store: &Store) {
        if self.watch.is_none() {
            self.load(store);
        }
        while let Some(event) = self.watch.as_mut().and_then(Watch::try_next) {
            match event {
                Ok(event) => self.learn(&event),
                Err(_) => self.load(store),
            }
        }
    }

    /// Starts anew from a list. Where that fails, what is known stays in force and the next question tries again.
    fn load(&mut self, store: &Store) {
        self.watch = None;
        let prefix = format!("/registry/{GROUP}/");
        let Ok(page) = store.list(&prefix, &ListOptions::default()) else { return };
        let Ok(watch) = store.watch(&prefix, page.revision) else { return };
        self.policy = Policy::default();
        for entry in &page.entries {
            self.policy.put(&document::decode(&entry.value));
        }
        self.watch = Some(watch);
    }

    fn learn(&mut self, event: &Event) {
        let object = document::decode(&event.value);
        match event.kind {
            EventKind::Put => self.policy.put(&object),
            EventKind::Delete => self.policy.remove(&object),
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
