//! The operations of a JSON patch, one at a time.

use serde_json::{Map, Value};

use super::{
    MAX_COPY_BYTES, PatchError,
    pointer::{Pointer, find, find_mut, get, index},
};

/// How many array items inserts and removals may shift in one patch. A patch within the other
/// limits can otherwise ask for tens of thousands of shifts of a million items each.
const MAX_SHIFTED_ITEMS: usize = 200_000_000;

/// One decoded operation.
#[derive(Debug)]
pub(super) struct Operation<'a> {
    name: &'a str,
    path: Pointer,
    path_text: &'a str,
    from: Option<Pointer>,
    value: &'a Value,
}

/// A document on which operations act in turn.
#[derive(Debug)]
pub(super) struct Applier {
    document: Value,
    copied_bytes: usize,
    shifted_items: usize,
}

// === impl Operation ===

impl<'a> Operation<'a> {
    /// Reads an operation. What is missing shows only when it is applied, as upstream has it.
    pub(super) fn decode(item: &'a Value) -> Result<Self, PatchError> {
        static NULL: Value = Value::Null;
        let Value::Object(map) = item else {
            let kind = crate::json::kind(item);
            return Err(PatchError::Decode(format!(
                "json: cannot unmarshal {kind} into Go value of type jsonpatch.Operation"
            )));
        };
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let path_text = text("path").unwrap_or_default();
        Ok(Self {
            name: text("op").unwrap_or("unknown"),
            path: Pointer::parse(path_text),
            path_text,
            from: text("from").map(Pointer::parse),
            value: map.get("value").unwrap_or(&NULL),
        })
    }

    fn fails(&self, why: impl Into<String>) -> PatchError {
        PatchError::DoesNotApply { operation: self.name.to_owned(), why: why.into() }
    }

    /// The container and the key the operation is about.
    fn target(&self) -> Result<(&[String], &str), PatchError> {
        self.path.split_last().ok_or_else(|| self.fails("the document itself cannot be a target"))
    }

    fn source(&self) -> Result<(&[String], &str), PatchError> {
        let from = self.from.as_ref().ok_or_else(|| self.fails("\"from\" is missing"))?;
        from.split_last().ok_or_else(|| self.fails("the document itself cannot be a source"))
    }

    fn missing(&self, path: &str) -> PatchError {
        self.fails(format!("doc is missing path: {path:?}: missing value"))
    }
}

// === impl Applier ===

impl Applier {
    pub(super) fn new(document: Value) -> Self {
        Self { document, copied_bytes: 0, shifted_items: 0 }
    }

    pub(super) fn into_document(self) -> Value {
        self.document
    }

    pub(super) fn apply(&mut self, operation: &Operation<'_>) -> Result<(), PatchError> {
        match operation.name {
            "add" => self.add(operation, operation.value.clone()),
            "remove" => self.remove(operation, operation.target()?).map(drop),
            "replace" => self.replace(operation),
            "test" => self.test(operation),
            "move" => {
                let value = self.remove(operation, operation.source()?)?;
                self.add(operation, value)
            }
            "copy" => {
                let (parents, key) = operation.source()?;
                let value = find(&self.document, parents)
                    .and_then(|container| get(container, key))
                    .ok_or_else(|| operation.missing(key))?
                    .clone();
                self.copied_bytes =
                    self.copied_bytes.saturating_add(crate::json::encoded_len(&value));
                if self.copied_bytes > MAX_COPY_BYTES {
                    return Err(operation.fails(format!(
                        "unable to copy, the accumulated size of copies is over {MAX_COPY_BYTES} bytes"
                    )));
                }
                self.add(operation, value)
            }
            other => Err(operation.fails(format!("unexpected kind: {other}"))),
        }
    }

    fn add(&mut self, operation: &Operation<'_>, value: Value) -> Result<(), PatchError> {
        let (parents, key) = operation.target()?;
        match find_mut(&mut self.document, parents) {
            Some(Value::Object(map)) => {
                map.insert(key.to_owned(), value);
                Ok(())
            }
            Some(Value::Array(items)) if key == "-" => {
                items.push(value);
                Ok(())
            }
            Some(Value::Array(items)) => {
                // One more place than there are items: after the last is a place too.
                let at = index(key, items.len() + 1)
                    .ok_or_else(|| operation.fails(format!("invalid array index {key:?}")))?;
                self.shifted_items = self.shifted_items.saturating_add(items.len() - at);
                if self.shifted_items > MAX_SHIFTED_ITEMS {
                    return Err(operation.fails("too much work"));
                }
                items.insert(at, value);
                Ok(())
            }
            _ => Err(operation.missing(operation.path_text)),
        }
    }

    fn remove(
        &mut self,
        operation: &Operation<'_>,
        at: (&[String], &str),
    ) -> Result<Value, PatchError> {
        let (parents, key) = at;
        match find_mut(&mut self.document, parents) {
            Some(Value::Object(map)) => map
                .remove(key)
                .ok_or_else(|| operation.fails(format!("unable to remove nonexistent key: {key}"))),
            Some(Value::Array(items)) => {
                let at = index(key, items.len())
                    .ok_or_else(|| operation.fails(format!("invalid array index {key:?}")))?;
                self.shifted_items = self.shifted_items.saturating_add(items.len() - at);
                if self.shifted_items > MAX_SHIFTED_ITEMS {
                    return Err(operation.fails("too much work"));
                }
                Ok(items.remove(at))
            }
            _ => Err(operation.missing(operation.path_text)),
        }
    }

    fn replace(&mut self, operation: &Operation<'_>) -> Result<(), PatchError> {
        let (parents, key) = operation.target()?;
        match find_mut(&mut self.document, parents) {
            Some(Value::Object(map)) => replace_key(map, key, operation.value),
            Some(Value::Array(items)) => {
                let place = index(key, items.len())
                    .and_then(|at| items.get_mut(at))
                    .ok_or_else(|| operation.fails(format!("invalid array index {key:?}")))?;
                *place = operation.value.clone();
            }
            _ => return Err(operation.missing(operation.path_text)),
        }
        Ok(())
    }

    fn test(&self, operation: &Operation<'_>) -> Result<(), PatchError> {
        let (parents, key) = operation.target()?;
        let container = find(&self.document, parents)
            .filter(|container| container.is_object() || container.is_array())
            .ok_or_else(|| operation.missing(operation.path_text))?;
        let current = get(container, key).unwrap_or(&Value::Null);
        if current == operation.value {
            Ok(())
        } else {
            Err(PatchError::TestFailed(operation.path_text.to_owned()))
        }
    }
}

/// Upstream does not ask that the key be there.
fn replace_key(map: &mut Map<String, Value>, key: &str, value: &Value) {
    map.insert(key.to_owned(), value.clone());
}
