//! Whether a configuration has the types that every object has, told as upstream tells it. What
//! lies in `spec` and below is for the kind's own rules.

use serde_json::{Map, Value};

use crate::go;

const TEXT_FIELDS: &[&str] =
    &["generateName", "name", "namespace", "resourceVersion", "selfLink", "uid"];

/// What makes a configuration unfit to be applied, if anything does: `failed to create typed patch
/// object (/a; kubeflow.org/v1, Kind=MXJob): .bogus: field not declared in schema`.
///
/// `fields` are the kind's top-level fields; an empty list leaves the others unchecked.
pub fn config_problem(config: &Value, fields: &[&str]) -> Option<String> {
    let config = config.as_object()?;
    let mut problems = Vec::new();
    for (name, value) in config {
        if name == "metadata" {
            metadata_problems(value, &mut problems);
        } else if !fields.is_empty() && !fields.contains(&name.as_str()) {
            problems.push(format!(".{name}: field not declared in schema"));
        }
    }
    let text = |map: &Map<String, Value>, key: &str| {
        map.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let problems = match problems.as_slice() {
        [] => return None,
        [only] => only.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    let empty = Map::new();
    let metadata = config.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    Some(format!(
        "failed to create typed patch object ({}/{}; {}, Kind={}): {problems}",
        text(metadata, "namespace"),
        text(metadata, "name"),
        text(config, "apiVersion"),
        text(config, "kind"),
    ))
}

fn metadata_problems(metadata: &Value, problems: &mut Vec<String>) {
    let fields = match metadata {
        Value::Null => return,
        Value::Object(fields) => fields,
        other => {
            problems.push(format!(".metadata: expected map, got &{{{}}}", shown(other)));
            return;
        }
    };
    for (name, value) in fields {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            (name, value) if TEXT_FIELDS.contains(&name) => expect_text(value, name, problems),
            ("labels" | "annotations", Value::Object(entries)) => {
                for (key, value) in entries {
                    expect_text(value, &format!("{name}.{key}"), problems);
                }
            }
            ("labels" | "annotations", other) => {
                problems.push(format!(".metadata.{name}: expected map, got &{{{}}}", shown(other)));
            }
            ("finalizers" | "ownerReferences", other) if !other.is_array() => {
                problems
                    .push(format!(".metadata.{name}: expected list, got &{{{}}}", shown(other)));
            }
            (name, _) if !crate::metadata::is_field(name) => {
                problems.push(format!(".metadata.{name}: field not declared in schema"));
            }
            _ => {}
        }
    }
}

fn expect_text(value: &Value, name: &str, problems: &mut Vec<String>) {
    if !value.is_string() && !value.is_null() {
        let shown = shown(value);
        problems.push(format!(
            ".metadata.{name}: expected string, got &value.valueUnstructured{{Value:{shown}}}"
        ));
    }
}

/// Near enough to how Go shows it; lists and maps stay JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => go::quote(text),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_configuration_of_the_wrong_types_is_refused_in_upstreams_words() {
        const FIELDS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
        for (metadata, bogus, expected) in [
            (json!({"name": "a", "labels": {"l": "1"}, "finalizers": []}), false, None),
            (
                json!({"name": true}),
                false,
                Some(
                    "(/; kubeflow.org/v1, Kind=MXJob): .metadata.name: expected string, got &value.valueUnstructured{Value:true}",
                ),
            ),
            (
                json!({"name": "a"}),
                true,
                Some("(/a; kubeflow.org/v1, Kind=MXJob): .bogus: field not declared in schema"),
            ),
            (
                json!({"name": "a", "namespace": "n", "labels": {"l": 1}, "x": 1}),
                false,
                Some(
                    "(n/a; kubeflow.org/v1, Kind=MXJob): errors:\n  .metadata.labels.l: expected string, got &value.valueUnstructured{Value:1}\n  .metadata.x: field not declared in schema",
                ),
            ),
        ] {
            let mut config = json!({"apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": metadata, "spec": {}});
            if bogus {
                config["bogus"] = json!(1);
            }
            let expected =
                expected.map(|text| format!("failed to create typed patch object {text}"));
            assert_eq!(config_problem(&config, FIELDS), expected, "{config}");
        }
    }
}
