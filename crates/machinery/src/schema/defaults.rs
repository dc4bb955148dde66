//! Defaults of a schema, and nulls, which count as missing.

use serde_json::Value;

use super::{Entries, Schema};

impl Schema<'_> {
    /// Sets the default of each missing member, in and below a value. A null where there is a
    /// default and no null is allowed counts as missing.
    pub fn fill(self, value: &mut Value) {
        let node = self.node();
        match value {
            Value::Object(members) => {
                for (name, field) in &node.fields {
                    let Some(default) = &field.default else { continue };
                    let missing = match members.get(name) {
                        None => true,
                        Some(value) => value.is_null() && !field.nullable,
                    };
                    if missing {
                        members.insert(name.clone(), default.clone());
                    }
                }
                if let Entries::Of(entry) = &node.entries
                    && let Some(default) = &entry.default
                {
                    for (name, value) in members.iter_mut() {
                        if value.is_null() && !entry.nullable && !node.fields.contains_key(name) {
                            *value = default.clone();
                        }
                    }
                }
                for (name, value) in members {
                    if let Some(below) = self.member(name) {
                        below.fill(value);
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = self.item() else { return };
                let item = schema.node();
                for value in items {
                    if let (Value::Null, Some(default), false) =
                        (&*value, &item.default, item.nullable)
                    {
                        *value = default.clone();
                    }
                    schema.fill(value);
                }
            }
            _ => {}
        }
    }

    /// Removes each member that is null, in and below a value, unless null is allowed there or
    /// [`Schema::fill`] replaces it by a default. Items of lists stay.
    pub fn drop_nulls(self, value: &mut Value) {
        match value {
            Value::Object(members) => members.retain(|name, value| {
                let Some(below) = self.member(name) else { return true };
                let node = below.node();
                if value.is_null() {
                    return node.nullable || node.default.is_some();
                }
                below.drop_nulls(value);
                true
            }),
            Value::Array(items) => {
                if let Some(item) = self.item() {
                    items.iter_mut().for_each(|value| item.drop_nulls(value));
                }
            }
            _ => {}
        }
    }
}
