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
    /// Some owners are gone or wait for this object to go, others stay.
    DropOwners(Vec<String>),
}

/// The graph.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    /// Owners that do not exist any more, by uid, until nothing depends on them.
    absent: BTreeMap<String, Absence>,
}

/// What is known not to exist.
#[derive(Debug)]
enum Absence {
    /// The object of that uid was deleted.
    Deleted,
    /// These references lead to no object. Another reference with the uid may be right, since
    /// users write references.
    Dangling(BTreeSet<Reference>),
}

/// Where a reference to an owner leads.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    api_version: String,
    kind: String,
    name: String,
    namespace: String,
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

impl Owner {
    fn reference(&self, namespace: &str) -> Reference {
        Reference {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            name: self.name.clone(),
            namespace: namespace.to_owned(),
        }
    }
}

impl Node {
    pub(super) fn path(&self) -> String {
        self.resource.object_path(&self.namespace, &self.name)
    }

    /// Whether it is deleted once its dependents are gone.
    fn waits(&self) -> bool {
        self.terminating && self.holds(FOREGROUND)
    }

    /// The owners whose deletion waits for this object.
    fn blocked_owners(&self) -> impl Iterator<Item = &str> {
        let blocked = self.owners.iter().filter(|owner| owner.block_owner_deletion);
        blocked.map(|owner| owner.uid.as_str())
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

    /// Takes in an object's present state. Returns the owners that it blocked before and does not
    /// block any more.
    pub(super) fn put(&mut self, uid: &str, node: Node) -> Vec<String> {
        self.unlink(uid);
        for owner in &node.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
        }
        let blocked: BTreeSet<&str> = node.blocked_owners().collect();
        let before = self.nodes.get(uid).into_iter().flat_map(Node::blocked_owners);
        let freed = before.filter(|owner| !blocked.contains(owner)).map(str::to_owned).collect();
        let before = self.nodes.insert(uid.to_owned(), node);
        self.forget_owners(before.as_ref());
        freed
    }

    /// Forgets an object.
    pub(super) fn remove(&mut self, uid: &str) -> Option<Node> {
        self.unlink(uid);
        if self.dependents.contains_key(uid) {
            self.absent.insert(uid.to_owned(), Absence::Deleted);
        }
        let node = self.nodes.remove(uid);
        self.forget_owners(node.as_ref());
        node
    }

    /// Records that the reference of an object in the namespace leads to no object.
    pub(super) fn mark_absent(&mut self, owner: &Owner, namespace: &str) {
        if !self.dependents.contains_key(&owner.uid) {
            return;
        }
        let absence = self.absent.entry(owner.uid.clone());
        let absence = absence.or_insert_with(|| Absence::Dangling(BTreeSet::new()));
        if let Absence::Dangling(references) = absence {
            references.insert(owner.reference(namespace));
        }
    }

    fn is_absent(&self, owner: &Owner, namespace: &str) -> bool {
        match self.absent.get(&owner.uid) {
            None => false,
            Some(Absence::Deleted) => true,
            Some(Absence::Dangling(references)) => references.contains(&owner.reference(namespace)),
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
        let with = nodes.filter(|(_, node)| {
            node.owners.iter().any(|owner| self.is_unknown(owner, &node.namespace))
        });
        with.map(|(uid, _)| uid.clone()).collect()
    }

    /// The owners of an object of which nothing is known: the API has to be asked for them.
    pub(super) fn unknown_owners(&self, uid: &str) -> Vec<Owner> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        let owners = node.owners.iter();
        owners.filter(|owner| self.is_unknown(owner, &node.namespace)).cloned().collect()
    }

    fn is_unknown(&self, owner: &Owner, namespace: &str) -> bool {
        !self.nodes.contains_key(&owner.uid) && !self.is_absent(owner, namespace)
    }

    /// The dependents that block the owner's deletion.
    fn blockers<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let dependents = self.dependents.get(uid).into_iter().flatten();
        let known = dependents.filter_map(|uid| Some((uid.as_str(), self.nodes.get(uid)?)));
        known.filter(move |(_, node)| node.blocked_owners().any(|owner| owner == uid))
    }

    /// Whether dependents that block the owner's deletion are left.
    pub(super) fn is_blocked(&self, uid: &str) -> bool {
        self.blockers(uid).next().is_some()
    }

    /// Whether an object that waits for its dependents waits for itself, through dependents that
    /// wait for theirs.
    pub(super) fn is_circle(&self, uid: &str) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![uid]);
        while let Some(owner) = next.pop() {
            for (blocker, node) in self.blockers(owner) {
                if blocker == uid {
                    return true;
                }
                if node.waits() && seen.insert(blocker) {
                    next.push(blocker);
                }
            }
        }
        false
    }

    /// What to do with an object, given the state of its owners. An owner of which nothing is known
    /// counts as existing.
    pub(super) fn verdict(&self, uid: &str) -> Verdict {
        let Some(node) =
            self.nodes.get(uid).filter(|node| !node.owners.is_empty() && !node.terminating)
        else {
            return Verdict::Keep;
        };
        let (mut solid, mut waiting, mut gone) = (0_usize, Vec::new(), Vec::new());
        for owner in &node.owners {
            match self.nodes.get(&owner.uid) {
                Some(it) if it.waits() => waiting.push(owner.uid.clone()),
                None if self.is_absent(owner, &node.namespace) => gone.push(owner.uid.clone()),
                _ => solid += 1,
            }
        }
        if solid == 0 {
            let foreground = !waiting.is_empty() && self.dependents.contains_key(uid);
            return Verdict::Delete { foreground };
        }
        // An owner that waits would wait for ever for an object that stays.
        gone.append(&mut waiting);
        if gone.is_empty() { Verdict::Keep } else { Verdict::DropOwners(gone) }
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
        for owner in node(&[("Pod", "gone")], &[], false).owners {
            graph.mark_absent(&owner, "n");
        }
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
        check(
            &[("Pod", "waiting"), ("Pod", "here"), ("Pod", "gone")],
            &Verdict::DropOwners(vec!["gone".to_owned(), "waiting".to_owned()]),
        );
        check(&[("Pod", "waiting"), ("Pod", "gone")], &Verdict::Delete { foreground: false });
    }

    #[test]
    fn a_wrong_reference_says_nothing_about_a_right_one() {
        let mut graph = Graph::default();
        let wrong = node(&[("Pod", "u")], &[], false);
        graph.mark_absent(&wrong.owners[0], "n");
        graph.put("wrong", wrong.clone());
        graph.mark_absent(&wrong.owners[0], "n");
        graph.put("right", node(&[("Widget", "u")], &[], false));
        graph.put("elsewhere", Node { namespace: "m".to_owned(), ..wrong });
        assert_eq!(graph.verdict("wrong"), Verdict::Delete { foreground: false });
        for uid in ["right", "elsewhere"] {
            assert_eq!(graph.verdict(uid), Verdict::Keep);
            assert_eq!(graph.unknown_owners(uid).len(), 1);
        }
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
    fn circles_of_waiting_objects_are_found() {
        let waiting = |owner: &str| node(&[("Pod", owner)], &["foregroundDeletion"], true);
        let mut graph = Graph::default();
        graph.put("self", waiting("self"));
        graph.put("a", waiting("c"));
        graph.put("b", waiting("a"));
        graph.put("c", node(&[("Pod", "b")], &["foregroundDeletion"], false));
        // Waits for the circle, and is not in it.
        graph.put("above", waiting("none"));
        graph.put("a2", waiting("above"));
        let found =
            |graph: &Graph| ["self", "a", "b", "c", "above", "a2"].map(|uid| graph.is_circle(uid));
        // Not yet: one of them does not wait.
        assert_eq!(found(&graph), [true, false, false, true, false, false]);
        graph.put("c", waiting("b"));
        assert_eq!(found(&graph), [true, true, true, true, false, false]);
        let mut unblocked = waiting("a");
        unblocked.owners[0].block_owner_deletion = false;
        assert_eq!(graph.put("b", unblocked), ["a"]);
        assert_eq!(found(&graph), [true, false, false, false, false, false]);
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
