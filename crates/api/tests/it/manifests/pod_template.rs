//! The structural schema of a PodTemplateSpec, from the Kubernetes types of `k8s-openapi`.
//!
//! References are inlined (a CustomResourceDefinition may hold none), prose is dropped, and quantities get the pattern by which
//! a schema can be told to hold one.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use mxjob_api::schema::QUANTITY_PATTERN;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
/// What is kept of a schema: the keywords that check or describe a shape.
const KEPT: [&str; 7] =
    ["type", "format", "required", "minimum", "maximum", "x-kubernetes-int-or-string", "enum"];
/// Fields of metadata that nobody writes into a template and that would only make the schema larger.
const DROPPED: [&str; 2] = ["managedFields", "selfLink"];

/// The schema.
pub(crate) fn schema() -> Value {
    let root = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<PodTemplateSpec>()
        .to_value();
    let definitions =
        root.pointer("/$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    inline(&root, &definitions)
}

fn inline(schema: &Value, definitions: &Map<String, Value>) -> Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        if name == QUANTITY {
            return json!({ "x-kubernetes-int-or-string": true, "pattern": QUANTITY_PATTERN });
        }
        return definitions
            .get(name)
            .map_or(Value::Null, |definition| inline(definition, definitions));
    }
    let mut kept = Map::new();
    for keyword in KEPT {
        if let Some(value) = schema.get(keyword) {
            kept.insert(keyword.to_owned(), value.clone());
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(keyword).filter(|inner| inner.is_object()) {
            kept.insert(keyword.to_owned(), inline(inner, definitions));
        }
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let properties = properties
            .iter()
            .filter(|(name, _)| !DROPPED.contains(&name.as_str()))
            .map(|(name, property)| (name.clone(), inline(property, definitions)))
            .collect::<Map<_, _>>();
        kept.insert("properties".to_owned(), properties.into());
    }
    if schema.get("type").is_some_and(|kind| kind == "object")
        && !kept.contains_key("properties")
        && !kept.contains_key("additionalProperties")
    {
        kept.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    }
    kept.into()
}
