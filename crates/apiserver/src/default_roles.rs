//! Default roles and bindings: created at the first start, repaired at every later one.
//!
//! Missing rules and subjects are added, and additions are kept. An object whose annotation
//! `rbac.authorization.kubernetes.io/autoupdate` is `false` is not changed (upstream's
//! `pkg/registry/rbac/reconciliation`).

use mxjob_access::authz::policy::GROUP;
use mxjob_access::authz::roles;
use mxjob_access::authz::roles::AUTO_UPDATE;
use mxjob_access::authz::rules::{self, Rule};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::role_aggregation;
use mxjob_machinery::time::rfc3339;
use mxjob_store::{Entry, Expect, Op, Transaction};
use serde_json::{Value, json};

use crate::document;
use crate::error::ApiError;
use crate::registry;
use crate::server::ApiServer;

/// Maximum number of attempts; nobody else writes at that time.
const ATTEMPTS: usize = 4;
/// `view` is part of `edit`, which is part of `admin`.
const AGGREGATION_DEPTH: usize = 4;

impl ApiServer {
    /// Stores the default roles and bindings, in one transaction.
    ///
    /// # Errors
    /// Where the store refuses the write.
    pub(crate) async fn store_default_roles(&self) -> Result<(), ApiError> {
        for _ in 0..ATTEMPTS {
            let operations = self.default_role_writes();
            if operations.is_empty()
                || self.0.services.commit(Transaction(operations)).await?.is_ok()
            {
                return Ok(());
            }
        }
        Err(ApiError::unavailable("the default roles kept changing"))
    }

    fn default_role_writes(&self) -> Vec<Op> {
        // Where MXJobs are installed, their roles are installed with them.
        let is_here = |default: &Value| {
            self.registry().has_mxjobs()
                || !document::meta_str(default, "name").starts_with(roles::OF_MXJOBS)
        };
        let default = roles::all().into_iter().filter(is_here);
        let mut slots: Vec<Slot> = default.filter_map(|default| self.slot(&default)).collect();
        for _ in 0..AGGREGATION_DEPTH {
            let all: Vec<Value> = slots.iter().map(|slot| slot.object.clone()).collect();
            for slot in &mut slots {
                // The manager adds the rules of roles that users have labelled.
                if let Some(rules) = role_aggregation::rules(&slot.object, &by_name(&all)) {
                    let held = Rule::of_role(&slot.object);
                    let default: Vec<Rule> = rules.iter().map(Rule::read).collect();
                    if !rules::missing(&held, &default).is_empty() {
                        slot.object["rules"] = json!(rules);
                        slot.changed = true;
                    }
                }
            }
        }
        let changed = slots.into_iter().filter(|slot| slot.changed);
        changed.map(Slot::write).collect()
    }

    fn slot(&self, default: &Value) -> Option<Slot> {
        let plural = if text(default, "/kind") == "ClusterRole" {
            "clusterroles"
        } else {
            "clusterrolebindings"
        };
        let key = registry::find(GROUP, "v1", plural)?.key(None, document::name(default)?);
        let entry = self.0.services.store.get(&key);
        let stored = entry.as_ref().map(|entry| document::decode(&entry.value));
        let repaired = repair(stored.as_ref(), default);
        let changed = repaired.is_some();
        let mut object = repaired.or(stored)?;
        let environment = &self.0.services.environment;
        if document::meta_str(&object, "uid").is_empty() {
            let meta = document::metadata_mut(&mut object);
            meta.insert("uid".to_owned(), environment.uid().into());
            meta.insert("creationTimestamp".to_owned(), rfc3339(environment.now()).into());
        }
        Some(Slot { key, entry, object, changed })
    }
}

/// A default object: as it is stored, and as it should be.
struct Slot {
    key: String,
    entry: Option<Entry>,
    object: Value,
    changed: bool,
}

impl Slot {
    fn write(self) -> Op {
        let expect = self.entry.map_or(Expect::Absent, |entry| Expect::At(entry.revision));
        Op::Put { key: self.key.into(), expect, value: document::encode(&self.object) }
    }
}

fn by_name(objects: &[Value]) -> Vec<&Value> {
    let mut roles: Vec<&Value> =
        objects.iter().filter(|object| text(object, "/kind") == "ClusterRole").collect();
    roles.sort_by_key(|role| document::meta_str(role, "name"));
    roles
}

/// The repaired object; `None` if the stored one may stay.
fn repair(stored: Option<&Value>, default: &Value) -> Option<Value> {
    let Some(stored) = stored else { return Some(default.clone()) };
    let annotation =
        document::metadata(stored).and_then(|meta| meta.get("annotations")?.get(AUTO_UPDATE));
    if annotation.and_then(Value::as_str) == Some("false") {
        return None;
    }
    // The role of a binding is immutable: the binding is recreated.
    if stored.get("roleRef") != default.get("roleRef") {
        return Some(default.clone());
    }
    let mut repaired = stored.clone();
    for field in ["labels", "annotations"] {
        for (key, value) in default["metadata"][field].as_object().into_iter().flatten() {
            repaired["metadata"][field][key] = value.clone();
        }
    }
    add_missing(&mut repaired, default, "subjects");
    if default.get("aggregationRule").is_none() {
        let missing = rules::missing(&Rule::of_role(stored), &Rule::of_role(default));
        let missing: Vec<Value> = rules::compact(missing).iter().map(Rule::to_json).collect();
        append(&mut repaired, "rules", missing);
    } else if let Some(rule) = repaired.get_mut("aggregationRule").filter(|rule| rule.is_object()) {
        add_missing(rule, &default["aggregationRule"], "clusterRoleSelectors");
    } else {
        repaired["aggregationRule"] = default["aggregationRule"].clone();
    }
    (repaired != *stored).then_some(repaired)
}

fn add_missing(object: &mut Value, default: &Value, field: &str) {
    let pointer = format!("/{field}");
    let held = list(object, &pointer);
    let missing =
        list(default, &pointer).iter().filter(|item| !held.contains(item)).cloned().collect();
    append(object, field, missing);
}

fn append(object: &mut Value, field: &str, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    let mut all = list(object, &format!("/{field}")).to_vec();
    all.extend(items);
    object[field] = all.into();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default(name: &str) -> Value {
        roles::all().into_iter().find(|object| document::meta_str(object, "name") == name).unwrap()
    }

    #[test]
    fn what_is_missing_comes_back_and_what_was_added_stays() {
        let check =
            |name: &str, change: &dyn Fn(&mut Value), want: &dyn Fn(&Value, &Value) -> bool| {
                let default = default(name);
                let mut stored = default.clone();
                change(&mut stored);
                let repaired = repair(Some(&stored), &default).unwrap_or_else(|| stored.clone());
                assert!(want(&repaired, &default), "{repaired:#}");
            };
        let same = |repaired: &Value, default: &Value| repaired == default;
        check("system:node", &|_| {}, &same);
        check("system:node", &|role| role["metadata"]["labels"] = json!({}), &same);
        check("system:node", &|role| role["rules"] = Value::Null, &|repaired, default| {
            rules::missing(&Rule::of_role(repaired), &Rule::of_role(default)).is_empty()
        });
        check("system:basic-user", &|role| role["rules"] = json!([]), &|repaired, _| {
            list(repaired, "/rules").len() == 3
        });
        let more = json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]});
        check(
            "system:discovery",
            &|role| append(role, "rules", vec![more.clone()]),
            &|repaired, _| list(repaired, "/rules").contains(&more),
        );
        check("edit", &|role| role["aggregationRule"] = Value::Null, &same);
        check(
            "view",
            &|role| role["aggregationRule"]["clusterRoleSelectors"] = json!([{}]),
            &|repaired, _| list(repaired, "/aggregationRule/clusterRoleSelectors").len() == 2,
        );
        let off = |role: &mut Value| {
            role["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
            role["rules"] = json!([]);
        };
        check("system:discovery", &off, &|repaired, _| list(repaired, "/rules").is_empty());
        let give = |binding: &mut Value| binding["roleRef"]["name"] = json!("cluster-admin");
        check("system:discovery", &|_| {}, &same);
        let mut stolen = binding_of("system:basic-user");
        give(&mut stolen);
        assert_eq!(
            repair(Some(&stolen), &binding_of("system:basic-user")),
            Some(binding_of("system:basic-user"))
        );
    }

    fn binding_of(name: &str) -> Value {
        let binding = |object: &Value| {
            text(object, "/kind") == "ClusterRoleBinding"
                && document::meta_str(object, "name") == name
        };
        roles::all().into_iter().find(binding).unwrap()
    }

    #[test]
    fn every_default_is_valid_and_every_binding_has_its_role() {
        let all = roles::all();
        for object in &all {
            let kind =
                registry::built_in().iter().find(|row| row.kind == text(object, "/kind")).unwrap();
            let errors = kind.strategy.validate(object);
            assert!(errors.is_empty(), "{errors}");
            let role = text(object, "/roleRef/name");
            assert!(
                role.is_empty()
                    || by_name(&all).iter().any(|one| document::meta_str(one, "name") == role),
                "{role}"
            );
        }
    }
}
