//! The order of merged lists: the patch decides about the items it names, the others stay where
//! they were between them as far as that can be.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    PatchError,
    directive::{self, Directive},
    key_of,
};
use crate::ownership::Shape;

/// Where each key comes first.
pub(super) fn positions(keys: impl Iterator<Item = Option<String>>) -> HashMap<String, usize> {
    let mut positions = HashMap::new();
    for (position, key) in keys.enumerate() {
        if let Some(key) = key {
            positions.entry(key).or_insert(position);
        }
    }
    positions
}

/// Brings merged items into order: those with a place in `wanted` in that order, the others in the
/// order they have, each before the next item that followed it in `before`. Items that are new come
/// first, as upstream has it.
pub(super) fn arrange(
    merged: Vec<Value>,
    wanted: &HashMap<String, usize>,
    before: &HashMap<String, usize>,
    key: impl Fn(&Value) -> Option<String>,
) -> Vec<Value> {
    let size = merged.len();
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for item in merged {
        let key = key(&item);
        let place = key.as_ref().and_then(|key| before.get(key)).copied();
        match key.and_then(|key| wanted.get(&key)) {
            Some(position) => named.push((*position, place, item)),
            None => others.push((place, item)),
        }
    }
    named.sort_by_key(|(position, _, _)| *position);
    others.sort_by_key(|(place, _)| place.unwrap_or(usize::MAX));
    let mut arranged = Vec::with_capacity(size);
    let mut others = others.into_iter().peekable();
    for (_, place, item) in named {
        while let Some((_, other)) =
            others.next_if(|(other, _)| other.is_some() && place.is_some() && *other < place)
        {
            arranged.push(other);
        }
        arranged.push(item);
    }
    arranged.extend(others.map(|(_, item)| item));
    arranged
}

/// An order that a `$setElementOrder` asks for.
pub(super) struct Order<'a> {
    field: &'a str,
    /// The merge key of the list; `None` for a list of scalars.
    key: Option<&'a str>,
    wanted: HashMap<String, usize>,
    /// Where the items were before the patch.
    before: HashMap<String, usize>,
}

/// The orders that a patch of a map asks for.
pub(super) fn wanted<'a>(
    original: &Map<String, Value>,
    patch: &'a Map<String, Value>,
    shape: &'a Shape,
) -> Result<Vec<Order<'a>>, PatchError> {
    let asked = patch.iter().filter_map(|(key, wanted)| match Directive::of(key) {
        Some(Directive::SetElementOrder(field)) => Some((field, wanted)),
        _ => None,
    });
    asked
        .map(|(field, wanted)| {
            let key = shape.field(field).0.merge_key();
            Order::read(field, key, wanted, original.get(field), patch.get(field))
                .ok_or_else(|| PatchError::BadElementOrder(field.to_owned()))
        })
        .collect()
}

// === impl Order ===

impl<'a> Order<'a> {
    /// `None` where the order is not one, or is not the one in which the patch names its items.
    fn read(
        field: &'a str,
        key: Option<&'a str>,
        wanted: &Value,
        original: Option<&Value>,
        patch: Option<&Value>,
    ) -> Option<Self> {
        let wanted: Option<Vec<String>> =
            wanted.as_array()?.iter().map(|item| text_of(item, key)).collect();
        let wanted = positions(wanted?.into_iter().map(Some));
        let mut last = 0;
        for item in patch.and_then(Value::as_array).into_iter().flatten() {
            if directive::of_item(item).is_none() {
                let position = *wanted.get(&text_of(item, key)?)?;
                if position < last {
                    return None;
                }
                last = position;
            }
        }
        let original = original.and_then(Value::as_array).into_iter().flatten();
        let before = positions(original.map(|item| text_of(item, key)));
        Some(Self { field, key, wanted, before })
    }

    /// Arranges the merged list.
    pub(super) fn apply(self, merged: &mut Map<String, Value>) {
        if let Some(Value::Array(items)) = merged.get_mut(self.field) {
            let all = std::mem::take(items);
            *items = arrange(all, &self.wanted, &self.before, |item| text_of(item, self.key));
        }
    }
}

/// What tells an item from the others.
fn text_of(item: &Value, key: Option<&str>) -> Option<String> {
    match key {
        Some(key) => key_of(item, key),
        None => (!item.is_object() && !item.is_array()).then(|| item.to_string()),
    }
}
