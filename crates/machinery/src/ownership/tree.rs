//! A value seen as ownership sees it, and the set of fields it has.

use serde_json::{Map, Value};

use super::{
    set::{Element, Set},
    shape::Shape,
};

/// One thing below a value.
pub(super) struct Child<'a> {
    pub(super) element: Element,
    pub(super) value: &'a Value,
    pub(super) shape: &'a Shape,
    /// Whether the shape describes a field of this name.
    pub(super) described: bool,
}

/// What a value is to ownership.
pub(super) enum View<'a> {
    /// Not there.
    Absent,
    /// Null: nothing, but said so.
    Null,
    /// Owned and compared as a whole.
    Leaf(&'a Value),
    /// Owned through what is below it.
    Node(Vec<Child<'a>>),
}

/// Sees a value through its shape.
pub(super) fn view<'a>(value: Option<&'a Value>, shape: &'a Shape) -> View<'a> {
    let Some(value) = value else { return View::Absent };
    match (value, shape) {
        (Value::Null, _) => View::Null,
        (Value::Object(map), Shape::Any | Shape::Struct(_) | Shape::Typed(_) | Shape::Map(_)) => {
            View::Node(
                map.iter()
                    .map(|(name, value)| {
                        let (shape, described) = shape.field(name);
                        Child { element: Element::Field(name.clone()), value, shape, described }
                    })
                    .collect(),
            )
        }
        (Value::Array(items), Shape::Set | Shape::ListMap { .. }) => {
            match items_by_element(items, shape) {
                Some(children) => View::Node(children),
                None => View::Leaf(value),
            }
        }
        (other, _) => View::Leaf(other),
    }
}

/// The items of an associative list; `None` if one lacks its keys or two are the same, so that
/// the list can only be taken as a whole.
fn items_by_element<'a>(items: &'a [Value], shape: &'a Shape) -> Option<Vec<Child<'a>>> {
    let mut seen = std::collections::HashSet::with_capacity(items.len());
    items
        .iter()
        .map(|value| {
            let element = element_of(value, shape)?;
            seen.insert(element.clone()).then(|| Child {
                element,
                value,
                shape: shape.item(),
                described: false,
            })
        })
        .collect()
}

/// What tells an item of an associative list from the others.
pub(super) fn element_of(item: &Value, shape: &Shape) -> Option<Element> {
    match shape {
        Shape::Set => {
            (!item.is_object() && !item.is_array()).then(|| Element::Value(item.to_string()))
        }
        Shape::ListMap { keys, .. } => {
            let map = item.as_object()?;
            let mut found = Map::new();
            for (key, default) in keys {
                let value = match (map.get(&**key), default) {
                    (Some(value), _) => value.clone(),
                    (None, Some(default)) => Value::from(default.as_ref()),
                    (None, None) => return None,
                };
                found.insert(key.clone().into_owned(), value);
            }
            Some(Element::Key(Value::Object(found).to_string()))
        }
        Shape::Any | Shape::Atomic | Shape::Struct(_) | Shape::Typed(_) | Shape::Map(_) => None,
    }
}

/// The fields a value has: what an applier of it owns.
pub(super) fn fields_of(value: &Value, shape: &Shape) -> Set {
    let mut set = Set::new();
    collect(value, shape, &mut Vec::new(), &mut set);
    set
}

fn collect(value: &Value, shape: &Shape, path: &mut Vec<Element>, set: &mut Set) {
    match view(Some(value), shape) {
        View::Absent | View::Null => {}
        View::Leaf(_) => set.insert(path),
        View::Node(children) => {
            for child in children {
                path.push(child.element);
                collect(child.value, child.shape, path, set);
                let empty =
                    child.value.is_null() || child.value.as_object().is_some_and(Map::is_empty);
                if empty || !child.described {
                    set.insert(path);
                }
                path.pop();
            }
        }
    }
}

/// The set with every described field on the way to a member made a member.
pub(super) fn with_described(set: &Set, shape: &Shape) -> Set {
    let mut out = Set::new();
    for (element, member, children) in set.steps() {
        let (below, described) = match element {
            Element::Field(name) => shape.field(name),
            Element::Key(_) | Element::Value(_) | Element::Index(_) => (shape.item(), false),
        };
        let member = member || (described && !children.is_empty());
        out.put(element.clone(), member, with_described(children, below));
    }
    out
}

/// Takes the members of a set out of a value. Maps and lists that this empties go, too.
pub(super) fn remove(value: &mut Value, removed: &Set, shape: &Shape) {
    match (value, shape) {
        (Value::Object(map), Shape::Any | Shape::Struct(_) | Shape::Typed(_) | Shape::Map(_)) => {
            map.retain(|name, value| {
                let Some((member, below)) = removed.step(&Element::Field(name.clone())) else {
                    return true;
                };
                !member && !emptied(value, below, shape.field(name).0)
            });
        }
        (Value::Array(items), Shape::Set | Shape::ListMap { .. }) => {
            items.retain_mut(|item| {
                let Some((member, below)) =
                    element_of(item, shape).and_then(|element| removed.step(&element))
                else {
                    return true;
                };
                !member && !emptied(item, below, shape.item())
            });
        }
        _ => {}
    }
}

/// Removes from a value below another, and tells whether nothing is left where something was.
fn emptied(value: &mut Value, removed: &Set, shape: &Shape) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let before = is_empty(value);
    remove(value, removed, shape);
    !before && is_empty(value)
}
