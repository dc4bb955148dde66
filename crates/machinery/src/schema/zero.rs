//! Null, and the few other forms that Go's decoder accepts and a strict one does not.
//!
//! Go leaves the zero value of the type where JSON says null. As a field of a struct that means
//! that the field is absent, and readers understand null there. As an entry of a map or an item of
//! a list it is a value like any other: the empty string, 0, the empty object. Nothing else can be
//! stored in its place, or no typed client could read the object again.

use serde_json::{Map, Value};

use super::{Node, Schema, Type};

impl Schema<'_> {
    /// Replaces each null that is an entry of a map or an item of a list by the zero value of its
    /// type. Null stays as the value of a field, where it counts as absent, and where anything may
    /// stand.
    ///
    /// Two more forms are normalized that Go's decoder accepts and its encoder never writes: line
    /// breaks in base64, and a time that is the empty string, which becomes null.
    ///
    /// ```
    /// use mxjob_machinery::schema::kubernetes;
    /// use serde_json::json;
    ///
    /// let schema = kubernetes::kind("", "v1", "ConfigMap").ok_or("no such kind")?;
    /// let mut map = json!({ "data": { "a": null }, "immutable": null });
    /// schema.zero_nulls(&mut map);
    /// assert_eq!(map, json!({ "data": { "a": "" }, "immutable": null }));
    /// # Ok::<(), &str>(())
    /// ```
    pub fn zero_nulls(self, value: &mut Value) {
        let node = self.node();
        match value {
            Value::Object(members) => self.zero_nulls_in(members),
            Value::Array(items) => {
                let Some(item) = self.item() else { return };
                items.iter_mut().for_each(|value| element(value, item));
            }
            Value::String(text) if node.kind == Some(Type::String) => match &*node.format {
                "byte" => text.retain(|char| !matches!(char, '\r' | '\n')),
                "date-time" if text.is_empty() => *value = Value::Null,
                _ => {}
            },
            _ => {}
        }
    }

    /// The same for the members of an object.
    pub(crate) fn zero_nulls_in(self, members: &mut Map<String, Value>) {
        for (name, value) in members {
            match (self.field(name), self.entry()) {
                (Some(field), _) => field.zero_nulls(value),
                (None, Some(entry)) => element(value, entry),
                (None, None) => {}
            }
        }
    }
}

fn element(value: &mut Value, schema: Schema<'_>) {
    if value.is_null() {
        *value = zero(schema.node());
    } else {
        schema.zero_nulls(value);
    }
}

fn zero(node: &Node) -> Value {
    match node.kind {
        None if node.is_quantity => "0".into(),
        // An int-or-string is an integer first.
        None if node.int_or_string => 0.into(),
        None => Value::Null,
        Some(Type::Object) => Map::new().into(),
        Some(Type::Array) => Vec::<Value>::new().into(),
        // Go's zero time. As a value in a map it has to be one.
        Some(Type::String) if &*node.format == "date-time" => "0001-01-01T00:00:00Z".into(),
        Some(Type::String) => "".into(),
        Some(Type::Integer | Type::Number) => 0.into(),
        Some(Type::Boolean) => false.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::kubernetes;

    #[track_caller]
    fn check(kind: &str, mut object: Value, expected: &Value) {
        kubernetes::kind("", "v1", kind).unwrap().zero_nulls(&mut object);
        assert_eq!(object, *expected);
        let before = object.clone();
        kubernetes::kind("", "v1", kind).unwrap().zero_nulls(&mut object);
        assert_eq!(object, before, "a second time changes nothing");
    }

    #[test]
    fn null_in_a_map_is_the_zero_value_of_its_type() {
        for (kind, object, expected) in [
            (
                "ConfigMap",
                json!({"data": {"a": null, "b": "x"}}),
                json!({"data": {"a": "", "b": "x"}}),
            ),
            ("ConfigMap", json!({"binaryData": {"a": null}}), json!({"binaryData": {"a": ""}})),
            ("Secret", json!({"stringData": {"a": null}}), json!({"stringData": {"a": ""}})),
            (
                "Pod",
                json!({"spec": {"nodeSelector": {"a": null}}}),
                json!({"spec": {"nodeSelector": {"a": ""}}}),
            ),
            (
                "Pod",
                json!({"spec": {"overhead": {"cpu": null}}}),
                json!({"spec": {"overhead": {"cpu": "0"}}}),
            ),
            (
                "Pod",
                json!({"spec": {"containers": [{"resources": {"limits": {"cpu": null, "memory": 1}}}]}}),
                json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "0", "memory": 1}}}]}}),
            ),
            (
                "Pod",
                json!({"metadata": {"labels": {"a": null}}}),
                json!({"metadata": {"labels": {"a": ""}}}),
            ),
        ] {
            check(kind, object, &expected);
        }
    }

    #[test]
    fn null_in_a_list_is_the_zero_value_of_its_type() {
        for (object, expected) in [
            (json!({"containers": [null]}), json!({"containers": [{}]})),
            (json!({"volumes": [null, {"name": "a"}]}), json!({"volumes": [{}, {"name": "a"}]})),
            (
                json!({"containers": [{"env": [null], "args": ["a", null], "command": null}]}),
                json!({"containers": [{"env": [{}], "args": ["a", ""], "command": null}]}),
            ),
            (
                json!({"securityContext": {"supplementalGroups": [null, 5]}}),
                json!({"securityContext": {"supplementalGroups": [0, 5]}}),
            ),
        ] {
            check("Pod", json!({"spec": object}), &json!({"spec": expected}));
        }
        check(
            "Pod",
            json!({"metadata": {"finalizers": [null], "ownerReferences": [null]}}),
            &json!({"metadata": {"finalizers": [""], "ownerReferences": [{}]}}),
        );
    }

    #[test]
    fn null_as_a_field_or_as_any_json_stays() {
        for (kind, object) in [
            ("Pod", json!({"spec": null, "status": {"startTime": null}})),
            ("Pod", json!({"spec": {"containers": [{"name": null, "securityContext": null}]}})),
            (
                "Pod",
                json!({"metadata": {"labels": null, "managedFields": [{"fieldsV1": {"f:a": null}}]}}),
            ),
            ("Pod", json!({"nope": [null], "spec": {"nope": {"a": null}}})),
            ("Pod", json!({"spec": [null]})),
            ("Pod", json!([null])),
        ] {
            let expected = object.clone();
            check(kind, object, &expected);
        }
        let schema = kubernetes::kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let mut object = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {
            "default": null, "enum": [null], "properties": {"a": {"default": {"b": null}}},
        }}}]}});
        let expected = object.clone();
        schema.unwrap().zero_nulls(&mut object);
        assert_eq!(object, expected);
    }

    #[test]
    fn forms_that_only_gos_decoder_takes_are_brought_into_the_usual_one() {
        check("Secret", json!({"data": {"a": "aG\nk=\r\n"}}), &json!({"data": {"a": "aGk="}}));
        check("Pod", json!({"status": {"startTime": ""}}), &json!({"status": {"startTime": null}}));
    }

    #[test]
    fn each_type_has_its_zero() {
        for (schema, expected) in [
            (json!({"type": "string"}), json!("")),
            (json!({"type": "string", "format": "byte"}), json!("")),
            (json!({"type": "integer"}), json!(0)),
            (json!({"type": "number"}), json!(0)),
            (json!({"type": "boolean"}), json!(false)),
            (json!({"type": "string", "format": "date-time"}), json!("0001-01-01T00:00:00Z")),
            (json!({"type": "object"}), json!({})),
            (json!({"type": "array"}), json!([])),
            (json!({"format": "quantity"}), json!("0")),
            (json!({"format": "int-or-string"}), json!(0)),
            (json!({}), json!(null)),
        ] {
            for (outer, mut value, expected) in [
                (json!({"type": "array", "items": schema}), json!([null]), json!([expected])),
                (
                    json!({"type": "object", "additionalProperties": schema}),
                    json!({"a": null}),
                    json!({"a": expected}),
                ),
            ] {
                let node = Node::read(&outer);
                Schema::new(&node).zero_nulls(&mut value);
                assert_eq!(value, expected, "{outer}");
            }
        }
    }
}
