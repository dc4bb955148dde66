//! Sets of fields, kept as a tree, and their wire form `FieldsV1`.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use crate::go;

/// One step of a path into an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A field of a struct or an entry of a map: `f:name`.
    Field(String),
    /// The item of a list with these keys, as compact JSON with sorted keys: `k:{"uid":"u-1"}`.
    Key(String),
    /// The item of a set with this value, as compact JSON: `v:"example.com/hold"`.
    Value(String),
    /// The item of a list at this place: `i:0`.
    Index(i64),
}

/// Where a field is in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub Vec<Element>);

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// No node is empty: it is a member, or something below it is.
    nodes: BTreeMap<Element, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    member: bool,
    children: Set,
}

/// A `fieldsV1` that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("decode field set: {0}")]
pub struct DecodeSetError(String);

// === impl Set ===

impl Set {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A set of plain fields, each given by its names from the root: `[&["status"]]`.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::new();
        for path in paths {
            let path: Vec<Element> =
                path.iter().map(|name| Element::Field((*name).to_owned())).collect();
            set.insert(&path);
        }
        set
    }

    /// Whether it has no member.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds a field. The root itself is no field.
    pub fn insert(&mut self, path: &[Element]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.member = true;
        } else {
            node.children.insert(rest);
        }
    }

    /// Whether a field is a member.
    pub fn contains(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.nodes.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => {
                self.nodes.get(first).is_some_and(|node| node.children.contains(rest))
            }
        }
    }

    /// What is in either.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    fn add(&mut self, other: &Self) {
        for (element, theirs) in &other.nodes {
            match self.nodes.get_mut(element) {
                Some(ours) => {
                    ours.member |= theirs.member;
                    ours.children.add(&theirs.children);
                }
                None => {
                    self.nodes.insert(element.clone(), theirs.clone());
                }
            }
        }
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |ours, theirs| Node {
            member: ours.member && !theirs.member,
            children: ours.children.difference(&theirs.children),
        })
    }

    /// What is in this one and neither in the other nor anywhere below its members.
    #[must_use]
    pub fn recursive_difference(&self, other: &Self) -> Self {
        self.combine(other, |ours, theirs| {
            if theirs.member {
                Node::default()
            } else {
                Node {
                    member: ours.member,
                    children: ours.children.recursive_difference(&theirs.children),
                }
            }
        })
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut nodes = BTreeMap::new();
        for (element, ours) in &self.nodes {
            let Some(theirs) = other.nodes.get(element) else { continue };
            let node = Node {
                member: ours.member && theirs.member,
                children: ours.children.intersection(&theirs.children),
            };
            if !node.is_empty() {
                nodes.insert(element.clone(), node);
            }
        }
        Self { nodes }
    }

    fn combine(&self, other: &Self, both: impl Fn(&Node, &Node) -> Node) -> Self {
        let mut nodes = BTreeMap::new();
        for (element, ours) in &self.nodes {
            let node = match other.nodes.get(element) {
                Some(theirs) => both(ours, theirs),
                None => ours.clone(),
            };
            if !node.is_empty() {
                nodes.insert(element.clone(), node);
            }
        }
        Self { nodes }
    }

    /// Every member, in order.
    pub fn paths(&self) -> Vec<Path> {
        let mut out = Vec::new();
        self.collect(&mut Vec::new(), &mut out);
        out
    }

    fn collect(&self, prefix: &mut Vec<Element>, out: &mut Vec<Path>) {
        for (element, node) in &self.nodes {
            prefix.push(element.clone());
            if node.member {
                out.push(Path(prefix.clone()));
            }
            node.children.collect(prefix, out);
            prefix.pop();
        }
    }

    /// The steps out of the root: each with whether it is a member and what is below it.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&Element, bool, &Self)> {
        self.nodes.iter().map(|(element, node)| (element, node.member, &node.children))
    }

    /// One step: whether it is a member and what is below it.
    pub(super) fn step(&self, element: &Element) -> Option<(bool, &Self)> {
        self.nodes.get(element).map(|node| (node.member, &node.children))
    }

    /// Puts a node in place; an empty one is left out.
    pub(super) fn put(&mut self, element: Element, member: bool, children: Self) {
        let node = Node { member, children };
        if !node.is_empty() {
            self.nodes.insert(element, node);
        }
    }

    /// The wire form, as `fieldsV1` carries it.
    pub fn to_fields_v1(&self) -> Value {
        let mut map = Map::new();
        for (element, node) in &self.nodes {
            let mut below = node.children.to_fields_v1();
            if node.member
                && !node.children.is_empty()
                && let Value::Object(below) = &mut below
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            map.insert(element.encode(), below);
        }
        Value::Object(map)
    }

    /// Reads the wire form. Steps of a sort we do not know are skipped, as upstream does.
    pub fn from_fields_v1(value: &Value) -> Result<Self, DecodeSetError> {
        let Value::Object(map) = value else {
            let kind = crate::json::kind(value);
            return Err(DecodeSetError(format!("expected object, got {kind}")));
        };
        let mut set = Self::new();
        for (key, below) in map {
            let Some(element) = Element::decode(key)? else { continue };
            let children = Self::from_fields_v1(below)?;
            let member = below.get(".").is_some() || below.as_object().is_some_and(Map::is_empty);
            set.put(element, member, children);
        }
        Ok(set)
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

// === impl Element ===

impl Element {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// `None` for `.` and for sorts of steps that are not known.
    fn decode(text: &str) -> Result<Option<Self>, DecodeSetError> {
        let bad = |what: &str| DecodeSetError(format!("{what} in {}", go::quote(text)));
        let json = |text: &str| crate::json::decode(text.as_bytes()).map_err(|_| bad("bad JSON"));
        Ok(match text.split_once(':') {
            Some(("f", name)) => Some(Self::Field(name.to_owned())),
            Some(("k", keys)) => {
                let keys = json(keys)?;
                if !keys.is_object() {
                    return Err(bad("keys are no object"));
                }
                Some(Self::Key(keys.to_string()))
            }
            Some(("v", value)) => Some(Self::Value(json(value)?.to_string())),
            Some(("i", index)) => Some(Self::Index(index.parse().map_err(|_| bad("bad index"))?)),
            _ => None,
        })
    }
}

/// As conflicts print it: `.spec.list[name="x"].image`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Key(text) => {
                let keys: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
                let shown: Vec<String> =
                    keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "[{}]", shown.join(","))
            }
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| element.fmt(f))
    }
}
