//! Schema validation as an API server does it, including null, which admission ignores.

use serde_json::Value;

/// The places where a value does not match the schema. Unknown fields are pruned first, so they are
/// no violation.
pub(super) fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(schema, value, "", &mut found);
    found
}

fn walk(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let mut violation = |text: &str| found.push(format!("{path}: {text}: {value}"));
    if value.is_null() {
        if schema["nullable"] != true {
            violation("null");
        }
        return;
    }
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
    if schema.get("x-kubernetes-int-or-string").is_some() {
        if !(value.is_i64() || value.is_string()) {
            violation("neither a number nor a text");
        }
        return;
    }
    let is_right = match schema["type"].as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => false,
    };
    if !is_right {
        return violation("another type");
    }
    if schema["format"] == "int32"
        && value.as_i64().is_some_and(|number| i32::try_from(number).is_err())
    {
        violation("no int32");
    }
    if schema["format"] == "date-time"
        && value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err())
    {
        violation("no time");
    }
    if let (Some(minimum), Some(number)) = (bound("minimum"), value.as_i64())
        && number < minimum
    {
        violation("too small");
    }
    if let (Some(values), false) = (schema["enum"].as_array(), value.is_null())
        && !values.contains(value)
    {
        violation("none of the values");
    }
    if let (Some(limit), Some(text)) = (bound("maxLength"), value.as_str())
        && text.chars().count() > usize::try_from(limit).unwrap()
    {
        violation("too long");
    }
    if let Some(members) = value.as_object() {
        if let Some(limit) = bound("maxProperties")
            && members.len() > usize::try_from(limit).unwrap()
        {
            violation("too many members");
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !members.contains_key(name) {
                violation(&format!("lacks {name}"));
            }
        }
        for (name, value) in members {
            let inner =
                schema.get("additionalProperties").or_else(|| schema["properties"].get(name));
            if let Some(inner) = inner {
                walk(inner, value, &format!("{path}.{name}"), found);
            }
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        walk(&schema["items"], value, &format!("{path}[{index}]"), found);
    }
}
