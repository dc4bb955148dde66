//! The CustomResourceDefinition as a cluster's API server takes it: structural, small, with cheap
//! rules, and valid for stored objects.

mod comparing;
mod cost;
pub(crate) mod rules;
mod shape;
mod stored;
mod structural;

use mxjob_api::crd;
use serde_json::{Value, json};

/// The schema in the definition.
fn schema() -> Value {
    crd::crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn every_field_outside_the_template_is_described() {
    fn walk(schema: &Value, path: &str) {
        if path.ends_with(".template") || path == ".metadata" {
            return;
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(
                path == ".metadata"
                    || field["description"].as_str().is_some_and(|text| text.ends_with('.')),
                "{path}"
            );
            walk(field, &path);
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(schema) = schema.get(inner) {
                walk(schema, path);
            }
        }
    }
    walk(&schema(), "");
}

#[test]
fn only_state_and_age_are_shown_without_wide_output() {
    let crd = crd::crd();
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
    let named = |is_wide: bool| {
        let columns = columns.iter().filter(move |column| (column["priority"] == 1) == is_wide);
        columns.map(|column| column["name"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(named(false), ["State", "Age"]);
    assert_eq!(named(true), ["Active", "Succeeded", "Failed", "Started", "Finished", "Message"]);
    for column in columns {
        let path = column["jsonPath"].as_str().unwrap();
        let job = json!({
            "metadata": { "creationTimestamp": "t" },
            "status": {
                "conditions": [{ "type": "x", "message": "x" }], "startTime": "t", "completionTime": "t",
                "replicaStatuses": { "Worker": { "active": 1, "succeeded": 1, "failed": 1 } },
            },
        });
        let pointer = path.replace("[-1:]", ".0").replace('.', "/");
        assert!(job.pointer(&pointer).is_some(), "{path}");
    }
}

#[test]
fn updating_the_first_definition_resets_preserve_unknown_fields() {
    assert_eq!(crd::crd()["spec"]["preserveUnknownFields"], false);
}
