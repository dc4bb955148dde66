//! How objects of a custom resource are merged by server-side apply, from the schema's list and map
//! types.

use std::sync::Arc;

use mxjob_machinery::ownership::{OBJECT, OBJECT_META, Shape};
use mxjob_machinery::schema::{Entries, ListType, Node, Type};

/// The shape of a kind with this schema.
pub(super) fn of(root: &Node) -> Arc<Shape> {
    let Shape::Struct(own) = &**OBJECT else { return Arc::clone(&OBJECT) };
    let mut fields = own.clone();
    for (name, node) in &root.fields {
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some((known, _)) if matches!(&**known, "apiVersion" | "kind" | "metadata") => {}
            Some((_, known)) => *known = shape(node),
            None => fields.push((name.clone().into(), shape(node))),
        }
    }
    Arc::new(Shape::Struct(fields))
}

fn shape(node: &Node) -> Shape {
    match node.kind {
        Some(Type::Object) if node.is_atomic => Shape::Atomic,
        Some(Type::Object) => match &node.entries {
            Entries::Of(entry) => Shape::Map(Box::new(shape(entry))),
            Entries::Any => Shape::Map(Box::new(Shape::Any)),
            Entries::None if node.fields.is_empty() => Shape::Any,
            Entries::None => {
                let fields =
                    node.fields.iter().filter(|(name, _)| !node.embedded || *name != "metadata");
                let fields = fields.map(|(name, field)| (name.clone().into(), shape(field)));
                let metadata = node.embedded.then(|| ("metadata".into(), OBJECT_META.clone()));
                Shape::Struct(fields.chain(metadata).collect())
            }
        },
        Some(Type::Array) => match (&node.list, &node.items) {
            (ListType::Set, _) => Shape::Set,
            (ListType::Map(keys), Some(item)) => {
                let key = |key: &String| {
                    let default =
                        item.fields.get(key).and_then(|field| field.default.as_ref()?.as_str());
                    (key.clone().into(), default.map(|text| text.to_owned().into()))
                };
                Shape::ListMap { keys: keys.iter().map(key).collect(), item: Box::new(shape(item)) }
            }
            _ => Shape::Atomic,
        },
        None if node.is_open && node.fields.is_empty() => Shape::Any,
        _ => Shape::Atomic,
    }
}
