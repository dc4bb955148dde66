//! Every object that was ever stored, or written for any operator, passes the definition, and so
//! does every write of its status.

use std::path::Path;

use mxjob_api::{Job, admission};
use serde_json::{Value, json};

use super::{schema, shape};

/// The objects in the YAML files of a folder, by file.
fn objects(folder: &str) -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|kind| kind == "yaml" || kind == "json"))
    {
        let text = std::fs::read_to_string(file).unwrap();
        for document in text.split("\n---\n") {
            let object = mxjob_machinery::yaml::decode(document.as_bytes()).unwrap();
            if object["kind"] == "MXJob" {
                found.push((file.display().to_string(), object));
            }
        }
    }
    found
}

#[test]
fn every_example_and_every_published_manifest_passes() {
    let schema = schema();
    let all: Vec<_> = ["../../examples", "tests/data/wild"].into_iter().flat_map(objects).collect();
    assert!(all.len() >= 13, "{}", all.len());
    for (file, object) in all {
        assert_eq!(shape::violations(&schema, &object), Vec::<String>::new(), "{file}");
        assert_eq!(super::rules::refused(&object, None), Vec::<String>::new(), "{file}");
    }
}

#[test]
fn objects_of_older_operators_pass_and_their_status_can_be_updated() {
    let schema = schema();
    let stored = objects("tests/data/stored");
    assert_eq!(stored.len(), 5);
    for (file, object) in stored {
        assert_eq!(shape::violations(&schema, &object), Vec::<String>::new(), "{file}");
        assert_eq!(super::rules::refused(&object, Some(&object)), Vec::<String>::new(), "{file}");
        Job::from_value(&object).unwrap();
        let mut new = object.clone();
        new["metadata"]["labels"]["a"] = json!("b");
        new["spec"]["ttlSecondsAfterFinished"] = json!(60);
        if let Some(policy) = new["spec"].get_mut("runPolicy").and_then(Value::as_object_mut) {
            policy.remove("ttlSecondsAfterFinished");
        }
        new["status"]["lastReconcileTime"] = json!("2026-11-24T08:00:00Z");
        assert_eq!(admission::update(&object, &new).to_string(), "[]", "{file}");
        assert_eq!(admission::update_status(&object, &new).to_string(), "[]", "{file}");
        assert_eq!(super::rules::refused(&new, Some(&object)), Vec::<String>::new(), "{file}");
        assert_eq!(shape::violations(&schema, &new), Vec::<String>::new(), "{file}");
    }
}
