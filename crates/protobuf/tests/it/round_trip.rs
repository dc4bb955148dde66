//! Objects of every kind with all their fields, made from the schemas.

use mxjob_machinery::schema::{REFERENCE, kubernetes};
use mxjob_protobuf::{decode, encode};
use proptest::prelude::Rng as _;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use crate::generator::NEWER;

/// How deep the objects are. Schemas may contain themselves.
const DEPTH: usize = 7;

/// Values that are not zero, at random.
struct Maker<'a>(&'a mut TestRng);

impl Maker<'_> {
    fn below(&mut self, limit: u32) -> u32 {
        self.0.next_u32() % limit
    }

    fn pick<'v>(&mut self, values: &[&'v str]) -> &'v str {
        values[self.below(u32::try_from(values.len()).unwrap()) as usize]
    }

    /// An object of a definition with about two thirds of its fields.
    fn definition(&mut self, name: &str, depth: usize) -> Option<Value> {
        let short = name.rsplit('.').next().unwrap();
        Some(match short {
            "Quantity" => self.pick(&["1", "500m", "2Gi", "0"]).into(),
            "IntOrString" if self.below(2) == 0 => self.pick(&["http", "25%"]).into(),
            "IntOrString" => json!(self.below(9_000) + 1),
            "Time" => "2026-01-02T03:04:05Z".into(),
            "MicroTime" => {
                self.pick(&["2026-01-02T03:04:05.000000Z", "2026-01-02T03:04:05.678901Z"]).into()
            }
            "FieldsV1" => json!({"f:metadata": {"f:name": {}}}),
            "JSON" => json!({"a": [1, null, "x"], "b": 1.5}),
            "JSONSchemaPropsOrArray" => json!([{"type": "string"}, {"title": "a"}]),
            "JSONSchemaPropsOrBool" => json!(true),
            "JSONSchemaPropsOrStringArray" => json!(["a", "b"]),
            _ => {
                let schema = kubernetes::definitions().json(name).unwrap();
                let schema: Value = serde_json::from_str(schema).unwrap();
                return self.value(&schema, short, depth);
            }
        })
    }

    fn value(&mut self, schema: &Value, of: &str, depth: usize) -> Option<Value> {
        let reference = schema.get("$ref").or_else(|| schema.pointer("/allOf/0/$ref"));
        if let Some(reference) = reference {
            let name = reference.as_str().unwrap().trim_start_matches(REFERENCE).to_owned();
            return (depth > 0).then(|| self.definition(&name, depth - 1)).flatten();
        }
        Some(match schema["type"].as_str().unwrap() {
            "object" if schema["additionalProperties"].is_object() => {
                let mut map = Map::new();
                for key in ["a.b/c", "é"] {
                    map.insert(
                        key.to_owned(),
                        self.value(&schema["additionalProperties"], of, depth)?,
                    );
                }
                map.into()
            }
            "object" => self.object(schema, of, depth).into(),
            "array" => {
                let count = self.below(2) + 1;
                let items: Option<Vec<Value>> =
                    (0..count).map(|_| self.value(&schema["items"], of, depth)).collect();
                items?.into()
            }
            "string" if schema["format"] == "byte" => "AP9h".into(),
            "string" => self.pick(&["a", "été", "a\nb\"\\", " "]).into(),
            "boolean" => true.into(),
            "integer" if schema["format"] == "int64" && self.below(4) == 0 => i64::MIN.into(),
            "integer" => {
                self.pick(&["1", "-1", "2147483647", "-2147483648"]).parse::<i64>().unwrap().into()
            }
            "number" => json!(2.5),
            other => panic!("{other}"),
        })
    }

    fn object(&mut self, schema: &Value, of: &str, depth: usize) -> Map<String, Value> {
        let mut object = Map::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            // Options within an object do not say that they are options.
            let outside = NEWER.contains(&&*format!("{of}.{name}"))
                || of == "DeleteOptions" && matches!(&**name, "apiVersion" | "kind")
                || self.below(3) == 0;
            if let Some(value) = (!outside).then(|| self.value(property, of, depth)).flatten() {
                object.insert(name.clone(), value);
            }
        }
        object
    }
}

/// What is in an object and not, or otherwise, in what was read. It may have more: zero.
fn lost(made: &Value, read: &Value, path: &str) -> Option<String> {
    match (made, read) {
        (Value::Object(made), Value::Object(read)) => made.iter().find_map(|(name, made)| {
            let path = format!("{path}.{name}");
            match read.get(name) {
                Some(read) => lost(made, read, &path),
                None => Some(path),
            }
        }),
        (Value::Array(made), Value::Array(read)) if made.len() == read.len() => {
            made.iter().zip(read).find_map(|(made, read)| lost(made, read, path))
        }
        (made, read) => (made != read).then(|| format!("{path}: {made} {read}")),
    }
}

#[test]
fn objects_of_every_kind_survive() {
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(Default::default()));
    let mut kinds = 0;
    for name in kubernetes::definitions().names() {
        let (group, kind) = name.rsplit_once('.').unwrap();
        let Some((_, package)) = group.split_once("io.k8s.api.") else { continue };
        let schema: Value =
            serde_json::from_str(kubernetes::definitions().json(name).unwrap()).unwrap();
        if schema.pointer("/properties/apiVersion").is_none()
            || schema.pointer("/properties/metadata").is_none()
        {
            continue;
        }
        kinds += 1;
        let api_version = match package.split_once('.').unwrap() {
            ("core", version) => version.to_owned(),
            (group @ ("apps" | "policy" | "batch" | "autoscaling"), version) => {
                format!("{group}/{version}")
            }
            ("rbac", version) => format!("rbac.authorization.k8s.io/{version}"),
            (group, version) => format!("{group}.k8s.io/{version}"),
        };
        for _ in 0..5 {
            let mut object = Maker(runner.rng()).definition(name, DEPTH).unwrap();
            object["apiVersion"] = api_version.clone().into();
            object["kind"] = kind.into();
            let bytes = encode(&object).unwrap_or_else(|| panic!("{api_version} {kind}"));
            let read = decode(&bytes, ("", ""), 10_000_000).unwrap();
            assert_eq!(lost(&object, &read, kind), None);
            assert_eq!(encode(&read), Some(bytes), "{kind}: zero is zero");
        }
    }
    assert!(kinds > 25, "{kinds}");
}
