//! The cost that an API server estimates for a rule: by its syntax tree and by the largest object
//! that the schema allows.
//!
//! The library's estimate is rough, so this walks the tree as the server does. Where releases of
//! Kubernetes differ, it takes the higher cost. An unknown field and a comparison of two types,
//! errors to a server, panic here.

use kube_cel::cel::Program;
use kube_cel::cel::common::ast::{Expr, IdedExpr, LiteralValue};
use serde_json::{Value, json};

/// The largest request without the quotes: the longest text that a schema without limits allows.
const LONGEST_TEXT: u64 = 3 * 1024 * 1024 - 2;
/// The limits for one rule and for all together.
pub(super) const OF_ONE: u64 = 10_000_000;
pub(super) const OF_ALL: u64 = 100_000_000;

/// A part of a rule.
struct Part<'a> {
    cost: u64,
    /// The maximum number of bytes or members.
    size: u64,
    /// The schema, if the part is a place in the object.
    schema: Option<&'a Value>,
    kind: &'static str,
}

/// The cost of one evaluation of a rule at a place of the schema.
pub(super) fn of(rule: &str, schema: &Value) -> u64 {
    let program = Program::compile(rule).unwrap();
    walk(program.expression(), schema).cost
}

fn walk<'a>(expression: &IdedExpr, schema: &'a Value) -> Part<'a> {
    let plain = |cost, kind| Part { cost, size: 1, schema: None, kind };
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => {
            let size = text.inner().len() as u64;
            Part { cost: 0, size, schema: None, kind: "string" }
        }
        Expr::Literal(LiteralValue::Int(_)) => plain(0, "integer"),
        Expr::Literal(_) => plain(0, "boolean"),
        Expr::Ident(name) if name == "self" || name == "oldSelf" => place(schema, 1),
        // The key of a map in a loop, or the loop's accumulator.
        Expr::Ident(name) if name == "role" => {
            Part { cost: 1, size: LONGEST_TEXT, schema: None, kind: "string" }
        }
        Expr::Ident(_) => plain(1, "boolean"),
        Expr::Select(select) => {
            let operand = walk(&select.operand, schema);
            let fields = operand.schema.and_then(|schema| schema.get("properties"));
            let field = fields.and_then(|fields| fields.get(&select.field));
            let field = field.unwrap_or_else(|| panic!("no field {}", select.field));
            if select.test {
                plain(operand.cost + 1, "boolean")
            } else {
                place(field, operand.cost + 1)
            }
        }
        Expr::List(list) => {
            let cost = list.elements.iter().map(|element| walk(element, schema).cost).sum::<u64>();
            Part { cost: cost + 10, size: list.elements.len() as u64, schema: None, kind: "list" }
        }
        Expr::Comprehension(loop_) => {
            let range = walk(&loop_.iter_range, schema);
            let each = walk(&loop_.loop_cond, schema).cost + walk(&loop_.loop_step, schema).cost;
            let rest = walk(&loop_.accu_init, schema).cost + walk(&loop_.result, schema).cost;
            plain(range.cost + rest + range.size * each, "boolean")
        }
        Expr::Call(call) => {
            assert!(call.target.is_none(), "{}", call.func_name);
            let args: Vec<_> = call.args.iter().map(|arg| walk(arg, schema)).collect();
            function(&call.func_name, &args)
        }
        other => panic!("{other:?}"),
    }
}

fn function<'a>(name: &str, args: &[Part<'a>]) -> Part<'a> {
    let cost = args.iter().map(|arg| arg.cost).sum::<u64>();
    let plain = |cost, kind| Part { cost, size: 1, schema: None, kind };
    match (name, args) {
        ("_&&_" | "_||_" | "!_" | "@not_strictly_false", _) => {
            assert!(args.iter().all(|arg| arg.kind == "boolean"), "{name}");
            plain(cost + 1, "boolean")
        }
        ("_?_:_", [test, yes, no]) => {
            assert_eq!((test.kind, yes.kind), ("boolean", no.kind));
            let size = yes.size.max(no.size);
            Part { cost: test.cost + yes.cost.max(no.cost), size, schema: None, kind: yes.kind }
        }
        ("_==_", [left, right]) => {
            assert_eq!(left.kind, right.kind);
            assert!(left.kind != "object", "two maps are dear to compare");
            plain(cost + left.size.min(right.size) / 10 + 1, "boolean")
        }
        ("_>=_" | "_<=_" | "_>_", [left, right]) => {
            assert_eq!((left.kind, right.kind), ("integer", "integer"));
            plain(cost + 1, "boolean")
        }
        ("_+_", [left, right]) => {
            assert_eq!((left.kind, right.kind), ("integer", "integer"));
            plain(cost + 1, "integer")
        }
        ("@in", [_, list]) if list.kind == "list" => plain(cost + list.size, "boolean"),
        ("@in", [key, map]) => {
            assert_eq!((key.kind, map.kind), ("string", "object"));
            plain(cost + 1, "boolean")
        }
        ("_[_]", [map, _]) => {
            place(map.schema.and_then(|map| map.get("additionalProperties")).unwrap(), cost + 1)
        }
        ("size", [_]) => plain(cost + 1, "integer"),
        _ => panic!("{name}"),
    }
}

/// A place in the object.
fn place(schema: &Value, cost: u64) -> Part<'_> {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let (kind, size) = match schema["type"].as_str() {
        // A character may have four bytes.
        Some("string") => ("string", bound("maxLength").map_or(LONGEST_TEXT, |length| length * 4)),
        // An entry of a map has at least eight bytes.
        Some("object") => ("object", bound("maxProperties").unwrap_or(LONGEST_TEXT / 8)),
        Some("integer") => ("integer", 1),
        Some("boolean") => ("boolean", 1),
        other => panic!("{other:?}"),
    };
    Part { cost, size, schema: Some(schema), kind }
}

#[test]
fn expensive_rules_exceed_the_limits() {
    let text = json!({ "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string", "maxLength": 10 } } });
    assert!(of("self.a == oldSelf.a", &text) > 300_000);
    assert!(of("self.a == 'x'", &text) < 10);
    assert!(of("self.a == oldSelf.b", &text) < 20);
    let map = |bound: Value| json!({ "type": "object", "additionalProperties": { "type": "string", "maxLength": 10 }, "maxProperties": bound });
    assert!(of("self.all(role, self[role] == 'x')", &map(Value::Null)) > 1_000_000);
    assert!(of("self.all(role, self[role] == 'x')", &map(json!(4))) < 100);
}
