//! Namespaces: created `Active`, and kept by the `kubernetes` finalizer of their spec until they
//! are empty.

use mxjob_machinery::field::{Error, Errors, Path};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::metadata::NameRule;
use mxjob_machinery::names;
use serde_json::{Value, json};

use super::rules;
use crate::document;
use crate::kind::Column;
use crate::kind::{AGE, NAME, computed};
use crate::strategy::{DeleteMode, Strategy};

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// Namespaces that may not be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// Finalizers whose names have no domain.
const STANDARD_FINALIZERS: &[&str] = &["foregroundDeletion", "kubernetes", "orphan"];

/// The columns.
pub(super) const COLUMNS: &[Column] =
    &[NAME, computed("Status", 0, |object, _| text(object, "/status/phase").into()), AGE];

/// The rules of a namespace.
#[derive(Debug)]
pub(crate) struct Namespace;

impl Strategy for Namespace {
    fn prepare_create(&self, object: &mut Value) {
        let name = text(object, "/metadata/name").to_owned();
        let labels = document::metadata_mut(object).entry("labels").or_insert_with(|| json!({}));
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

    fn name_rule(&self) -> NameRule {
        names::dns1123_label
    }

    /// Upstream's `ValidateNamespace`, of a create and of `finalize`.
    fn validate(&self, namespace: &Value) -> Errors {
        let path = Path::new("spec").child("finalizers");
        let mut errors = Errors::new();
        for name in list(namespace, "/spec/finalizers").iter().filter_map(Value::as_str) {
            errors.append(rules::name_errors(name, &path, names::qualified_name));
            if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
                let detail = "name is neither a standard finalizer name nor is it fully qualified";
                errors.push(Error::invalid(&path, name, detail));
            }
        }
        errors
    }

    /// Upstream's `ValidateNamespaceStatusUpdate`.
    fn validate_status(&self, _: &Value, new: &Value) -> Errors {
        let (phase, detail) = if document::is_terminating(new) {
            ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
        } else {
            ("Active", "may only be 'Active' if `deletionTimestamp` is empty")
        };
        let found = text(new, "/status/phase");
        if found == phase {
            return Errors::new();
        }
        Error::invalid(&Path::new("status").child("Phase"), found, detail).into()
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
