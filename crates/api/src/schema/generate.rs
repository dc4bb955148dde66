//! From the wire types to a structural schema: what schemars writes, cut down to what a
//! CustomResourceDefinition may hold.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{POD_TEMPLATE, POD_TEMPLATE_MARK};
use crate::spec::MXJobSpec;
use crate::status;

/// The schema of the whole object.
pub(super) fn object() -> Value {
    json!({
        "description": "A distributed training job of the DMLC family: MXNet, BytePS, or TVM tuning.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": { "type": "string", "description": "`kubeflow.org/v1`." },
            "kind": { "type": "string", "description": "`MXJob`." },
            // Not even a description: an API server takes a definition that says more of metadata
            // for one that restricts it.
            "metadata": { "type": "object" },
            "spec": generate::<MXJobSpec>("What the job is."),
            "status": generate::<status::Wire>("What has become of the job; the controller writes it."),
        },
    })
}

fn generate<T: JsonSchema>(description: &str) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    structural(&mut schema);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), description.into());
    }
    schema
}

/// Rewrites the forms that schemars uses for optional values and for enums, at every depth.
fn structural(schema: &mut Value) {
    if schema.get("$comment").is_some_and(|comment| comment == POD_TEMPLATE_MARK) {
        let description = schema.get("description").cloned();
        // Structural already; a test holds that the file is valid.
        *schema = serde_json::from_str(POD_TEMPLATE).unwrap_or_default();
        if let (Some(schema), Some(description)) = (schema.as_object_mut(), description) {
            schema.insert("description".to_owned(), description);
        }
        return;
    }
    let Some(schema) = schema.as_object_mut() else { return };
    for keyword in ["title", "default", "readOnly", "writeOnly"] {
        schema.remove(keyword);
    }
    nullable_type(schema);
    optional_enum(schema);
    if let Some(names) = schema.get("oneOf").and_then(names_of) {
        schema.remove("oneOf");
        schema.insert("type".to_owned(), "string".into());
        schema.insert("enum".to_owned(), names);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(keyword) {
            structural(inner);
        }
    }
    for property in schema
        .get_mut("properties")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        structural(property);
    }
}

/// `type: [x, "null"]` becomes `type: x, nullable: true`: null counts as absent.
fn nullable_type(schema: &mut Map<String, Value>) {
    let Some(types) = schema.get("type").and_then(Value::as_array) else { return };
    if let Some(kind) = types.iter().find(|kind| *kind != "null").cloned() {
        schema.insert("type".to_owned(), kind);
        schema.insert("nullable".to_owned(), true.into());
    }
}

/// `anyOf: [enum, null]` becomes the enum. It is not made nullable: a real API server would still
/// miss null among the values.
fn optional_enum(schema: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = schema.remove("anyOf") else { return };
    for option in options {
        if let Value::Object(mut option) = option
            && option.get("type").is_none_or(|kind| kind != "null")
        {
            option.remove("description");
            schema.append(&mut option);
        }
    }
}

fn names_of(options: &Value) -> Option<Value> {
    options.as_array()?.iter().map(|option| option.get("const").cloned()).collect()
}
