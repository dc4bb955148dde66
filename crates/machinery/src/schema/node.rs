//! A structural schema, read once into a tree that is walked along with a value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{REFERENCE, integer};

/// The shape of a quantity, as CustomResourceDefinitions give it. Where a schema has it the value is checked as a quantity.
pub const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// What a value at one place may be.
#[derive(Debug)]
pub enum Kind {
    /// An object of named fields, of entries, or of anything.
    Object {
        /// The fields it may have.
        fields: BTreeMap<String, Node>,
        /// What its entries are, where their names are data.
        entries: Option<Box<Node>>,
        /// Whether unknown fields stay.
        is_open: bool,
        /// The fields it must have.
        required: Vec<String>,
    },
    /// A list.
    Array(Box<Node>),
    /// A string; where the list is not empty, one of these.
    String(Vec<String>),
    /// A moment: a string in RFC 3339.
    Time,
    /// Bytes: a string in base64.
    Bytes,
    /// A whole number.
    Integer {
        /// Whether it must fit into 32 bits.
        is_int32: bool,
        /// The least it may be.
        minimum: Option<i64>,
        /// The most it may be.
        maximum: Option<i64>,
    },
    /// Any number.
    Number,
    /// A truth value.
    Boolean,
    /// A whole number or a string.
    IntOrString,
    /// A quantity: a string or a number.
    Quantity,
    /// What the definition of that name says.
    Reference(Box<str>),
    /// Anything.
    Any,
}

/// One place of the schema.
#[derive(Debug)]
pub struct Node(pub Kind);

impl Node {
    /// Reads a structural schema. A schema without a known type stands for anything.
    pub fn from_schema(schema: &Value) -> Self {
        let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"));
        if let Some(reference) = reference.and_then(Value::as_str) {
            let name = reference.strip_prefix(REFERENCE).unwrap_or(reference);
            return Self(Kind::Reference(name.into()));
        }
        if schema.get("x-kubernetes-int-or-string").is_some() {
            let is_quantity =
                schema.get("pattern").is_some_and(|pattern| pattern == QUANTITY_PATTERN);
            return Self(if is_quantity { Kind::Quantity } else { Kind::IntOrString });
        }
        let format = schema.get("format").and_then(Value::as_str);
        match format {
            Some("int-or-string") => return Self(Kind::IntOrString),
            Some("quantity") => return Self(Kind::Quantity),
            _ => {}
        }
        Self(match schema.get("type").and_then(Value::as_str) {
            Some("object") => object(schema),
            Some("array") => {
                let any = Self(Kind::Any);
                Kind::Array(Box::new(schema.get("items").map_or(any, Self::from_schema)))
            }
            Some("string") if format == Some("date-time") => Kind::Time,
            Some("string") if format == Some("byte") => Kind::Bytes,
            Some("string") => Kind::String(strings(schema, "enum")),
            Some("integer") => Kind::Integer {
                is_int32: format == Some("int32"),
                minimum: schema.get("minimum").and_then(integer),
                maximum: schema.get("maximum").and_then(integer),
            },
            Some("number") => Kind::Number,
            Some("boolean") => Kind::Boolean,
            _ => Kind::Any,
        })
    }
}

fn object(schema: &Value) -> Kind {
    let fields = schema.get("properties").and_then(Value::as_object);
    let entries = schema.get("additionalProperties").filter(|entries| entries.is_object());
    Kind::Object {
        fields: fields
            .into_iter()
            .flat_map(Map::iter)
            .map(|(name, field)| (name.clone(), Node::from_schema(field)))
            .collect(),
        entries: entries.map(|entries| Box::new(Node::from_schema(entries))),
        is_open: schema
            .get("x-kubernetes-preserve-unknown-fields")
            .is_some_and(|open| open == true),
        required: strings(schema, "required"),
    }
}

fn strings(schema: &Value, keyword: &str) -> Vec<String> {
    let list = schema.get(keyword).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
