//! Defaults of a schema.

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
}
