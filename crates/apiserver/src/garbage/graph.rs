//! Who owns whom: the garbage collector's picture of all stored objects, and what follows from it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::kind::Kind;
use crate::registry::Served;
use mxjob_machinery::json::{list, text};

/// An object as the collector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owners: Vec<Owner>,
    pub(super) finalizers: Vec<String>,
    pub(super) terminating: bool,
}

/// An owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) uid: String,
    pub(super) block_owner_deletion: bool,
}

/// What the collector reads of an object: nothing but metadata is kept.
///
/// What has another type than it should counts as absent: an object that were not understood would count as gone, and take its
/// dependents along.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Envelope {
    api_version: Value,
    kind: Value,
    metadata: Value,
}

/// What is to be done about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// No owner is left (or the only ones left wait for it to go).
    Delete {
        /// Whether its own dependents must go first.
        foreground: bool,
    },
    /// Some owners are gone, others stay.
    DropOwners(Vec<String>),
}

/// The picture.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// Owners that were seen going while something depended on them, until nothing does.
    departed: BTreeSet<String>,
}

/// Reads an object's uid and node; `None` for what has no uid.
pub(super) fn read(bytes: &[u8]) -> Option<(String, Node)> {
    let Envelope { api_version, kind, metadata } = serde_json::from_slice(bytes).ok()?;
    let uid = text(&metadata, "/uid").to_owned();
    (!uid.is_empty()).then(|| {
        let node = Node {
            api_version: text(&api_version, "").to_owned(),
            kind: text(&kind, "").to_owned(),
            namespace: text(&metadata, "/namespace").to_owned(),
            name: text(&metadata, "/name").to_owned(),
            owners: list(&metadata, "/ownerReferences").iter().filter_map(Owner::read).collect(),
            finalizers: list(&metadata, "/finalizers")
                .iter()
                .filter_map(|finalizer| finalizer.as_str().map(str::to_owned))
                .collect(),
            terminating: metadata.get("deletionTimestamp").is_some_and(|time| !time.is_null()),
        };
        (uid, node)
    })
}

impl Owner {
    /// `None` for one without a uid: it names nobody, and nobody can have gone.
    fn read(reference: &Value) -> Option<Self> {
        let uid = text(reference, "/uid");
        (!uid.is_empty()).then(|| Self {
            api_version: text(reference, "/apiVersion").to_owned(),
            kind: text(reference, "/kind").to_owned(),
            uid: uid.to_owned(),
            block_owner_deletion: reference.get("blockOwnerDeletion") == Some(&Value::Bool(true)),
        })
    }
}

impl Node {
    /// The registry's row; `None` for a kind that is not served.
    pub(super) fn row(&self, served: &Served) -> Option<&'static Kind> {
        served.find_kind(&self.api_version, &self.kind)
    }

    /// Whether it carries a finalizer.
    pub(super) fn holds(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|own| own == finalizer)
    }
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Takes in an object's present state.
    pub(super) fn put(&mut self, uid: &str, node: Node) {
        self.unlink(uid);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
        }
        let before = self.nodes.insert(uid.to_owned(), node);
        self.forget_owners(before.as_ref());
    }

    /// Forgets an object.
    pub(super) fn remove(&mut self, uid: &str) -> Option<Node> {
        self.unlink(uid);
        if self.dependents.contains_key(uid) {
            self.departed.insert(uid.to_owned());
        }
        let node = self.nodes.remove(uid);
        self.forget_owners(node.as_ref());
        node
    }

    /// Forgets owners that are gone and on which nothing depends any more.
    fn forget_owners(&mut self, dependent: Option<&Node>) {
        for owner in dependent.into_iter().flat_map(|node| &node.owners) {
            if !self.dependents.contains_key(&owner.uid) {
                self.departed.remove(&owner.uid);
            }
        }
    }

    fn unlink(&mut self, uid: &str) {
        for owner in self.nodes.get(uid).into_iter().flat_map(|node| &node.owners) {
            if let Some(set) = self.dependents.get_mut(&owner.uid) {
                set.remove(uid);
                if set.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }

    /// Uids of the objects that name this one as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<String> {
        self.dependents.get(uid).into_iter().flatten().cloned().collect()
    }

    /// Uids of all objects that name an owner or wait for the collector.
    pub(super) fn all(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// Whether dependents that block the owner's deletion are left.
    pub(super) fn is_blocked(&self, uid: &str) -> bool {
        self.dependents(uid).iter().filter_map(|dependent| self.nodes.get(dependent)).any(|node| {
            node.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion)
        })
    }

    /// What follows for an object from the state of its owners.
    pub(super) fn judge(&self, served: &Served, uid: &str) -> Verdict {
        let Some(node) =
            self.nodes.get(uid).filter(|node| !node.owners.is_empty() && !node.terminating)
        else {
            return Verdict::Keep;
        };
        let (mut solid, mut waiting, mut gone) = (0_usize, 0_usize, Vec::new());
        for owner in &node.owners {
            // An owner of a kind that is not served may live elsewhere: it counts as being there, unless it was seen going
            // (its definition may have gone since).
            let is_served = self.departed.contains(&owner.uid)
                || served.find_kind(&owner.api_version, &owner.kind).is_some();
            match self.nodes.get(&owner.uid) {
                Some(owner)
                    if owner.terminating && owner.holds(crate::verbs::delete::FOREGROUND) =>
                {
                    waiting += 1
                }
                Some(_) => solid += 1,
                None if is_served => gone.push(owner.uid.clone()),
                None => solid += 1,
            }
        }
        match (solid, waiting, gone.is_empty()) {
            (0, 0, _) => Verdict::Delete { foreground: false },
            (0, _, _) => Verdict::Delete { foreground: self.dependents.contains_key(uid) },
            (_, _, true) => Verdict::Keep,
            (_, _, false) => Verdict::DropOwners(gone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(owners: &[(&str, &str)], finalizers: &[&str], terminating: bool) -> Node {
        let owner = |(kind, uid): &(&str, &str)| Owner {
            api_version: "v1".to_owned(),
            kind: (*kind).to_owned(),
            uid: (*uid).to_owned(),
            block_owner_deletion: true,
        };
        Node {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            owners: owners.iter().map(owner).collect(),
            finalizers: finalizers.iter().map(|text| (*text).to_owned()).collect(),
            terminating,
        }
    }

    fn check(owners: &[(&str, &str)], want: &Verdict) {
        let mut graph = Graph::default();
        graph.put("here", node(&[], &[], false));
        graph.put("waiting", node(&[], &["foregroundDeletion"], true));
        graph.put("held", node(&[], &["example.com/x"], true));
        graph.put("it", node(owners, &[], false));
        assert_eq!(
            graph.judge(&crate::registry::Registry::new(true).served(), "it"),
            *want,
            "{owners:?}"
        );
    }

    #[test]
    fn an_object_goes_with_its_last_owner() {
        check(&[], &Verdict::Keep);
        check(&[("Pod", "here")], &Verdict::Keep);
        check(&[("Pod", "held")], &Verdict::Keep);
        check(&[("Pod", "gone")], &Verdict::Delete { foreground: false });
        check(&[("Widget", "gone")], &Verdict::Keep);
        check(&[("Pod", "here"), ("Pod", "gone")], &Verdict::DropOwners(vec!["gone".to_owned()]));
        check(&[("Pod", "waiting")], &Verdict::Delete { foreground: false });
        check(&[("Pod", "waiting"), ("Pod", "here")], &Verdict::Keep);
    }

    #[test]
    fn an_owner_that_was_seen_going_is_gone_whatever_its_kind() {
        let mut graph = Graph::default();
        let served = crate::registry::Registry::new(true).served();
        graph.put("widget", node(&[], &[], false));
        graph.put("it", node(&[("Widget", "widget")], &[], false));
        graph.remove("widget");
        // It may change meanwhile.
        graph.put("it", node(&[("Widget", "widget")], &["example.com/x"], false));
        assert_eq!(graph.judge(&served, "it"), Verdict::Delete { foreground: false });
        graph.remove("it");
        assert!(graph.departed.is_empty());
    }

    #[test]
    fn an_object_counts_as_there_whatever_is_in_it() {
        for metadata in [
            serde_json::json!({"ownerReferences": [null, 5, {}], "finalizers": [null, 5, "a"]}),
            serde_json::json!({"ownerReferences": 5, "finalizers": ["a"], "labels": [], "name": 5}),
            serde_json::json!({"ownerReferences": null, "finalizers": ["a"], "namespace": {}}),
        ] {
            let mut object = serde_json::json!({"kind": null, "metadata": metadata, "spec": 5});
            object["metadata"]["uid"] = "u".into();
            let (uid, node) = read(object.to_string().as_bytes()).unwrap();
            assert_eq!(
                (uid.as_str(), node.finalizers.as_slice()),
                ("u", ["a".to_owned()].as_slice())
            );
            // Nobody is named as its owner, so none has gone.
            assert_eq!(node.owners, []);
        }
    }

    #[test]
    fn links_follow_changes_of_owners() {
        let mut graph = Graph::default();
        graph.put("a", node(&[("Pod", "x")], &[], false));
        assert!(graph.is_blocked("x"));
        graph.put("a", node(&[("Pod", "y")], &[], false));
        assert!(graph.dependents("x").is_empty());
        assert_eq!(graph.dependents("y"), ["a"]);
        graph.remove("a");
        assert!(graph.dependents("y").is_empty() && !graph.is_blocked("y"));
    }
}
