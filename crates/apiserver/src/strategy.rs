//! Rules of a kind: defaults, validation, selectable fields, deletion.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use mxjob_machinery::metadata::NameRule;
use mxjob_machinery::ownership::{OBJECT, Shape};
use mxjob_machinery::pod_fields::Findings;
use mxjob_machinery::{field, names};
use mxjob_store::Store;
use serde_json::Value;

/// How an object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteMode {
    /// Immediately (finalizers permitting).
    Now,
    /// After this many seconds, by the node that runs it; until then it has a `deletionTimestamp`.
    Graceful(i64),
}

/// How objects of a kind grant rights. Only callers who have the rights may write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// By rules.
    Role,
    /// By a reference to a role.
    Binding,
}

/// The parts of the server that rules over several objects read.
pub trait Cluster {
    /// The stored objects.
    fn store(&self) -> &Store;
    /// The names of a group's built-in kinds, each in the form of a definition's `acceptedNames`.
    fn built_in_names(&self, group: &str) -> Vec<Value>;
}

/// Rules of one kind. The default of every method is neutral.
pub trait Strategy: fmt::Debug + Sync + Send {
    /// Fills in defaults on create. `status` as sent has not been removed yet.
    fn prepare_create(&self, _object: &mut Value) {}

    /// Fills in defaults on update, and keeps fields that an update may not change.
    fn prepare_update(&self, _old: &Value, _new: &mut Value) {}

    /// Whether [`Strategy::derive_status`] reads other objects. A write is then stored only if it
    /// derives the same status once more when it is committed; otherwise it is tried again.
    fn depends_on_others(&self) -> bool {
        false
    }

    /// Derives status that upstream leaves to a controller, on every write of the object itself.
    /// Deriving it twice changes nothing.
    fn derive_status(&self, _cluster: &dyn Cluster, _now: Timestamp, _object: &mut Value) {}

    /// Derives fields of a new object from what admission filled in.
    fn finish_create(&self, _object: &mut Value) {}

    /// Whether objects run containers: priority classes, limit ranges and quotas of compute
    /// resources apply.
    fn runs_containers(&self) -> bool {
        false
    }

    /// Fields of the pods of an object that a node of processes does not honour.
    fn pod_fields(&self, _object: &Value) -> Findings {
        Findings::default()
    }

    /// Whether objects claim storage: default classes and limit ranges of claims apply.
    fn claims_storage(&self) -> bool {
        false
    }

    /// Whether quotas count the ports of objects.
    fn exposes_ports(&self) -> bool {
        false
    }

    /// Whether an object is the default for all pods that name no priority class.
    fn is_global_default(&self, _object: &Value) -> bool {
        false
    }

    /// Whether objects are namespaces, so that `namespaceSelector` looks at their own labels.
    fn is_namespace(&self) -> bool {
        false
    }

    /// Whether no webhook is asked about objects, so that a broken webhook can always be fixed.
    fn skips_webhooks(&self) -> bool {
        false
    }

    /// How objects grant rights, if they do.
    fn grant(&self) -> Option<Grant> {
        None
    }

    /// Why an object may never be deleted.
    fn undeletable(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// Whether more than the finalizers in its metadata keeps an object that is being deleted.
    fn is_held(&self, _object: &Value) -> bool {
        false
    }

    /// Texts for `Warning` headers of a write.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Whether an object belongs to the server itself, so that no request may change it.
    fn is_read_only(&self, _name: &str, _built_in_mxjobs: bool) -> bool {
        false
    }

    /// The rule for names.
    fn name_rule(&self) -> NameRule {
        names::dns1123_subdomain
    }

    /// Errors of an object to be created.
    fn validate(&self, _object: &Value) -> field::Errors {
        field::Errors::default()
    }

    /// Errors of the change itself; [`Strategy::revalidate`] checks the new object.
    fn validate_update(&self, _old: &Value, _new: &Value) -> field::Errors {
        field::Errors::default()
    }

    /// Errors of an updated object whose content changed. Unchanged parts need not be checked.
    fn revalidate(&self, _old: &Value, new: &Value) -> field::Errors {
        self.validate(new)
    }

    /// Errors of the status of an object sent to the `status` subresource.
    fn validate_status(&self, _old: &Value, _new: &Value) -> field::Errors {
        field::Errors::default()
    }

    /// The message for the errors of an update, where it is not the usual list.
    fn update_message(&self, _name: &str, _errors: &field::Errors) -> Option<String> {
        None
    }

    /// Paths of fields that the kind does not have (CONTRACT section 3, `fieldValidation`).
    fn unknown_fields(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Removes the fields that [`Strategy::unknown_fields`] lists.
    fn prune(&self, _object: &mut Value) {}

    /// Replaces nulls in maps and lists by zero values, as Go's decoder does, on every write.
    fn zero_nulls(&self, _object: &mut Value) {}

    /// Fills in the defaults of a schema, on every write.
    fn fill(&self, _object: &mut Value) {}

    /// The value of a field for `fieldSelector`; `None` if it may not be selected by.
    /// `metadata.name` and `metadata.namespace` always may.
    fn selectable(&self, _object: &Value, _field: &str) -> Option<String> {
        None
    }

    /// Whether `fieldSelector` may use this field.
    fn is_selectable(&self, _field: &str) -> bool {
        false
    }

    /// How an object is deleted, given the requested `gracePeriodSeconds`.
    fn delete_mode(&self, _object: &Value, _grace: Option<i64>) -> DeleteMode {
        DeleteMode::Now
    }

    /// Finalizers that every object gets when its deletion begins.
    fn finalizers_on_delete(&self) -> &'static [&'static str] {
        &[]
    }

    /// Changes the status when deletion begins.
    fn mark_terminating(&self, _object: &mut Value) {}

    /// Changes the answer to a create (MXJobs carry `status: {}` there, CONTRACT section 1).
    fn decorate_created(&self, _object: &mut Value) {}

    /// Group, version and resource of the stored objects, where another group serves them, too.
    fn stored_as(&self) -> Option<(&'static str, &'static str, &'static str)> {
        None
    }

    /// Whether stored objects may have another form than this kind's.
    fn converts(&self) -> bool {
        self.stored_as().is_some()
    }

    /// Converts a stored object to this kind's form.
    fn show_stored(&self, _object: &mut Value) {}

    /// Whether stored bytes are known to have this kind's form, so that [`Strategy::show_stored`]
    /// need not look at them.
    fn is_shown_as_stored(&self, _stored: &[u8]) -> bool {
        false
    }

    /// Remembers that [`Strategy::show_stored`] did not change these bytes.
    fn note_shown_as_stored(&self, _stored: &[u8]) {}

    /// Converts an object of this kind's form, or a merge patch, to the stored form.
    fn to_stored(&self, _object: &mut Value) {}

    /// The structural schema of a custom resource, as OpenAPI shows it.
    fn open_api(&self) -> Option<Value> {
        None
    }

    /// How objects of a custom resource are merged by server-side apply.
    fn shape(&self) -> Arc<Shape> {
        Arc::clone(&OBJECT)
    }

    /// The fields at the top of a custom resource that an apply may name; `None` for any.
    fn top_fields(&self) -> Option<Vec<String>> {
        let all = ["apiVersion", "kind", "metadata", "spec", "status"];
        Some(all.map(str::to_owned).to_vec())
    }

    /// Whether the definition of the kind is being deleted, so that creates are rejected.
    fn is_closing(&self) -> bool {
        false
    }

    /// Whether `metadata.selfLink` is kept on objects and lists (MXJobs, CONTRACT section 1).
    fn self_link(&self) -> bool {
        false
    }

    /// Whether changes count in `metadata.generation`.
    fn has_generation(&self) -> bool {
        false
    }

    /// Whether a create may bring a status (nodes register with theirs).
    fn keeps_status_on_create(&self) -> bool {
        false
    }
}

/// The neutral strategy.
#[derive(Debug)]
pub(crate) struct Plain;

impl Strategy for Plain {}
