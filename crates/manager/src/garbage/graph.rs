//! Who owns whom: a graph of all objects, and what follows from it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mxjob_machinery::json::{list, text};
use serde_json::Value;

use super::resource::Resource;

/// The finalizer of an object that waits until its dependents are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object that waits until its dependents no longer refer to it.
pub(super) const ORPHAN: &str = "orphan";

/// What is kept of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) resource: Arc<Resource>,
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
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) block_owner_deletion: bool,
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

/// The graph.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// Owners that do not exist any more, until nothing depends on them.
    absent: BTreeSet<String>,
}

/// Reads an object's uid and node; `None` for an object without uid.
///
/// A field of another type counts as absent: an object that cannot be read must not count as
/// deleted, because its dependents would be deleted.
pub(super) fn read(resource: &Arc<Resource>, object: &Value) -> Option<(String, Node)> {
    let uid = text(object, "/metadata/uid").to_owned();
    (!uid.is_empty()).then(|| {
        let finalizers = list(object, "/metadata/finalizers").iter();
        let time = object.pointer("/metadata/deletionTimestamp");
        let node = Node {
            resource: Arc::clone(resource),
            namespace: text(object, "/metadata/namespace").to_owned(),
            name: text(object, "/metadata/name").to_owned(),
            owners: list(object, "/metadata/ownerReferences")
                .iter()
                .filter_map(Owner::read)
                .collect(),
            finalizers: finalizers.filter_map(|it| it.as_str().map(str::to_owned)).collect(),
            terminating: time.is_some_and(|time| !time.is_null()),
        };
        (uid, node)
    })
}

impl Owner {
    /// `None` for a reference without a uid, which refers to no object.
    fn read(reference: &Value) -> Option<Self> {
        let uid = text(reference, "/uid");
        (!uid.is_empty()).then(|| Self {
            api_version: text(reference, "/apiVersion").to_owned(),
            kind: text(reference, "/kind").to_owned(),
            name: text(reference, "/name").to_owned(),
            uid: uid.to_owned(),
            block_owner_deletion: reference.get("blockOwnerDeletion") == Some(&Value::Bool(true)),
        })
    }
}

impl Node {
    pub(super) fn path(&self) -> String {
        self.resource.object_path(&self.namespace, &self.name)
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
        self.mark_absent(uid);
        let node = self.nodes.remove(uid);
        self.forget_owners(node.as_ref());
        node
    }

    /// Records that an owner does not exist any more.
    pub(super) fn mark_absent(&mut self, uid: &str) {
        if self.dependents.contains_key(uid) {
            self.absent.insert(uid.to_owned());
        }
    }

    /// Forgets owners that are gone and on which nothing depends any more.
    fn forget_owners(&mut self, dependent: Option<&Node>) {
        for owner in dependent.into_iter().flat_map(|node| &node.owners) {
            if !self.dependents.contains_key(&owner.uid) {
                self.absent.remove(&owner.uid);
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

    /// Uids of the objects of a resource.
    pub(super) fn of_resource(&self, id: &str) -> Vec<String> {
        let of_it = self.nodes.iter().filter(|(_, node)| node.resource.id == id);
        of_it.map(|(uid, _)| uid.clone()).collect()
    }

    /// Uids of the objects with an owner of which nothing is known.
    pub(super) fn with_unknown_owners(&self) -> Vec<String> {
        let nodes = self.nodes.iter();
        let with = nodes.filter(|(_, node)| node.owners.iter().any(|owner| self.is_unknown(owner)));
        with.map(|(uid, _)| uid.clone()).collect()
    }

    /// The owners of an object of which nothing is known: the API has to be asked for them.
    pub(super) fn unknown_owners(&self, uid: &str) -> Vec<Owner> {
        let owners = self.nodes.get(uid).into_iter().flat_map(|node| &node.owners);
        owners.filter(|owner| self.is_unknown(owner)).cloned().collect()
    }

    fn is_unknown(&self, owner: &Owner) -> bool {
        !self.nodes.contains_key(&owner.uid) && !self.absent.contains(&owner.uid)
    }

    /// Whether dependents that block the owner's deletion are left.
    pub(super) fn is_blocked(&self, uid: &str) -> bool {
        self.dependents(uid).iter().filter_map(|dependent| self.nodes.get(dependent)).any(|node| {
            node.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion)
        })
    }

    /// What to do with an object, given the state of its owners. An owner of which nothing is known
    /// counts as existing.
    pub(super) fn verdict(&self, uid: &str) -> Verdict {
        let Some(node) =
            self.nodes.get(uid).filter(|node| !node.owners.is_empty() && !node.terminating)
        else {
            return Verdict::Keep;
        };
        let (mut solid, mut waiting, mut gone) = (0_usize, 0_usize, Vec::new());
        for owner in &node.owners {
            match self.nodes.get(&owner.uid) {
                Some(owner) if owner.terminating && owner.holds(FOREGROUND) => waiting += 1,
                None if self.absent.contains(&owner.uid) => gone.push(owner.uid.clone()),
                _ => solid += 1,
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
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn pods() -> Arc<Resource> {
        Arc::new(Resource {
            id: "pods".to_owned(),
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            plural: "pods".to_owned(),
            namespaced: true,
        })
    }

    fn node(owners: &[(&str, &str)], finalizers: &[&str], terminating: bool) -> Node {
        let owner = |(kind, uid): &(&str, &str)| Owner {
            api_version: "v1".to_owned(),
            kind: (*kind).to_owned(),
            name: "o".to_owned(),
            uid: (*uid).to_owned(),
            block_owner_deletion: true,
        };
        Node {
            resource: pods(),
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
        graph.mark_absent("gone");
        assert_eq!(graph.verdict("it"), *want, "{owners:?}");
    }

    #[test]
    fn an_object_goes_with_its_last_owner() {
        check(&[], &Verdict::Keep);
        check(&[("Pod", "here")], &Verdict::Keep);
        check(&[("Pod", "held")], &Verdict::Keep);
        check(&[("Pod", "gone")], &Verdict::Delete { foreground: false });
        check(&[("Pod", "unknown")], &Verdict::Keep);
        check(&[("Pod", "here"), ("Pod", "gone")], &Verdict::DropOwners(vec!["gone".to_owned()]));
        check(&[("Pod", "waiting")], &Verdict::Delete { foreground: false });
        check(&[("Pod", "waiting"), ("Pod", "here")], &Verdict::Keep);
    }

    #[test]
    fn a_deleted_owner_stays_absent_while_an_object_depends_on_it() {
        let mut graph = Graph::default();
        graph.put("widget", node(&[], &[], false));
        graph.put("it", node(&[("Widget", "widget")], &[], false));
        graph.remove("widget");
        // It may change meanwhile.
        graph.put("it", node(&[("Widget", "widget")], &["example.com/x"], false));
        assert_eq!(graph.verdict("it"), Verdict::Delete { foreground: false });
        graph.remove("it");
        assert!(graph.absent.is_empty());
    }

    #[test]
    fn an_object_with_invalid_metadata_counts_as_existing() {
        for metadata in [
            serde_json::json!({"ownerReferences": [null, 5, {}], "finalizers": [null, 5, "a"]}),
            serde_json::json!({"ownerReferences": 5, "finalizers": ["a"], "labels": [], "name": 5}),
            serde_json::json!({"ownerReferences": null, "finalizers": ["a"], "namespace": {}}),
        ] {
            let mut object = serde_json::json!({"kind": null, "metadata": metadata, "spec": 5});
            object["metadata"]["uid"] = "u".into();
            let (uid, node) = read(&pods(), &object).unwrap();
            assert_eq!(
                (uid.as_str(), node.finalizers.as_slice()),
                ("u", ["a".to_owned()].as_slice())
            );
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
