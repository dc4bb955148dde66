//! Structural schemas: what a value at each place of an object may be, and what is to be done where it is something else.
//!
//! One walker serves custom resources and built-in kinds. [`Schema::check`] speaks of types, enums, bounds and required fields as the
//! validator of custom resources does; [`Schema::decode_problem`] tells of wrong types as Go's decoder tells them of built-in kinds;
//! [`Schema::unknown_fields`] and [`Schema::prune`] name and drop the fields that a kind does not have; [`Schema::zero_nulls`] makes of
//! null what Go's decoder makes of it. [`kubernetes`] has the schemas of the built-in kinds.
//!
//! Never reads a schema before it is asked for: a server that only ever sees MXJobs never parses a pod's.
//!
//! ```
//! use mxjob_machinery::schema::kubernetes;
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
//! # Ok::<(), &str>(())
//! ```

mod base64;
mod check;
mod decode;
mod definitions;
mod go_types;
pub mod kubernetes;
mod node;
mod trail;
mod unknown;
mod zero;

pub(crate) use check::type_error;
pub(crate) use decode::time_problem;
pub use definitions::{Definitions, REFERENCE};
pub use node::{Kind, Node, QUANTITY_PATTERN};
pub use trail::{Trail, member};

use serde_json::Value;

/// A schema to walk along with a value: one place of it, with the definitions that it refers to.
#[derive(Clone, Copy, Debug)]
pub struct Schema<'a> {
    node: &'a Node,
    /// The definition that stands here, where one does.
    name: Option<&'a str>,
    definitions: &'a Definitions,
}

// === impl Schema ===

impl<'a> Schema<'a> {
    /// A schema that refers to nothing.
    pub fn new(node: &'a Node) -> Self {
        Self { node, name: None, definitions: &definitions::NONE }
    }

    /// What a value here may be.
    pub fn kind(self) -> &'a Kind {
        &self.node.0
    }

    /// The place of a member of an object.
    pub fn member(self, name: &str) -> Option<Self> {
        match self.kind() {
            Kind::Object { fields, entries, .. } => {
                fields.get(name).or(entries.as_deref()).map(|node| self.at(node))
            }
            _ => None,
        }
    }

    /// The place of the items of a list.
    pub fn item(self) -> Option<Self> {
        match self.kind() {
            Kind::Array(item) => Some(self.at(item)),
            _ => None,
        }
    }

    /// A place below; a reference is followed, and its definition read if this is the first time.
    fn at(self, node: &'a Node) -> Self {
        let found = match &node.0 {
            Kind::Reference(name) => self.definitions.schema(name),
            _ => None,
        };
        found.unwrap_or(Self { node, name: None, ..self })
    }

    /// The struct that stands here, without its package.
    fn name(self) -> Option<&'a str> {
        self.name.and_then(|name| name.rsplit('.').next())
    }

    /// The same with its package, which is the last but one part of the definition's name: `v1.PodSpec`.
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
