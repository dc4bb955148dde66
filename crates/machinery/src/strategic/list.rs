//! Merging lists: by key, as a set of scalars, or not at all.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{PatchError, directive, key_of, merge_map, order, without_directives};
use crate::ownership::Shape;

/// The items of a list after the patch.
pub(super) fn merge(
    original: Vec<Value>,
    patch: &[Value],
    shape: &Shape,
    name: &str,
) -> Result<Vec<Value>, PatchError> {
    match (shape, shape.merge_key()) {
        (Shape::ListMap { item, .. }, Some(key)) => by_key(original, patch, key, item, name),
        (Shape::Set, _) => set(original, patch, name),
        _ => Ok(patch.iter().map(without_directives).collect()),
    }
}

/// Whether a patch fits a list of which nothing is there yet.
pub(super) fn check(patch: &[Value], shape: &Shape, name: &str) -> Result<(), PatchError> {
    let Some(key) = shape.merge_key() else { return Ok(()) };
    patch.iter().try_for_each(|item| key_of_patch(item, key, name).map(drop))
}

/// Takes scalars out of a set.
pub(super) fn delete_scalars(
    original: Option<&mut Value>,
    removed: &Value,
    field: &str,
) -> Result<(), PatchError> {
    let bad = || PatchError::BadPrimitiveList(field.to_owned());
    let removed = removed.as_array().ok_or_else(bad)?;
    if removed.iter().any(|value| value.is_object() || value.is_array()) {
        return Err(bad());
    }
    let removed: HashSet<String> = removed.iter().map(Value::to_string).collect();
    if let Some(items) = original.and_then(Value::as_array_mut) {
        items.retain(|item| !removed.contains(&item.to_string()));
    }
    Ok(())
}

fn set(original: Vec<Value>, patch: &[Value], name: &str) -> Result<Vec<Value>, PatchError> {
    if original.iter().chain(patch).any(|item| item.is_object() || item.is_array()) {
        return Err(PatchError::MixedList(name.to_owned()));
    }
    let before = order::positions(original.iter().map(|item| Some(item.to_string())));
    let mut seen = HashSet::new();
    let mut merged: Vec<Value> = original.into_iter().chain(patch.iter().cloned()).collect();
    merged.retain(|item| seen.insert(item.to_string()));
    let wanted = order::positions(patch.iter().map(|item| Some(item.to_string())));
    Ok(order::arrange(merged, &wanted, &before, |item| Some(item.to_string())))
}

/// Merges a list whose items are identified by a key. An item of the patch changes all that it says
/// of the first item with its key; new ones are added.
fn by_key(
    original: Vec<Value>,
    patch: &[Value],
    key: &str,
    shape: &Shape,
    name: &str,
) -> Result<Vec<Value>, PatchError> {
    let (mut removed, mut changes, mut replace) = (HashSet::new(), Vec::new(), false);
    for item in patch {
        match directive::of_item(item) {
            None => changes.push((key_of_patch(item, key, name)?, item)),
            Some("replace") => replace = true,
            Some("delete") => {
                removed.insert(key_of_patch(item, key, name)?);
            }
            Some(found) => {
                let found = found.to_owned();
                return Err(PatchError::UnknownDirective { found, context: name.to_owned() });
            }
        }
    }
    if replace {
        return Ok(changes.into_iter().map(|(_, item)| without_directives(item)).collect());
    }
    let before = order::positions(original.iter().map(|item| key_of(item, key)));
    let mut merged = original;
    merged.retain(|item| key_of(item, key).is_none_or(|value| !removed.contains(&value)));
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, item) in merged.iter().enumerate() {
        if let Some(value) = key_of(item, key) {
            places.entry(value).or_insert(place);
        }
    }
    let wanted = order::positions(changes.iter().map(|(value, _)| Some(value.clone())));
    for (value, change) in changes {
        match places.get(&value).and_then(|place| merged.get_mut(*place)) {
            Some(Value::Object(item)) => {
                if let Value::Object(change) = change {
                    *item = merge_map(std::mem::take(item), change, shape, name)?;
                }
            }
            _ => {
                places.insert(value, merged.len());
                merged.push(without_directives(change));
            }
        }
    }
    Ok(order::arrange(merged, &wanted, &before, |item| key_of(item, key)))
}

fn key_of_patch(item: &Value, key: &str, name: &str) -> Result<String, PatchError> {
    if !item.is_object() {
        return Err(PatchError::MixedList(name.to_owned()));
    }
    // The item that says "replace the list" needs no key.
    if directive::replaces_list(item) {
        return Ok(String::new());
    }
    key_of(item, key)
        .ok_or_else(|| PatchError::MissingMergeKey { key: key.to_owned(), field: name.to_owned() })
}
