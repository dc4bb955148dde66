//! A structural schema, read once into a tree that is walked along with an object.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

/// One place of a schema.
#[derive(Debug, Default)]
pub struct Node {
    /// The JSON type, where one is named.
    pub kind: Option<Type>,
    /// Whether null is a value, too.
    pub nullable: bool,
    /// Whether it is a whole number or a string.
    pub int_or_string: bool,
    /// Whether unknown fields stay.
    pub is_open: bool,
    /// Whether it is an object of some kind, with metadata.
    pub embedded: bool,
    /// The fields it may have.
    pub fields: BTreeMap<String, Self>,
    /// What other members are.
    pub entries: Entries,
    /// What the items of a list are.
    pub items: Option<Box<Self>>,
    /// What is set where nothing is.
    pub default: Option<Value>,
    /// How a list is merged.
    pub list: ListType,
    /// Whether a map or struct is replaced as a whole.
    pub is_atomic: bool,
    /// Bounds and the like; most places have none.
    pub(super) rules: Option<Box<Rules>>,
}

/// A JSON type, as schemas name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Named or free members.
    Object,
    /// Items.
    Array,
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// A truth value.
    Boolean,
}

/// What members without a name of their own are.
#[derive(Debug, Default)]
pub enum Entries {
    /// Unknown.
    #[default]
    None,
    /// Anything.
    Any,
    /// What this says.
    Of(Box<Node>),
}

/// How a list is merged.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum ListType {
    /// As a whole.
    #[default]
    Atomic,
    /// Item by item, each of which is there once.
    Set,
    /// Item by item, told apart by these fields.
    Map(Vec<String>),
}

/// What else a value must be.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) format: String,
    pub(super) pattern: Option<(String, Option<Regex>)>,
    pub(super) allowed: Option<Vec<Value>>,
    pub(super) length: Range<usize>,
    pub(super) items: Range<usize>,
    pub(super) properties: Range<usize>,
    pub(super) minimum: Option<(f64, bool)>,
    pub(super) maximum: Option<(f64, bool)>,
    pub(super) multiple_of: Option<f64>,
    pub(super) required: Vec<String>,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Node>,
}

/// The least and the most, where there is one.
#[derive(Debug, Default)]
pub(super) struct Range<T> {
    pub(super) least: Option<T>,
    pub(super) most: Option<T>,
}

/// Keywords that make [`Rules`].
const RULES: &[&str] = &[
    "format",
    "pattern",
    "enum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "multipleOf",
    "required",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];

// === impl Node ===

impl Node {
    /// Reads a schema.
    pub fn read(schema: &Value) -> Self {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        let fields = schema.get("properties").and_then(Value::as_object);
        Self {
            kind: schema.get("type").and_then(Value::as_str).and_then(Type::parse),
            nullable: flag("nullable"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            is_open: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            fields: fields
                .into_iter()
                .flat_map(Map::iter)
                .map(|(name, field)| (name.clone(), Self::read(field)))
                .collect(),
            entries: match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => Entries::Any,
                Some(schema @ Value::Object(_)) => Entries::Of(Box::new(Self::read(schema))),
                _ => Entries::None,
            },
            items: schema.get("items").map(|items| Box::new(Self::read(items))),
            default: schema.get("default").cloned(),
            list: match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map(strings(schema, "x-kubernetes-list-map-keys")),
                _ => ListType::Atomic,
            },
            is_atomic: schema.get("x-kubernetes-map-type").is_some_and(|kind| kind == "atomic"),
            rules: RULES
                .iter()
                .any(|name| schema.get(name).is_some())
                .then(|| Box::new(Rules::read(schema))),
        }
    }

    /// What a member is, if the schema knows it.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match (self.fields.get(name), &self.entries) {
            (Some(field), _) => Some(field),
            (None, Entries::Of(entry)) => Some(entry),
            (None, _) => None,
        }
    }

    /// Whether a member may be there that [`Self::member`] does not know.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.is_open
            || matches!(self.entries, Entries::Any)
            || (self.embedded && matches!(name, "apiVersion" | "kind" | "metadata"))
    }
}

// === impl Type ===

impl Type {
    /// Reads the word of a schema.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    /// The word of a schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

// === impl Rules ===

impl Rules {
    fn read(schema: &Value) -> Self {
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        let count = |name: &str| {
            schema.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok())
        };
        let range = |least: &str, most: &str| Range { least: count(least), most: count(most) };
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        let nodes = |name: &str| {
            let all = schema.get(name).and_then(Value::as_array);
            all.into_iter().flatten().map(Node::read).collect()
        };
        let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
        let pattern = Some(text("pattern")).filter(|pattern| !pattern.is_empty());
        Self {
            format: text("format").to_owned(),
            pattern: pattern.map(|pattern| (pattern.to_owned(), Regex::new(pattern).ok())),
            allowed: schema.get("enum").and_then(Value::as_array).cloned(),
            length: range("minLength", "maxLength"),
            items: range("minItems", "maxItems"),
            properties: range("minProperties", "maxProperties"),
            minimum: number("minimum").map(|least| (least, flag("exclusiveMinimum"))),
            maximum: number("maximum").map(|most| (most, flag("exclusiveMaximum"))),
            multiple_of: number("multipleOf"),
            required: strings(schema, "required"),
            all_of: nodes("allOf"),
            any_of: nodes("anyOf"),
            one_of: nodes("oneOf"),
            not: schema.get("not").map(Node::read),
        }
    }
}

fn strings(schema: &Value, keyword: &str) -> Vec<String> {
    let list = schema.get(keyword).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
