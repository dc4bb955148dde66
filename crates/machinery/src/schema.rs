//! Structural schemas: what a value at each place of an object may be.
//!
//! One tree ([`Node`]) and one cursor over it ([`Schema`]) serve custom resources and built-in
//! kinds. [`Schema::check`] and [`Schema::check_custom`] report types, bounds, patterns and
//! required fields as upstream's validator does; [`Schema::decode_problem`] reports wrong types as
//! Go's decoder does for built-in kinds; [`Schema::unknown_fields`] and [`Schema::prune`] list and
//! remove the fields that a kind does not have; [`Schema::zero_nulls`] replaces nulls as Go's
//! decoder does, [`Schema::drop_nulls`] removes them as for custom resources, and [`Schema::fill`]
//! sets defaults. [`violations`] has the rules for schemas
//! themselves. CEL is not evaluated here.
//!
//! [`kubernetes`] has the schemas of the built-in kinds. Each is parsed when it is first used: a
//! server that only sees MXJobs never parses a pod's.
//!
//! ```
//! use mxjob_machinery::schema::{Node, Schema, kubernetes};
//! use serde_json::json;
//!
//! let schema = kubernetes::kind("", "v1", "ConfigMap").ok_or("no such kind")?;
//! let mut map = json!({ "kind": "ConfigMap", "data": { "a": "1" }, "dta": {} });
//! assert_eq!(schema.unknown_fields(&map), ["dta"]);
//! schema.prune(&mut map);
//! assert_eq!(map, json!({ "kind": "ConfigMap", "data": { "a": "1" } }));
//!
//! let problem = schema.decode_problem(&json!({ "data": { "a": 1 } }));
//! assert_eq!(problem.as_deref(), Some("json: cannot unmarshal number into Go struct field ConfigMap.data of type string"));
//!
//! let node = Node::read(&json!({ "type": "object", "properties": {
//!     "spec": { "type": "object", "properties": { "size": { "type": "integer", "minimum": 1, "default": 3 } } },
//! } }));
//! let schema = Schema::new(&node);
//! let mut object = json!({ "kind": "Widget", "spec": {} });
//! schema.fill(&mut object);
//! assert_eq!(object, json!({ "kind": "Widget", "spec": { "size": 3 } }));
//! let errors = schema.check_custom(&json!({ "spec": { "size": 0 } }), None);
//! assert_eq!(errors.to_string(), "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1");
//! # Ok::<(), &str>(())
//! ```

mod base64;
mod check;
mod correlate;
mod decode;
mod defaults;
mod definitions;
mod formats;
mod go_types;
pub mod kubernetes;
mod node;
mod trail;
mod unknown;
mod violations;
mod zero;

use serde_json::Value;

pub(crate) use decode::time_problem;
pub use definitions::Definitions;
pub use node::{Entries, ListType, Node, QUANTITY_PATTERN, REFERENCE, Type};
pub use trail::{Trail, member};
pub use violations::violations;

/// A schema to walk along with a value: one place of it, with the definitions that it refers to.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    node: &'a Node,
    /// The name of the definition at this place, if it is one.
    name: Option<&'a str>,
    definitions: &'a Definitions,
}

// === impl Schema ===

impl<'a> Schema<'a> {
    /// A schema that refers to nothing.
    pub fn new(node: &'a Node) -> Self {
        Self { node, name: None, definitions: &definitions::NONE }
    }

    /// The schema at this place. A reference has been followed.
    pub fn node(self) -> &'a Node {
        self.node
    }

    /// The place of a member of an object: a field, or any entry.
    pub fn member(self, name: &str) -> Option<Self> {
        self.node.member(name).map(|node| self.at(node))
    }

    /// The place of the items of a list.
    pub fn item(self) -> Option<Self> {
        self.node.items.as_deref().map(|node| self.at(node))
    }

    /// The place of a field of an object.
    fn field(self, name: &str) -> Option<Self> {
        self.node.fields.get(name).map(|node| self.at(node))
    }

    /// The place of the entries of a map.
    fn entry(self) -> Option<Self> {
        match &self.node.entries {
            Entries::Of(node) => Some(self.at(node)),
            Entries::None | Entries::Any => None,
        }
    }

    /// A place below; a reference is followed, and its definition is parsed on the first use.
    fn at(self, node: &'a Node) -> Self {
        let found = node.reference.as_deref().and_then(|name| self.definitions.schema(name));
        found.unwrap_or(Self { node, name: None, ..self })
    }

    /// The struct that stands here, without its package.
    fn name(self) -> Option<&'a str> {
        self.name.and_then(|name| name.rsplit('.').next())
    }

    /// The same with its package, which is the last but one part of the definition's name:
    /// `v1.PodSpec`.
    fn qualified_name(self) -> Option<String> {
        let mut parts = self.name?.rsplit('.');
        let (name, package) = (parts.next()?, parts.next()?);
        Some(format!("{package}.{name}"))
    }
}

/// An integer as a JSON number: `1.0` is 1, as Kubernetes reads it.
pub fn integer(value: &Value) -> Option<i64> {
    // 2^53: beyond it a float no longer says which integer was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(integer) = value.as_i64() {
        return Some(integer);
    }
    let float = value.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
    #[allow(clippy::cast_possible_truncation)] // whole and within the exact range, checked above
    Some(float as i64)
}

#[cfg(test)]
mod tests;
