//! How objects of a custom resource are merged by server-side apply, from the schema's list and map
//! types.

use std::collections::HashMap;

use mxjob_machinery::ownership::{OBJECT, OBJECT_META, Shape};
use mxjob_machinery::schema::{Entries, ListType, Node, Type};
use parking_lot::Mutex;
use serde_json::Value;

/// Shapes are `'static` everywhere, so each different one is made once in the life of the program.
/// They are small: only the parts of a schema that are merged in a way of their own are in them.
static KNOWN: Mutex<Option<HashMap<String, &'static Shape>>> = Mutex::new(None);

/// The shape of a kind. `root` was read from `schema`.
pub(super) fn of(root: &Node, schema: &Value) -> &'static Shape {
    let mut skeleton = String::new();
    outline(schema, &mut skeleton);
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    known.entry(skeleton).or_insert_with(|| {
        let Shape::Struct(own) = &OBJECT else { return &OBJECT };
        let mut fields: Vec<(&'static str, &'static Shape)> = own.to_vec();
        for (name, node) in &root.fields {
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some((known, _)) if matches!(*known, "apiVersion" | "kind" | "metadata") => {}
                Some((_, shape)) => *shape = kept(node),
                None => fields.push((name.clone().leak(), kept(node))),
            }
        }
        Box::leak(Box::new(Shape::Struct(fields.leak())))
    })
}

/// What matters of a schema for its shape, written down.
fn outline(schema: &Value, out: &mut String) {
    for keyword in [
        "type",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
    ] {
        if let Some(value) = schema.get(keyword) {
            out.push_str(&value.to_string());
        }
        out.push(',');
    }
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        out.push_str(name);
        out.push('{');
        outline(field, out);
        out.push('}');
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(keyword) {
            out.push('[');
            outline(below, out);
            out.push(']');
        }
    }
    if let Some(default) = schema.get("default").filter(|default| default.is_string()) {
        out.push_str(&default.to_string());
    }
}

fn kept(node: &Node) -> &'static Shape {
    match shape(node) {
        Shape::Atomic => &Shape::Atomic,
        Shape::Any => &Shape::Any,
        Shape::Set => &Shape::Set,
        shape => Box::leak(Box::new(shape)),
    }
}

fn shape(node: &Node) -> Shape {
    match node.kind {
        Some(Type::Object) if node.is_atomic => Shape::Atomic,
        Some(Type::Object) => match &node.entries {
            Entries::Of(entry) => Shape::Map(kept(entry)),
            Entries::Any => Shape::Map(&Shape::Any),
            Entries::None if node.fields.is_empty() => Shape::Any,
            Entries::None => {
                let mut fields: Vec<(&'static str, &'static Shape)> = node
                    .fields
                    .iter()
                    .map(|(name, field)| (&*name.clone().leak(), kept(field)))
                    .collect();
                if node.embedded {
                    fields.retain(|(name, _)| *name != "metadata");
                    fields.push(("metadata", &OBJECT_META));
                }
                Shape::Struct(fields.leak())
            }
        },
        Some(Type::Array) => match (&node.list, &node.items) {
            (ListType::Set, _) => Shape::Set,
            (ListType::Map(keys), Some(item)) => {
                let key = |key: &String| {
                    let default =
                        item.fields.get(key).and_then(|field| field.default.as_ref()?.as_str());
                    let default = default.map(|text| &*text.to_owned().leak());
                    (&*key.clone().leak(), default)
                };
                let keys: Vec<_> = keys.iter().map(key).collect();
                Shape::ListMap { keys: keys.leak(), item: kept(item) }
            }
            _ => Shape::Atomic,
        },
        None if node.is_open && node.fields.is_empty() => Shape::Any,
        _ => Shape::Atomic,
    }
}
