//! Named schemas that refer to each other, each read when it is first needed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::Schema;
use super::node::{Node, REFERENCE};

/// No definitions.
pub(super) static NONE: Definitions = Definitions { by_name: BTreeMap::new() };

/// Schemas by name.
#[derive(Debug)]
pub struct Definitions {
    by_name: BTreeMap<&'static str, Definition>,
}

#[derive(Debug)]
struct Definition {
    json: &'static str,
    node: OnceLock<Node>,
}

// === impl Definitions ===

impl Definitions {
    /// Finds the definitions in the text of a JSON object that has one member a line and nothing
    /// else in the line: so none has to be parsed in order to find another.
    pub fn of_lines(text: &'static str) -> Self {
        let definition = |line: &'static str| {
            let (name, json) = line.strip_prefix('"')?.split_once("\":")?;
            let json = json.strip_suffix(',').unwrap_or(json);
            Some((name, Definition { json, node: OnceLock::new() }))
        };
        Self { by_name: text.lines().filter_map(definition).collect() }
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.by_name.keys().copied()
    }

    /// A definition as compact JSON.
    pub fn json(&self, name: &str) -> Option<&'static str> {
        self.by_name.get(name).map(|definition| definition.json)
    }

    /// The names that a definition refers to, as often as it does.
    pub fn references(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let mut parts = self.json(name).unwrap_or_default().split(REFERENCE);
        parts.next();
        parts.filter_map(|part| part.split('"').next())
    }

    /// The schema of that name, read the first time.
    pub fn schema(&self, name: &str) -> Option<Schema<'_>> {
        let (name, definition) = self.by_name.get_key_value(name)?;
        let node = definition.node.get_or_init(|| {
            let schema = serde_json::from_str::<Value>(definition.json);
            // The text is compiled in, and a test reads all of it.
            Node::read(&schema.unwrap_or(Value::Null))
        });
        Some(Schema { node, name: Some(name), definitions: self })
    }
}
