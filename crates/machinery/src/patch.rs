//! JSON patch (RFC 6902, as upstream's library reads it) and JSON merge patch (RFC 7386).
//!
//! Time and memory are bounded: a patch has at most [`MAX_OPERATIONS`] operations, its copies
//! together at most [`MAX_COPY_BYTES`], and shifting array items has a budget.

mod operation;
mod pointer;

use serde_json::Value;

use operation::{Applier, Operation};

/// Upstream's limit on the operations of a JSON patch.
pub const MAX_OPERATIONS: usize = 10_000;

/// Upstream's limit on what all `copy` operations of one patch may add, as JSON text.
pub const MAX_COPY_BYTES: usize = 3 * 1024 * 1024;

/// Why a JSON patch was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The body is not a list of operations: a bad request.
    #[error("{0}")]
    Decode(String),
    /// More than [`MAX_OPERATIONS`]: the request is too large.
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    /// A `test` did not hold: the request cannot be processed.
    #[error("testing value {0} failed")]
    TestFailed(String),
    /// An operation does not fit the document: the request cannot be processed.
    #[error("{operation} operation does not apply: {why}")]
    DoesNotApply {
        /// The operation's name.
        operation: String,
        /// The reason.
        why: String,
    },
}

/// Applies a JSON patch and gives the changed copy.
///
/// Three tolerances are upstream's: `replace` of a missing key adds it, `test` of a missing key
/// against null holds, and `-1` counts from the end of an array. The document as a whole cannot be
/// a target.
pub fn json_patch(document: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Array(items) = patch else {
        let kind = crate::json::kind(patch);
        return Err(PatchError::Decode(format!(
            "json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch"
        )));
    };
    if items.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations(items.len()));
    }
    let operations = items.iter().map(Operation::decode).collect::<Result<Vec<_>, _>>()?;
    let mut applier = Applier::new(document.clone());
    for operation in &operations {
        applier.apply(operation)?;
    }
    Ok(applier.into_document())
}

/// Keys of operations that JSON patch does not know, as strict field validation reports them:
/// `[0].extra`.
pub fn json_patch_unknown_fields(patch: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    for (index, item) in patch.as_array().into_iter().flatten().enumerate() {
        for key in item.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !matches!(key.as_str(), "op" | "path" | "from" | "value") {
                unknown.push(format!("[{index}].{key}"));
            }
        }
    }
    unknown
}

/// Applies a JSON merge patch and gives the changed copy.
pub fn merge_patch(document: &Value, patch: &Value) -> Value {
    let mut merged = document.clone();
    merge_into(&mut merged, patch);
    merged
}

fn merge_into(document: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *document = patch.clone();
        return;
    };
    if !document.is_object() {
        *document = Value::Object(serde_json::Map::new());
    }
    let Value::Object(map) = document else { return };
    for (key, change) in changes {
        if change.is_null() {
            map.remove(key);
        } else {
            merge_into(map.entry(key.as_str()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests;
