//! A structural schema, read once into a tree that is walked along with an object.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

/// How a schema refers to a definition, before the name (version 3 of OpenAPI).
pub const REFERENCE: &str = "#/components/schemas/";

/// The pattern of a quantity, as CustomResourceDefinitions have it.
pub const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// One place of a schema.
#[derive(Debug, Default)]
pub struct Node {
    /// The JSON type, where one is named.
    pub kind: Option<Type>,
    /// The format of a string or a number; empty where none is named.
    pub format: Box<str>,
    /// Whether null is a value, too.
    pub nullable: bool,
    /// Whether it is a whole number or a string.
    pub int_or_string: bool,
    /// Whether it is a quantity, which is an int-or-string, too.
    pub is_quantity: bool,
    /// Whether unknown fields stay. A schema that says nothing stands for anything, and is open.
    pub is_open: bool,
    /// Whether it is an object of some kind, with metadata.
    pub embedded: bool,
    /// The fields it may have.
    pub fields: BTreeMap<String, Self>,
    /// The fields it must have.
    pub required: Vec<String>,
    /// The schema of other members.
    pub entries: Entries,
    /// The schema of the items of a list.
    pub items: Option<Box<Self>>,
    /// The value of a missing member.
    pub default: Option<Value>,
    /// How a list is merged.
    pub list: ListType,
    /// Whether a map or struct is replaced as a whole.
    pub is_atomic: bool,
    /// The name of the definition that stands here.
    pub(super) reference: Option<Box<str>>,
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

/// The schema of members that are not named.
#[derive(Debug, Default)]
pub enum Entries {
    /// There are none.
    #[default]
    None,
    /// Anything.
    Any,
    /// The schema of each.
    Of(Box<Node>),
}

/// How a list is merged.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum ListType {
    /// As a whole.
    #[default]
    Atomic,
    /// Item by item; each occurs once.
    Set,
    /// Item by item, identified by these fields.
    Map(Vec<String>),
}

/// What else a value must be.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) pattern: Option<(String, Option<Regex>)>,
    pub(super) allowed: Option<Vec<Value>>,
    pub(super) length: Range<usize>,
    pub(super) items: Range<usize>,
    pub(super) properties: Range<usize>,
    pub(super) minimum: Option<(f64, bool)>,
    pub(super) maximum: Option<(f64, bool)>,
    pub(super) multiple_of: Option<f64>,
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
    "allOf",
    "anyOf",
    "oneOf",
    "not",
];

// === impl Node ===

impl Node {
    /// Reads a schema. Keywords that no structural schema may have are ignored.
    pub fn read(schema: &Value) -> Self {
        let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"));
        if let Some(name) = reference.and_then(Value::as_str) {
            let name = name.strip_prefix(REFERENCE).unwrap_or(name);
            return Self { reference: Some(name.into()), is_open: true, ..Self::default() };
        }
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        let text = |name: &str| schema.get(name).and_then(Value::as_str).unwrap_or_default();
        let members = schema.get("properties").and_then(Value::as_object);
        let kind = Type::parse(text("type"));
        let format = text("format");
        // The definitions of the two have no type.
        let of_format = kind.is_none() && matches!(format, "int-or-string" | "quantity");
        let int_or_string = flag("x-kubernetes-int-or-string") || of_format;
        let says_nothing = kind.is_none() && !int_or_string && members.is_none();
        Self {
            kind,
            format: format.into(),
            nullable: flag("nullable"),
            int_or_string,
            is_quantity: int_or_string
                && (format == "quantity" || text("pattern") == QUANTITY_PATTERN),
            is_open: flag("x-kubernetes-preserve-unknown-fields") || says_nothing,
            embedded: flag("x-kubernetes-embedded-resource"),
            fields: members
                .into_iter()
                .flat_map(Map::iter)
                .map(|(name, field)| (name.clone(), Self::read(field)))
                .collect(),
            required: strings(schema, "required"),
            entries: match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => Entries::Any,
                Some(schema @ Value::Object(_)) => Entries::Of(Box::new(Self::read(schema))),
                _ => Entries::None,
            },
            items: schema.get("items").map(|items| Box::new(Self::read(items))),
            default: schema.get("default").cloned(),
            list: match text("x-kubernetes-list-type") {
                "set" => ListType::Set,
                "map" => ListType::Map(strings(schema, "x-kubernetes-list-map-keys")),
                _ => ListType::Atomic,
            },
            is_atomic: text("x-kubernetes-map-type") == "atomic",
            reference: None,
            rules: RULES
                .iter()
                .any(|name| schema.get(name).is_some())
                .then(|| Box::new(Rules::read(schema))),
        }
    }

    /// The schema of a member, if it has one.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        match (self.fields.get(name), &self.entries) {
            (Some(field), _) => Some(field),
            (None, Entries::Of(entry)) => Some(entry),
            (None, _) => None,
        }
    }

    /// Whether every value stays as it is: nothing is pruned, and nothing has a default.
    pub fn takes_anything(&self) -> bool {
        let is_object = matches!(self.kind, None | Some(Type::Object)) && !self.int_or_string;
        let prunes = is_object && !self.is_open && matches!(self.entries, Entries::None);
        !prunes
            && self.default.is_none()
            && self.fields.values().all(Self::takes_anything)
            && self.items.as_deref().is_none_or(Self::takes_anything)
            && match &self.entries {
                Entries::Of(entry) => entry.takes_anything(),
                Entries::None | Entries::Any => true,
            }
    }

    /// Whether an object may have a member that [`Self::member`] does not know.
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
            pattern: pattern.map(|pattern| (pattern.to_owned(), Regex::new(pattern).ok())),
            allowed: schema.get("enum").and_then(Value::as_array).cloned(),
            length: range("minLength", "maxLength"),
            items: range("minItems", "maxItems"),
            properties: range("minProperties", "maxProperties"),
            minimum: number("minimum").map(|least| (least, flag("exclusiveMinimum"))),
            maximum: number("maximum").map(|most| (most, flag("exclusiveMaximum"))),
            multiple_of: number("multipleOf"),
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
