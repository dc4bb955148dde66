//! Namespaces: created `Active`, and kept by the `kubernetes` finalizer of their spec until they
//! are empty.

use mxjob_machinery::json::{list, text};
use serde_json::{Value, json};

use crate::strategy::{DeleteMode, Strategy};

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Namespaces that may not be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// The rules of a namespace.
#[derive(Debug)]
pub(crate) struct Namespace;

impl Strategy for Namespace {
    fn prepare_create(&self, object: &mut Value) {
        let name = text(object, "/metadata/name").to_owned();
        let labels =
            crate::document::metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(NAME_LABEL.to_owned(), name.into());
        }
        if let Some(object) = object.as_object_mut() {
            object.insert("spec".to_owned(), json!({"finalizers": ["kubernetes"]}));
            object.insert("status".to_owned(), json!({"phase": "Active"}));
        }
    }

    fn prepare_update(&self, old: &Value, new: &mut Value) {
        // Only `/finalize` changes the spec.
        if let (Some(new), Some(spec)) = (new.as_object_mut(), old.get("spec")) {
            new.insert("spec".to_owned(), spec.clone());
        }
    }

    fn is_selectable(&self, field: &str) -> bool {
        field == "status.phase"
    }

    fn selectable(&self, object: &Value, field: &str) -> Option<String> {
        (field == "status.phase").then(|| text(object, "/status/phase").to_owned())
    }

    fn undeletable(&self, name: &str) -> Option<&'static str> {
        IMMORTAL.contains(&name).then_some("this namespace may not be deleted")
    }

    fn is_held(&self, object: &Value) -> bool {
        !list(object, "/spec/finalizers").is_empty()
    }

    fn delete_mode(&self, object: &Value, _grace: Option<i64>) -> DeleteMode {
        if self.is_held(object) { DeleteMode::Graceful(0) } else { DeleteMode::Now }
    }

    fn is_namespace(&self) -> bool {
        true
    }

    fn mark_terminating(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), json!({"phase": "Terminating"}));
        }
    }
}
