//! Which fields differ between two values.

use serde_json::Value;

use super::{
    set::{Element, Set},
    shape::Shape,
    tree::{Child, View, view},
};
use crate::json;

/// What became of the fields on the way from one value to another.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

/// Compares two values of one shape.
pub(super) fn compare(old: &Value, new: &Value, shape: &Shape) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.walk(Some(old), Some(new), shape, &mut Vec::new());
    comparison
}

impl Comparison {
    /// The same without what lies in or below the given fields.
    pub(super) fn without(self, ignored: &Set) -> Self {
        if ignored.is_empty() {
            return self;
        }
        Self {
            added: self.added.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
        }
    }

    /// Fields that have a new value.
    pub(super) fn written(&self) -> Set {
        self.added.clone().union(&self.modified)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn walk(
        &mut self,
        old: Option<&Value>,
        new: Option<&Value>,
        shape: &Shape,
        path: &mut Vec<Element>,
    ) {
        // Most of an object does not change: equal values have no differences below.
        if old == new {
            return;
        }
        match (view(old, shape), view(new, shape)) {
            (View::Absent, View::Absent) | (View::Null, View::Null) => {}
            (View::Absent, View::Null | View::Leaf(_)) => self.added.insert(path),
            (View::Null | View::Leaf(_), View::Absent) => self.removed.insert(path),
            (View::Leaf(old), View::Leaf(new)) => {
                if !json::equal(old, new) {
                    self.modified.insert(path);
                }
            }
            (View::Leaf(_), View::Null) | (View::Null, View::Leaf(_)) => self.modified.insert(path),
            (View::Absent, View::Node(children)) => {
                self.all(&children, path, true);
                self.added.insert(path);
            }
            (View::Node(children), View::Absent) => {
                self.all(&children, path, false);
                self.removed.insert(path);
            }
            (View::Leaf(_), View::Node(children)) => {
                self.all(&children, path, true);
                self.modified.insert(path);
            }
            (View::Node(children), View::Leaf(_)) => {
                self.all(&children, path, false);
                self.modified.insert(path);
            }
            // Null is an empty map, except that it differs from one.
            (View::Null, View::Node(children)) if children.is_empty() => self.modified.insert(path),
            (View::Node(children), View::Null) if children.is_empty() => self.modified.insert(path),
            (View::Null, View::Node(children)) => self.all(&children, path, true),
            (View::Node(children), View::Null) => self.all(&children, path, false),
            (View::Node(old), View::Node(new)) => self.both(old, new, path),
        }
    }

    /// Everything below a value that came or went as a whole.
    fn all(&mut self, children: &[Child<'_>], path: &mut Vec<Element>, came: bool) {
        for child in children {
            path.push(child.element.clone());
            let (old, new) =
                if came { (None, Some(child.value)) } else { (Some(child.value), None) };
            self.walk(old, new, child.shape, path);
            path.pop();
        }
    }

    fn both(&mut self, old: Vec<Child<'_>>, new: Vec<Child<'_>>, path: &mut Vec<Element>) {
        let mut old: std::collections::HashMap<Element, Child<'_>> =
            old.into_iter().map(|child| (child.element.clone(), child)).collect();
        for child in new {
            let before = old.remove(&child.element).map(|before| before.value);
            path.push(child.element);
            self.walk(before, Some(child.value), child.shape, path);
            path.pop();
        }
        for (element, child) in old {
            path.push(element);
            self.walk(Some(child.value), None, child.shape, path);
            path.pop();
        }
    }
}
