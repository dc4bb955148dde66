//! Comparison of values of a spec.

use serde_json::{Map, Number, Value};

use crate::spec;

/// Whether two values are equal: numbers by value (`1` is `1.0`), strings as typed (`"1000m"` is
/// not `"1"`), and a null member of an object as an absent one.
pub(crate) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => equal_numbers(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            let given =
                |map: &Map<String, Value>| map.values().filter(|value| !value.is_null()).count();
            given(left) == given(right)
                && left
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .all(|(key, value)| right.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => left == right,
    }
}

fn equal_numbers(left: &Number, right: &Number) -> bool {
    if left == right {
        return true;
    }
    let (left, right) = (Value::Number(left.clone()), Value::Number(right.clone()));
    match (spec::integer(&left), spec::integer(&right)) {
        (Some(left), Some(right)) => left == right,
        (None, None) => {
            matches!((left.as_f64(), right.as_f64()), (Some(left), Some(right)) if left == right)
            // Exact integers beyond i64 were compared above.
            && !(left.is_u64() && right.is_u64())
        }
        _ => false,
    }
}

/// Whether a value is the empty string, which Go clients write for an enumeration value that the
/// user did not set.
pub(crate) fn is_empty_string(value: &Value) -> bool {
    value.as_str() == Some("")
}

/// A member of an object; null counts as absent.
pub(crate) fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.get(key).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_compared_as_json_and_not_as_kubernetes_quantities() {
        let cases = [
            (json!(1), json!(1.0), true),
            (json!(0), json!(-0.0), true),
            (json!(2), json!(1), false),
            (json!(1.5), json!(1.5), true),
            (json!(u64::MAX), json!(u64::MAX), true),
            (json!(u64::MAX), json!(u64::MAX - 1), false),
            (json!("1000m"), json!("1"), false),
            (json!("1"), json!(1), false),
            (json!({ "a": null }), json!({}), true),
            (json!({ "a": null, "b": 1 }), json!({ "b": 1.0, "c": null }), true),
            (json!({ "a": 1 }), json!({ "b": 1 }), false),
            (json!([1, 2]), json!([1, 2.0]), true),
            (json!([1, 2]), json!([2, 1]), false),
            (json!([null]), json!([]), false),
            (json!([]), json!({}), false),
            (json!(null), json!({}), false),
        ];
        for (left, right, expected) in cases {
            assert_eq!(equal(&left, &right), expected, "{left} {right}");
            assert_eq!(equal(&right, &left), expected, "{right} {left}");
        }
    }
}
