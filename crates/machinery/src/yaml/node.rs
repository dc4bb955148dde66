//! A YAML document as a tree with the line of every value, so that errors can name the line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use super::scalar;
use crate::go;

/// The key that merges another map into its own.
const MERGE: &str = "<<";

/// A value and the line where it begins.
#[derive(Debug, Clone)]
pub struct Node {
    /// Counted from 1; 0 if unknown.
    pub line: u64,
    /// The content.
    pub tree: Tree,
}

/// The content of a value.
#[derive(Debug, Clone)]
pub enum Tree {
    /// A string, number, boolean or null.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file. A key may occur more than once; its last value counts.
    Map(Vec<(Key, Node)>),
}

/// A key and its line.
#[derive(Debug, Clone)]
pub struct Key {
    /// Counted from 1; 0 if unknown.
    pub line: u64,
    /// The key as JSON has it: always a string.
    pub name: String,
    /// It came from a map that `<<` names.
    pub is_merged: bool,
}

/// Two values for one key of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The line of the later one.
    pub line: u64,
    /// The line of the earlier one.
    pub earlier: u64,
    /// The key.
    pub key: String,
    /// The later one comes from a map that `<<` names.
    pub is_merged: bool,
}

// === impl Node ===

impl Node {
    /// Whether it is null, as an empty document is.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.tree, Tree::Scalar(Value::Null))
    }

    /// A value all of whose parts are in one line.
    pub(super) fn without_lines(value: Value, line: u64) -> Self {
        let tree = match value {
            Value::Array(items) => {
                Tree::List(items.into_iter().map(|item| Self::without_lines(item, line)).collect())
            }
            Value::Object(fields) => Tree::Map(
                fields
                    .into_iter()
                    .map(|(name, value)| {
                        let key = Key { line, name, is_merged: false };
                        (key, Self::without_lines(value, line))
                    })
                    .collect(),
            ),
            scalar => Tree::Scalar(scalar),
        };
        Self { line, tree }
    }

    /// The same value that many lines further down.
    pub(super) fn moved(mut self, lines: u64) -> Self {
        if lines == 0 {
            return self;
        }
        self.line += lines;
        self.tree = match self.tree {
            Tree::List(items) => {
                Tree::List(items.into_iter().map(|item| item.moved(lines)).collect())
            }
            Tree::Map(entries) => Tree::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| (Key { line: key.line + lines, ..key }, node.moved(lines)))
                    .collect(),
            ),
            scalar @ Tree::Scalar(_) => scalar,
        };
        self
    }

    /// The value alone.
    pub fn value(&self) -> Value {
        match &self.tree {
            Tree::Scalar(value) => value.clone(),
            Tree::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Tree::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| (key.name.clone(), node.value()));
                Value::Object(Map::from_iter(entries))
            }
        }
    }

    /// The line of a field by its JSON path (`spec.a[0].b`), or of its nearest existing parent.
    pub fn line_of(&self, path: &str) -> u64 {
        let mut node = self;
        let mut line = self.line;
        for step in steps(path) {
            let found = match &node.tree {
                Tree::Map(_) => node.entry(step).map(|(key, node)| (key.line, node)),
                Tree::List(items) => step
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get(index))
                    .map(|node| (node.line, node)),
                Tree::Scalar(_) => None,
            };
            let Some((at, next)) = found else { break };
            if at > 0 {
                line = at;
            }
            node = next;
        }
        line
    }

    /// The entries of a map.
    pub fn entries(&self) -> Option<&[(Key, Self)]> {
        match &self.tree {
            Tree::Map(entries) => Some(entries),
            Tree::Scalar(_) | Tree::List(_) => None,
        }
    }

    /// The field of a map that counts.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|(_, node)| node)
    }

    fn entry(&self, name: &str) -> Option<&(Key, Self)> {
        self.entries()?.iter().rev().find(|(key, _)| key.name == name)
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Self]> {
        match &self.tree {
            Tree::List(items) => Some(items),
            Tree::Scalar(_) | Tree::Map(_) => None,
        }
    }

    /// The first key that has two values: it is set twice, or it is set before a `<<` whose map
    /// has it too. A key after `<<` overrides the merged one, as it should.
    pub fn conflict(&self) -> Option<Conflict> {
        match &self.tree {
            Tree::Scalar(_) => None,
            Tree::List(items) => items.iter().find_map(Self::conflict),
            Tree::Map(entries) => conflict_of(entries)
                .or_else(|| entries.iter().find_map(|(_, node)| node.conflict())),
        }
    }
}

fn conflict_of(entries: &[(Key, Node)]) -> Option<Conflict> {
    let mut direct = std::collections::HashMap::new();
    for (key, _) in entries {
        if let Some(&earlier) = direct.get(key.name.as_str()) {
            return Some(Conflict {
                line: key.line,
                earlier,
                key: key.name.clone(),
                is_merged: key.is_merged,
            });
        }
        if !key.is_merged {
            direct.insert(key.name.as_str(), key.line);
        }
    }
    None
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Self {
        // For an alias, the line of the anchored value, because that is the line to edit.
        Self { line: spanned.defined.line(), tree: spanned.value }
    }
}

/// The steps of `spec.mxReplicaSpecs[Worker].template.spec.containers[0]`. A key in brackets may
/// contain dots.
fn steps(path: &str) -> Vec<&str> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        rest = if let Some(inside) = rest.strip_prefix('[') {
            let (step, after) = inside.split_once(']').unwrap_or((inside, ""));
            steps.push(step);
            after
        } else {
            let plain = rest.strip_prefix('.').unwrap_or(rest);
            let end = plain.find(['.', '[']).unwrap_or(plain.len());
            let (step, after) = plain.split_at(end);
            steps.push(step);
            after
        };
    }
    steps
}

// === impl Tree ===

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tree, E> {
        let number = Number::from_f64(value)
            .ok_or_else(|| E::custom("a number that JSON cannot represent"))?;
        Ok(Tree::Scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Tree>>()? {
            items.push(item.into());
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Tree>>()? {
            let node: Node = access.next_value::<Spanned<Tree>>()?.into();
            let name = key_text(&key.value).map_err(A::Error::custom)?;
            if name == MERGE {
                merge(node, &mut entries).map_err(A::Error::custom)?;
            } else {
                let line = key.referenced.line();
                entries.push((Key { line, name, is_merged: false }, node));
            }
        }
        Ok(Tree::Map(entries))
    }
}

/// A key as JSON has it.
fn key_text(key: &Tree) -> Result<String, String> {
    match key {
        Tree::Scalar(Value::String(text)) => Ok(text.clone()),
        Tree::Scalar(Value::Bool(value)) => Ok(value.to_string()),
        Tree::Scalar(Value::Number(number)) => Ok(scalar::number(number)),
        Tree::Scalar(_) => Err("a key of a map is null".to_owned()),
        Tree::List(_) | Tree::Map(_) => Err("a key of a map is a list or a map".to_owned()),
    }
}

/// Adds the entries of the map, or of the list of maps, that `<<` names. Of several maps the first
/// one counts, and so it comes last. They override what was there before, as Kubernetes reads YAML.
fn merge(node: Node, into: &mut Vec<(Key, Node)>) -> Result<(), String> {
    match node.tree {
        Tree::Map(entries) => {
            into.extend(
                entries.into_iter().map(|(key, node)| (Key { is_merged: true, ..key }, node)),
            );
            Ok(())
        }
        Tree::List(maps) if maps.iter().all(|map| map.entries().is_some()) => {
            maps.into_iter().rev().try_for_each(|map| merge(map, into))
        }
        Tree::List(_) | Tree::Scalar(_) => {
            Err(format!("the value of {} is not a map", go::quote(MERGE)))
        }
    }
}
