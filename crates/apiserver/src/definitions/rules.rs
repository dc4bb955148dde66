//! `x-kubernetes-validations`: the CEL rules of a custom resource.

use kube_cel::{CompiledSchema, ErrorKind, ValidationError, compile_schema, validate_compiled};
use mxjob_machinery::field::{self, Error, Errors, Path};
use mxjob_machinery::schema::Schema;
use serde_json::Value;

use crate::expression;

const KEYWORD: &str = "x-kubernetes-validations";

/// Upstream's message for an object that already violates its schema: its rules are not evaluated.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// The compiled rules of a schema.
#[derive(Debug)]
pub(super) struct Rules(Option<Result<Box<CompiledSchema>, String>>);

// === impl Rules ===

impl Rules {
    /// Compiles the rules of a schema, if it has any.
    pub(super) fn read(schema: &Value) -> Self {
        let compile = || expression::on_deep_stack(|| Box::new(compile_schema(schema)));
        Self(has_rules(schema).then(compile))
    }

    /// Adds an error for each rule that an object violates. On an update, violations in unchanged
    /// parts are ignored, unless the rule compares with the old object.
    pub(super) fn check(
        &self,
        object: &Value,
        old: Option<&Value>,
        schema: Schema<'_>,
        errors: &mut Errors,
    ) {
        let Some(compiled) = &self.0 else { return };
        let blocking = |error: &Error| {
            use field::ErrorKind::{Required, TooLong, TooMany, TypeInvalid};
            matches!(error.kind, Required | TooLong | TooMany | TypeInvalid)
        };
        if errors.iter().any(blocking) {
            let value = field::BadValue::bare("null");
            errors.push(Error::invalid(&Path::new("<nil>"), value, NOT_CHECKED));
            return;
        }
        let outcome = compiled.as_ref().map_err(Clone::clone).and_then(|compiled| {
            expression::on_deep_stack(|| validate_compiled(compiled, object, old))
        });
        let violations = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(violations)) => violations,
            Err(why) => {
                let value = field::BadValue::bare("null");
                errors.push(Error::invalid(&Path::new("<nil>"), value, why));
                return;
            }
        };
        for violation in violations {
            // The comparison with the old object is expensive.
            if errors.is_full() {
                return;
            }
            let is_old = old.is_some_and(|old| {
                !violation.rule.contains("oldSelf")
                    && schema.is_same_at(&violation.field_path, object, old) == Some(true)
            });
            if !is_old {
                errors.push(error(&violation, object));
            }
        }
    }
}

fn error(violation: &ValidationError, object: &Value) -> Error {
    // The path of a field that a rule at the root names begins with a dot.
    let field_path = violation.field_path.trim_start_matches('.');
    let path = Path::new(field_path);
    let value = bad_value(field_path, object);
    let message = match violation.kind {
        // Upstream has one message for all rules whose evaluation fails.
        ErrorKind::EvaluationError | ErrorKind::UnsupportedReference => {
            format!("{} evaluating rule: {}", violation.message, violation.rule)
        }
        _ => violation.message.clone(),
    };
    match violation.reason.as_deref() {
        Some("FieldValueRequired") => Error::required(&path, message),
        Some("FieldValueForbidden") => Error::forbidden(&path, message),
        Some("FieldValueDuplicate") => Error::duplicate(&path, value),
        _ => Error::invalid(&path, value, message),
    }
}

/// The invalid value: itself if it is a scalar, else the name of its type.
fn bad_value(path: &str, object: &Value) -> field::BadValue {
    let pointer = format!("/{}", path.replace(['.', '['], "/").replace(']', ""));
    match if path.is_empty() { Some(object) } else { object.pointer(&pointer) } {
        Some(Value::Object(_)) => "object".into(),
        Some(Value::Array(_)) => "array".into(),
        Some(value) => value.into(),
        None => "object".into(),
    }
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key(KEYWORD) || members.values().any(has_rules),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

/// Adds an error for each rule of a schema that does not compile.
pub(crate) fn check_compilation(schema: &Value, path: &Path, errors: &mut Errors) {
    let rules = schema.get(KEYWORD).and_then(Value::as_array);
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let at = path.child(KEYWORD).index(index);
        for name in ["rule", "messageExpression"] {
            match rule.get(name).and_then(Value::as_str) {
                Some(text) if !text.trim().is_empty() => {
                    if let Err(error) = expression::compile(text) {
                        let why = format!("compilation failed: {error}");
                        errors.push(Error::invalid(&at.child(name), text, why));
                    }
                }
                _ if name == "rule" => {
                    errors.push(Error::required(&at.child(name), "rule is not specified"));
                }
                _ => {}
            }
        }
    }
    let fields = schema.get("properties").and_then(Value::as_object);
    for (name, field) in fields.into_iter().flatten() {
        check_compilation(field, &path.child("properties").key(name), errors);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(name) {
            check_compilation(below, &path.child(name), errors);
        }
    }
    // Rules under these keywords are compiled, too.
    for name in ["allOf", "anyOf", "oneOf"] {
        let all = schema.get(name).and_then(Value::as_array);
        for (index, below) in all.into_iter().flatten().enumerate() {
            check_compilation(below, &path.child(name).index(index), errors);
        }
    }
}
