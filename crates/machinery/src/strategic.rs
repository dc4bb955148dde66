//! Strategic merge patch: a JSON merge patch that knows which lists are merged, and by what.
//!
//! ```text
//!  map     entry by entry; null removes
//!  list    by its merge key where the shape has one, as a set of scalars where it says so, else replaced
//!  $patch                      replace or delete the map it stands in; in an item of a list: the item, the list
//!  $retainKeys                 what a union may keep beside the entries of the patch
//!  $setElementOrder/NAME       the order that a merged list shall have
//!  $deleteFromPrimitiveList/NAME   scalars to take out of a set
//! ```
//!
//! Owns the merge. It never checks what comes out of it, which is for the rules of the kind. Every
//! list is merged in time proportional to its length, whatever the patch says.
//!
//! ```
//! use mxjob_machinery::{merge_keys, strategic};
//! use serde_json::json;
//!
//! let pod = json!({"spec": {"containers": [{"name": "mxnet", "image": "a"}, {"name": "side", "image": "b"}]}});
//! let patch = json!({"spec": {"containers": [{"name": "side", "image": "c"}]}});
//! let patched = strategic::patch(&pod, &patch, merge_keys::shape("v1", "Pod"))?;
//! assert_eq!(patched["spec"]["containers"][1]["image"], "c");
//! # Ok::<(), strategic::PatchError>(())
//! ```

mod directive;
mod list;
mod order;

use serde_json::{Map, Value};

use crate::ownership::Shape;
use directive::Directive;

/// Why a strategic merge patch was not applied. All are errors of the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// `$patch` says something that cannot be done there.
    #[error("unknown patch type [{found}] in map[{context}]")]
    UnknownDirective {
        /// What it says.
        found: String,
        /// The field it was found under.
        context: String,
    },
    /// An item of a merged list does not have the key that tells items apart.
    #[error("map does not contain declared merge key: {key} (in {field})")]
    MissingMergeKey {
        /// The merge key of the list.
        key: String,
        /// The list.
        field: String,
    },
    /// A merged list holds scalars where it should hold objects, or the reverse.
    #[error("list element types are not identical in {0}")]
    MixedList(String),
    /// `$retainKeys` is no list, or leaves out an entry of its own patch.
    #[error("invalid patch format of retainKeys")]
    BadRetainKeys,
    /// `$setElementOrder` is no list, or its order is not that of the patch.
    #[error("invalid patch format of setElementOrder list: {0}")]
    BadElementOrder(String),
    /// `$deleteFromPrimitiveList` is no list of scalars.
    #[error("invalid patch format of primitive list: {0}")]
    BadPrimitiveList(String),
}

/// Applies a strategic merge patch and gives the changed copy.
///
/// # Errors
/// Where the patch contradicts itself or the lists it is about.
pub fn patch(document: &Value, patch: &Value, shape: &Shape) -> Result<Value, PatchError> {
    let (Value::Object(original), Value::Object(changes)) = (document, patch) else {
        return Ok(without_directives(patch));
    };
    merge_map(original.clone(), changes, shape, "").map(Value::Object)
}

/// The entries of a map after the patch.
fn merge_map(
    mut original: Map<String, Value>,
    patch: &Map<String, Value>,
    shape: &Shape,
    name: &str,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(directive::PATCH).map(Value::as_str) {
        None => {}
        Some(Some("replace")) => return Ok(plain_entries(patch)),
        Some(Some("delete")) => return Ok(Map::new()),
        Some(found) => {
            let found = found.unwrap_or_default().to_owned();
            return Err(PatchError::UnknownDirective { found, context: name.to_owned() });
        }
    }
    directive::retain_keys(&mut original, patch)?;
    let orders = order::wanted(&original, patch, shape)?;
    // Scalars are taken out of sets before the others are added.
    for (key, change) in patch {
        match Directive::of(key) {
            Some(Directive::DeleteFromPrimitiveList(field)) => {
                list::delete_scalars(original.get_mut(field), change, field)?;
            }
            Some(Directive::Patch | Directive::RetainKeys | Directive::SetElementOrder(_)) => {}
            None => {
                let below = shape.field(key).0;
                let merged = merge_entry(original.remove(key), change, below, key)?;
                original.extend(merged.map(|value| (key.clone(), value)));
            }
        }
    }
    for order in orders {
        order.apply(&mut original);
    }
    Ok(original)
}

/// One entry of a map after the patch; `None` where it goes.
fn merge_entry(
    original: Option<Value>,
    change: &Value,
    shape: &Shape,
    name: &str,
) -> Result<Option<Value>, PatchError> {
    match (original, change) {
        (_, Value::Null) => Ok(None),
        (Some(Value::Object(original)), Value::Object(change)) => {
            merge_map(original, change, shape, name).map(|map| Some(Value::Object(map)))
        }
        (Some(Value::Array(original)), Value::Array(change)) => {
            list::merge(original, change, shape, name).map(|items| Some(Value::Array(items)))
        }
        (_, Value::Array(items)) => {
            list::check(items, shape, name)?;
            Ok(Some(without_directives(change)))
        }
        (_, change) => Ok(Some(without_directives(change))),
    }
}

/// The value of a list item's merge key, as text to look it up by.
fn key_of(item: &Value, key: &str) -> Option<String> {
    item.get(key).map(Value::to_string)
}

/// A part of a patch that has nothing to be merged with: without directives, nulls and items to be
/// deleted.
fn without_directives(patch: &Value) -> Value {
    match patch {
        Value::Object(_) if directive::deletes(patch) => Value::Object(Map::new()),
        Value::Object(map) => Value::Object(plain_entries(map)),
        Value::Array(items) => Value::Array(
            items
                .iter()
                .filter(|item| !directive::deletes(item) && !directive::replaces_list(item))
                .map(without_directives)
                .collect(),
        ),
        scalar => scalar.clone(),
    }
}

fn plain_entries(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(key, value)| Directive::of(key).is_none() && !value.is_null())
        .map(|(key, value)| (key.clone(), without_directives(value)))
        .collect()
}

#[cfg(test)]
mod tests;
