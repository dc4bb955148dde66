//! Field ownership of the served kinds, by `mxjob_machinery::ownership`.

use jiff::Timestamp;
use mxjob_machinery::merge_keys;
use mxjob_machinery::ownership::{self, ApplyError, Options, Set};
use serde_json::Value;

use crate::document;
use crate::error::ApiError;
use crate::kind::Kind;

/// A write, as field ownership sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) kind: &'a Kind,
    /// `None` for the object itself.
    pub(crate) subresource: Option<&'a str>,
    pub(crate) manager: &'a str,
    pub(crate) now: Timestamp,
}

/// The manager of what the server itself writes.
const SERVER: &str = "mxjob-apiserver";

/// Makes the server the owner of the status that it derived, if it differs from the one before.
pub(crate) fn record_derived_status(
    kind: &Kind,
    now: Timestamp,
    before: Option<&Value>,
    object: &mut Value,
) {
    if object.get("status") == before {
        return;
    }
    let mut old = object.clone();
    if let Some(members) = old.as_object_mut() {
        members.remove("status");
        members.extend(before.map(|status| ("status".to_owned(), status.clone())));
    }
    Write { kind, subresource: Some("status"), manager: SERVER, now }.record(
        Some(&old),
        None,
        object,
    );
}

impl Write<'_> {
    /// Updates `managedFields` of `new` after a create, update or patch. On a subresource the
    /// manager owns the fields as `sent`, even if they are not stored (as upstream).
    pub(crate) fn record(&self, old: Option<&Value>, sent: Option<Value>, new: &mut Value) {
        // Go writes some fields of typed objects always; they belong to nobody.
        let zero_value = (old.is_none() && self.kind.is_typed())
            .then(|| merge_keys::zero_value(&self.kind.api_version(), &self.kind.kind));
        let old = old.or(zero_value.as_ref());
        self.with_options(|options| match sent {
            None => ownership::update(old, new, options),
            Some(mut sent) => {
                ownership::update(old, &mut sent, options);
                document::carry_managed(&sent, new);
            }
        });
    }

    /// The object after a server-side apply of `intent` to `old`.
    ///
    /// # Errors
    /// 409 with a cause for each field that others own.
    pub(crate) fn apply(
        &self,
        old: Option<&Value>,
        intent: &Value,
        force: bool,
    ) -> Result<Value, ApiError> {
        self.with_options(|options| ownership::apply(old, intent, force, options)).map_err(
            |error| match error {
                ApplyError::ManagedFieldsSet => ApiError::bad_request(error.to_string()),
                ApplyError::Conflicts(conflicts) => {
                    ApiError::apply_conflict(conflicts.to_string(), conflicts.causes())
                }
            },
        )
    }

    fn with_options<T>(&self, act: impl FnOnce(&Options<'_>) -> T) -> T {
        let has_status = self.kind.subresource("status").is_some();
        let ignored = match self.subresource {
            None if has_status => Set::of_fields(&[&["status"]]),
            None => Set::new(),
            Some(_) => Set::of_fields(&[&["spec"]]),
        };
        let api_version = self.kind.api_version();
        let custom = (!self.kind.is_typed()).then(|| self.kind.strategy.shape());
        act(&Options {
            manager: self.manager,
            subresource: self.subresource,
            api_version: &api_version,
            now: self.now,
            ignored: &ignored,
            shape: custom
                .as_deref()
                .unwrap_or_else(|| merge_keys::shape(&api_version, &self.kind.kind)),
        })
    }
}
