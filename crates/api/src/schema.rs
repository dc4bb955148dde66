//! The structural schema of an MXJob: generated from the types, and read into a form that can be walked.
//!
//! One schema serves the CustomResourceDefinition, the type checks of admission and the search for unknown fields, so they can never
//! disagree. The pod template's part comes from `schema/pod_template.json`, which a test generates from the Kubernetes types
//! and holds fresh (`tests/it/manifests.rs`).

mod check;
mod generate;
mod node;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

pub(crate) use check::check;
pub(crate) use node::{Kind, Node};

/// The shape of a quantity, as CustomResourceDefinitions give it. Where a schema has it the value is checked as a quantity.
pub const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Where the wire types have this comment the pod template's schema goes: it is ten times as large as all the rest, and
/// passing it through every step of the generation would be felt at each start.
const POD_TEMPLATE_MARK: &str = "PodTemplateSpec";

/// The schema of a PodTemplateSpec as compact JSON.
const POD_TEMPLATE: &str = include_str!("schema/pod_template.json");

static OPEN_API: LazyLock<Value> = LazyLock::new(generate::object);
static ROOT: LazyLock<Node> = LazyLock::new(|| {
    let mut root = Node::from_schema(&OPEN_API);
    if let Kind::Object { fields, .. } = &mut root.0 {
        // Metadata is the same for every kind and looked after by the machinery.
        fields.insert("metadata".to_owned(), Node(Kind::Any));
    }
    root
});

/// The schema of the whole object, as a CustomResourceDefinition carries it.
pub fn open_api() -> &'static Value {
    &OPEN_API
}

/// The same schema to walk along with a value.
pub(crate) fn root() -> &'static Node {
    &ROOT
}

/// Stands for a quantity in the wire types.
pub(crate) struct Quantity;
/// Stands for a PodTemplateSpec in the wire types.
pub(crate) struct PodTemplate;
/// Stands for a time in the wire types.
pub(crate) struct Time;
/// Stands for an object of any content in the wire types.
pub(crate) struct Open;

impl JsonSchema for Open {
    fn schema_name() -> Cow<'static, str> {
        "Open".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": QUANTITY_PATTERN })
    }
}

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplateSpec".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "$comment": POD_TEMPLATE_MARK })
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}
