//! The keys that tell how to merge instead of what.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::PatchError;

pub(super) const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder/";
const DELETE_FROM_PRIMITIVE_LIST: &str = "$deleteFromPrimitiveList/";

/// A directive, with the field it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive<'a> {
    Patch,
    RetainKeys,
    SetElementOrder(&'a str),
    DeleteFromPrimitiveList(&'a str),
}

impl<'a> Directive<'a> {
    /// The directive that a key is; `None` for an ordinary field.
    pub(super) fn of(key: &'a str) -> Option<Self> {
        match key {
            PATCH => Some(Self::Patch),
            RETAIN_KEYS => Some(Self::RetainKeys),
            _ => {
                let order = key.strip_prefix(SET_ELEMENT_ORDER).map(Self::SetElementOrder);
                let delete = || key.strip_prefix(DELETE_FROM_PRIMITIVE_LIST);
                order.or_else(|| delete().map(Self::DeleteFromPrimitiveList))
            }
        }
    }
}

/// What the `$patch` of a list item says.
pub(super) fn of_item(item: &Value) -> Option<&str> {
    item.get(PATCH).map(|directive| directive.as_str().unwrap_or_default())
}

/// Whether an item or map is to go.
pub(super) fn deletes(item: &Value) -> bool {
    of_item(item) == Some("delete")
}

/// Whether an item stands for "the rest of the patch replaces the list".
pub(super) fn replaces_list(item: &Value) -> bool {
    of_item(item) == Some("replace")
}

/// Takes out of a map what `$retainKeys` does not name.
pub(super) fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keys = keys.as_array().ok_or(PatchError::BadRetainKeys)?;
    let keys: HashSet<&str> = keys
        .iter()
        .map(|key| key.as_str().ok_or(PatchError::BadRetainKeys))
        .collect::<Result<_, _>>()?;
    // What the patch itself sets must be kept, or it contradicts itself.
    let contradicts = patch.iter().any(|(key, value)| {
        Directive::of(key).is_none() && !value.is_null() && !keys.contains(key.as_str())
    });
    if contradicts {
        return Err(PatchError::BadRetainKeys);
    }
    original.retain(|key, _| keys.contains(key.as_str()));
    Ok(())
}
