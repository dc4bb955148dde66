//! The structural schema of an MXJob: generated from the types, and read into a form that can be
//! walked.
//!
//! One schema serves the type checks of admission, the search for unknown fields and the
//! description in OpenAPI, so they can never disagree. The CustomResourceDefinition carries the
//! same, opened for what older operators stored (`definition`), with rules in CEL for what that
//! leaves unsaid (`rules`). The pod template's part comes from `schema/pod_template.json`, which a
//! test generates from the schemas of the built-in kinds and holds fresh (`tests/it/manifests.rs`).

mod definition;
mod generate;
mod rules;

use std::borrow::Cow;
use std::sync::LazyLock;

use mxjob_machinery::schema::{Node, QUANTITY_PATTERN, Schema as Walker};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

/// Where the wire types have this comment the pod template's schema goes: it is ten times as large
/// as all the rest, and passing it through every step of the generation would be felt at each
/// start.
const POD_TEMPLATE_MARK: &str = "PodTemplateSpec";

/// The schema of a PodTemplateSpec as compact JSON.
const POD_TEMPLATE: &str = include_str!("schema/pod_template.json");

static OPEN_API: LazyLock<Value> = LazyLock::new(generate::object);
static ROOT: LazyLock<Node> = LazyLock::new(|| Node::read(&OPEN_API));

/// The schema of the whole object, as strict as admission reads it.
pub fn open_api() -> &'static Value {
    &OPEN_API
}

/// The schema of the whole object, as the CustomResourceDefinition carries it.
pub fn of_definition() -> Value {
    definition::object()
}

/// Makes of null in the maps and lists of a job what Go's decoder makes of it: the zero value of
/// its type. Its `metadata` is not looked into.
///
/// ```
/// use mxjob_api::schema;
/// use serde_json::json;
///
/// let job = |label| json!({ "spec": { "mxReplicaSpecs": { "Worker": {
///     "template": { "metadata": { "labels": { "pipeline": label } }, "spec": { "volumes": null } },
/// } } } });
/// let mut given = job(json!(null));
/// schema::zero_nulls(&mut given);
/// assert_eq!(given, job(json!("")));
/// ```
pub fn zero_nulls(job: &mut Value) {
    root().zero_nulls(job);
}

/// The same schema to walk along with a value.
pub(crate) fn root() -> Walker<'static> {
    Walker::new(&ROOT)
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
