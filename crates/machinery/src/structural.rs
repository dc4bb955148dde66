//! Structural schemas: what a CustomResourceDefinition says of its objects, in full.
//!
//! [`crate::schema`] knows as much of a schema as the built-in kinds need. This module knows all that a definition can say
//! save CEL: types, bounds, patterns, alternatives, defaults, what is pruned, how lists are merged. Messages are those of
//! upstream's validator (kube-openapi, `apiextensions-apiserver`).
//!
//! Owns the tree that is walked along with an object, and the rules for schemas themselves ([`violations`]). Never
//! evaluates CEL and never looks into `metadata`, which is the same for all kinds.
//!
//! ```
//! use mxjob_machinery::structural::Structural;
//! use serde_json::json;
//!
//! let schema = Structural::read(&json!({ "type": "object", "properties": {
//!     "spec": { "type": "object", "properties": { "size": { "type": "integer", "minimum": 1, "default": 3 } } },
//! } }));
//! let mut object = json!({ "kind": "Widget", "spec": { "siez": 2 } });
//! assert_eq!(schema.unknown_fields(&object), ["spec.siez"]);
//! schema.prune(&mut object);
//! schema.fill(&mut object);
//! assert_eq!(object, json!({ "kind": "Widget", "spec": { "size": 3 } }));
//! let errors = schema.check(&json!({ "spec": { "size": 0 } }), None);
//! assert_eq!(errors.to_string(), "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1");
//! ```

mod check;
mod correlate;
mod definition;
mod fields;
mod formats;
mod node;

pub use definition::violations;
pub use node::{Entries, ListType, Node, Type};

use serde_json::Value;

use crate::field::{Errors, Path};

/// The schema of a kind, read.
#[derive(Debug)]
pub struct Structural {
    root: Node,
}

// === impl Structural ===

impl Structural {
    /// Reads a schema. What [`violations`] would complain of means nothing here.
    pub fn read(schema: &Value) -> Self {
        Self { root: Node::read(schema) }
    }

    /// The place of the whole object.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The paths of all unknown fields of an object, as `spec.containers[0].nope`. Its `metadata` is not looked into.
    pub fn unknown_fields(&self, object: &Value) -> Vec<String> {
        fields::unknown(object, &self.root)
    }

    /// Removes all unknown fields of an object, but none from its `metadata`.
    pub fn prune(&self, object: &mut Value) {
        fields::prune(object, &self.root);
    }

    /// Sets what the schema has a default for and the object lacks. A null where there is a default and may be no null counts as
    /// lacking.
    pub fn fill(&self, object: &mut Value) {
        fields::fill(object, &self.root);
    }

    /// What is wrong with an object. Of one that takes the place of another, only what has changed is looked at.
    pub fn check(&self, object: &Value, old: Option<&Value>) -> Errors {
        let mut errors = Errors::new();
        check::check(object, old, &self.root, &Path::default(), &mut errors);
        errors
    }

    /// Whether what is at a path is the same in two objects. Items of lists are found as [`Self::check`] finds them: by
    /// their keys where the list has some. `None` where the path leads nowhere.
    pub fn is_same_at(&self, path: &str, new: &Value, old: &Value) -> Option<bool> {
        correlate::is_same_at(path, new, old, &self.root)
    }
}

#[cfg(test)]
mod tests;
