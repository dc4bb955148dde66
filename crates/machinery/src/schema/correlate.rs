//! Which part of an old object a part of the new one replaces.
//!
//! Members are found by their names and items by the keys of their list. Items of other lists
//! cannot be found: a list without keys is the same as a whole or not at all.

use std::collections::HashMap;

use serde_json::Value;

use super::Schema;
use super::node::{ListType, Node};
use crate::json;

/// The items of an old list by their keys: each is looked up once per new item.
#[derive(Debug, Default)]
pub(super) struct Items<'a> {
    keys: &'a [String],
    items: HashMap<Vec<Option<&'a Value>>, &'a Value>,
}

impl<'a> Items<'a> {
    /// Reads a list; nothing is found in one without keys.
    pub(super) fn of(node: &'a Node, old: Option<&'a Value>) -> Self {
        let (ListType::Map(keys), Some(Value::Array(old))) = (&node.list, old) else {
            return Self::default();
        };
        let mut items = HashMap::with_capacity(old.len());
        for item in old {
            items.entry(key(keys, item)).or_insert(item);
        }
        Self { keys, items }
    }

    /// The old item with the keys of a new one.
    pub(super) fn get(&self, new: &Value) -> Option<&'a Value> {
        if self.items.is_empty() {
            return None;
        }
        self.items.get(&key(self.keys, new)).copied()
    }
}

fn key<'a>(keys: &[String], item: &'a Value) -> Vec<Option<&'a Value>> {
    keys.iter().map(|key| item.get(key)).collect()
}

/// The old item with the keys of a new one, where only one is looked up.
fn item<'a>(node: &Node, new: &Value, old: Option<&'a Value>) -> Option<&'a Value> {
    let ListType::Map(keys) = &node.list else { return None };
    let same = |old: &&Value| keys.iter().all(|key| old.get(key) == new.get(key));
    old?.as_array()?.iter().find(same)
}

impl Schema<'_> {
    /// Whether two objects have the same at a path such as `spec.list[0].name`. Items of lists are
    /// found as [`Schema::check_custom`] finds them. `None` where the path does not exist.
    pub fn is_same_at(self, path: &str, new: &Value, old: &Value) -> Option<bool> {
        let (mut new, mut old, mut schema) = (new, Some(old), Some(self));
        for step in steps(path) {
            match step {
                Step::Member(name) => {
                    new = new.get(name)?;
                    old = old.and_then(|old| old.get(name));
                    schema = schema.and_then(|schema| schema.member(name));
                }
                Step::Item(index) => {
                    new = new.get(index)?;
                    old = schema.and_then(|schema| item(schema.node(), new, old));
                    schema = schema.and_then(Schema::item);
                }
            }
        }
        Some(old.is_some_and(|old| json::equal(old, new)))
    }
}

enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let parts = path.split(['.', '[']).filter(|part| !part.is_empty());
    parts.map(|part| match part.strip_suffix(']') {
        Some(inside) => match inside.parse() {
            Ok(index) => Step::Item(index),
            Err(_) => Step::Member(inside.trim_matches(['\'', '"'])),
        },
        None => Step::Member(part),
    })
}
