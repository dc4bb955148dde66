//! `matchConditions`: conditions in CEL under which a webhook is asked.

use std::collections::HashMap;
use std::sync::Arc;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use mxjob_machinery::json::text;
use serde_json::Value;

use crate::expression;

/// A condition, compiled.
#[derive(Debug)]
pub(super) struct Condition {
    expression: String,
    program: Result<Program, String>,
}

// === impl Condition ===

impl Condition {
    pub(super) fn read(condition: &Value) -> Self {
        let expression = text(condition, "/expression").to_owned();
        let program = expression::compile(&expression);
        Self { expression, program }
    }
}

/// Whether all conditions hold for the request of a review. A false one outweighs errors of others.
///
/// # Errors
/// The error of a condition.
pub(super) fn hold(conditions: &[Condition], request: &Value) -> Result<bool, String> {
    if conditions.is_empty() {
        return Ok(true);
    }
    expression::on_deep_stack(|| ask(conditions, request))?
}

fn ask(conditions: &[Condition], request: &Value) -> Result<bool, String> {
    let mut variables = Context::default().with_all();
    let of = |name: &str| cel(request.get(name).unwrap_or(&Value::Null));
    variables.add_variable_from_value("object", of("object"));
    variables.add_variable_from_value("oldObject", of("oldObject"));
    let about = request.as_object().into_iter().flatten();
    let about = about.filter(|(name, _)| !matches!(name.as_str(), "object" | "oldObject"));
    let about: serde_json::Map<String, Value> =
        about.map(|(name, value)| (name.clone(), value.clone())).collect();
    variables.add_variable_from_value("request", cel(&Value::Object(about)));
    let mut wrong = None;
    for condition in conditions {
        let outcome = match &condition.program {
            Ok(program) => program.execute(&variables).map_err(|error| error.to_string()),
            Err(error) => Err(error.clone()),
        };
        let expression = &condition.expression;
        let error = match outcome {
            Ok(Cel::Bool(true)) => continue,
            Ok(Cel::Bool(false)) => return Ok(false),
            Ok(_) => format!("expression '{expression}' is no condition"),
            Err(error) => format!("expression '{expression}' resulted in error: {error}"),
        };
        wrong = wrong.or(Some(error));
    }
    wrong.map_or(Ok(true), Err)
}

/// A JSON value as CEL has it: whole numbers are integers.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(truth) => Cel::Bool(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Cel::Int(integer),
            (None, Some(large)) => Cel::UInt(large),
            (None, None) => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(cel).collect())),
        Value::Object(members) => {
            let members: HashMap<Key, Cel> = members
                .iter()
                .map(|(name, value)| (Key::String(Arc::new(name.clone())), cel(value)))
                .collect();
            Cel::Map(Map { map: Arc::new(members) })
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expressions: &[&str], expected: &Result<bool, &str>) {
        let request = json!({
            "operation": "UPDATE", "namespace": "n", "dryRun": false, "userInfo": { "username": "ann", "groups": ["g"] },
            "object": { "spec": { "size": 2 }, "metadata": { "labels": { "a": "b" } } }, "oldObject": null,
        });
        let conditions: Vec<Condition> = expressions
            .iter()
            .map(|expression| Condition::read(&json!({ "name": "c", "expression": expression })))
            .collect();
        match (hold(&conditions, &request), expected) {
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, expected) => {
                assert_eq!(found.as_ref().ok(), expected.as_ref().ok(), "{expressions:?}");
            }
        }
    }

    #[test]
    fn conditions_are_asked_of_the_request_and_its_objects() {
        check(&[], &Ok(true));
        check(&["object.spec.size == 2", "request.operation == 'UPDATE'"], &Ok(true));
        check(&["object.spec.size > 2"], &Ok(false));
        check(&["oldObject == null || object.spec != oldObject.spec"], &Ok(true));
        check(&["!(request.userInfo.username in ['ann', 'bob'])"], &Ok(false));
        check(&["has(object.metadata.labels) && object.metadata.labels.a == 'b'"], &Ok(true));
        check(&["!('system:nodes' in request.userInfo.groups)"], &Ok(true));
    }

    #[test]
    fn a_false_condition_decides_and_an_error_is_reported() {
        check(&["object.nope.x == 1", "false"], &Ok(false));
        check(
            &["object.nope.x == 1", "true"],
            &Err("expression 'object.nope.x == 1' resulted in error"),
        );
        check(&["1 +"], &Err("expression '1 +' resulted in error"));
        check(&["1"], &Err("expression '1' is no condition"));
    }
}
