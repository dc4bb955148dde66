//! `x-kubernetes-validations`: the rules in CEL of a custom resource.

use kube_cel::{CompiledSchema, ErrorKind, ValidationError, compile_schema, validate_compiled};
use mxjob_machinery::field::{self, Error, Errors, Path};
use mxjob_machinery::schema::Schema;
use serde_json::Value;

use crate::expression;

const KEYWORD: &str = "x-kubernetes-validations";

/// What upstream says where rules were not asked, since the object is not even what its schema
/// says.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// The compiled rules of a schema.
#[derive(Debug)]
pub(super) struct Rules(Option<Result<Box<CompiledSchema>, String>>);

// === impl Rules ===

impl Rules {
    /// Compiles the rules of a schema; costs nothing where it has none.
    pub(super) fn read(schema: &Value) -> Self {
        let compile = || expression::on_deep_stack(|| Box::new(compile_schema(schema)));
        Self(has_rules(schema).then(compile))
    }

    /// Notes which rules an object breaks. Where it takes the place of another, rules on what has
    /// not changed are not asked again, unless they compare with what was there before.
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
        let asked = compiled.as_ref().map_err(Clone::clone).and_then(|compiled| {
            expression::on_deep_stack(|| validate_compiled(compiled, object, old))
        });
        let broken = match asked {
            Ok(Ok(())) => return,
            Ok(Err(broken)) => broken,
            Err(why) => {
                let value = field::BadValue::bare("null");
                errors.push(Error::invalid(&Path::new("<nil>"), value, why));
                return;
            }
        };
        for fault in broken {
            // Comparing with the old object takes time.
            if errors.is_full() {
                return;
            }
            let is_old = old.is_some_and(|old| {
                !fault.rule.contains("oldSelf")
                    && schema.is_same_at(&fault.field_path, object, old) == Some(true)
            });
            if !is_old {
                errors.push(error(&fault, object));
            }
        }
    }
}

fn error(fault: &ValidationError, object: &Value) -> Error {
    // A rule at the root that names a field says so with a dot in front.
    let place = fault.field_path.trim_start_matches('.');
    let path = Path::new(place);
    let value = shown(place, object);
    let message = match fault.kind {
        // Upstream says what follows from a rule that broke in the same words, whatever broke it.
        ErrorKind::EvaluationError | ErrorKind::UnsupportedReference => {
            format!("{} evaluating rule: {}", fault.message, fault.rule)
        }
        _ => fault.message.clone(),
    };
    match fault.reason.as_deref() {
        Some("FieldValueRequired") => Error::required(&path, message),
        Some("FieldValueForbidden") => Error::forbidden(&path, message),
        Some("FieldValueDuplicate") => Error::duplicate(&path, value),
        _ => Error::invalid(&path, value, message),
    }
}

/// The value at fault: itself where it is small, else the name of its type.
fn shown(path: &str, object: &Value) -> field::BadValue {
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

/// The rules of a schema that are no CEL.
pub(crate) fn compilation_faults(schema: &Value, path: &Path, errors: &mut Errors) {
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
        compilation_faults(field, &path.child("properties").key(name), errors);
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(name) {
            compilation_faults(below, &path.child(name), errors);
        }
    }
    // Whatever is compiled in the end was looked at.
    for name in ["allOf", "anyOf", "oneOf"] {
        let all = schema.get(name).and_then(Value::as_array);
        for (index, below) in all.into_iter().flatten().enumerate() {
            compilation_faults(below, &path.child(name).index(index), errors);
        }
    }
}
