//! The stored policy in memory, kept up to date from the store's log.
//!
//! There is no task. Each query first applies what was committed since the last one, so a decision
//! sees every write that was acknowledged before it. The lock is held only for that; decisions are
//! made on a snapshot.

use std::fmt;
use std::sync::Arc;

use mxjob_machinery::object;
use mxjob_store::{Event, EventKind, ListOptions, Store, Watch};
use parking_lot::Mutex;

use crate::authz::policy::{GROUP, Policy};

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
    /// `None` before the first query, and after the watch fell behind the log.
    watch: Option<Watch>,
}

impl Cache {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(Inner { store, state: Mutex::default() }))
    }

    /// The policy as of now.
    pub(super) fn policy(&self) -> Policy {
        // A panic while the lock is held leaves a policy that is at most behind, and the watch
        // knows by how much.
        let mut state = self.0.state.lock();
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

    /// Reads the list again. If that fails, the known policy stays in force and the next query
    /// retries.
    fn load(&mut self, store: &Store) {
        self.watch = None;
        let prefix = format!("/registry/{GROUP}/");
        let Ok(page) = store.list(&prefix, &ListOptions::default()) else { return };
        let Ok(watch) = store.watch(&prefix, page.revision) else { return };
        self.policy = Policy::default();
        for entry in &page.entries {
            self.policy.put(&object::decode(&entry.value));
        }
        self.watch = Some(watch);
    }

    fn learn(&mut self, event: &Event) {
        let object = object::decode(&event.value);
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

#[cfg(test)]
mod tests {
    use mxjob_store::{Expect, Op, Options, Transaction};
    use serde_json::{Value, json};

    use super::*;
    use crate::authz::{Attributes, Verb};
    use crate::identity::Identity;

    fn put(store: &Store, key: &str, object: &Value) {
        let key = format!("/registry/{key}").into();
        let put = Op::Put {
            key,
            expect: Expect::Any,
            value: mxjob_store::Value::plain(object::to_vec(object)),
        };
        store.commit(Transaction(vec![put])).wait().unwrap();
    }

    fn bind(store: &Store, user: &str) {
        let binding = json!({
            "kind": "ClusterRoleBinding", "metadata": {"name": user},
            "roleRef": {"kind": "ClusterRole", "name": "all"}, "subjects": [{"kind": "User", "name": user}],
        });
        put(store, &format!("{GROUP}/clusterrolebindings/{user}"), &binding);
    }

    fn may(cache: &Cache, user: &str) -> bool {
        let identity = Identity::new(user, "", []);
        let attributes = Attributes { resource: "pods", ..Attributes::new(&identity, Verb::Get) };
        cache.policy().grant(&attributes).is_ok()
    }

    #[test]
    fn policy_follows_the_store_also_after_the_log_was_truncated() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.history_events = 8;
        let store = Store::open(dir.path(), options).unwrap();
        let cache = Cache::new(store.clone());
        let rules = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        let role = json!({"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": rules});
        put(&store, &format!("{GROUP}/clusterroles/all"), &role);
        bind(&store, "ann");
        assert!(may(&cache, "ann") && !may(&cache, "bob"));
        bind(&store, "bob");
        assert!(may(&cache, "bob"));
        bind(&store, "eve");
        for _ in 0..100 {
            put(&store, "configmaps/n/a", &json!({"kind": "ConfigMap", "metadata": {"name": "a"}}));
        }
        assert!(may(&cache, "eve") && may(&cache, "ann"));
        let key = format!("/registry/{GROUP}/clusterrolebindings/ann").into();
        store.commit(Transaction(vec![Op::Delete { key, expect: Expect::Any }])).wait().unwrap();
        assert!(!may(&cache, "ann") && may(&cache, "eve"));
    }
}
