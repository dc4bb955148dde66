//! Whatever null there is in an object, once it has been made what Go makes of it the typed clients
//! read the object.

use k8s_openapi::Resource;
use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, coordination::v1 as coordination,
    core::v1 as core, discovery::v1 as discovery, events::v1 as events, policy::v1 as policy,
    rbac::v1 as rbac, scheduling::v1 as scheduling,
};
use mxjob_machinery::schema::{Entries, Node, Schema, Type, kubernetes};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Null wherever the schema has a value, beside a value that goes as deep as the schema does.
fn nulls(schema: Schema<'_>, above: &mut Vec<*const Node>) -> Value {
    let node = schema.node();
    if above.contains(&std::ptr::from_ref(node)) {
        return Value::Null;
    }
    above.push(node);
    let value = match node.kind {
        Some(Type::Object) => {
            let mut members = serde_json::Map::new();
            for name in node.fields.keys() {
                let field = schema.member(name).unwrap();
                members.insert(name.clone(), nulls(field, above));
            }
            if matches!(node.entries, Entries::Of(_)) {
                let entry = schema.member("any name").unwrap();
                members.insert("a".to_owned(), Value::Null);
                members.insert("b".to_owned(), nulls(entry, above));
            }
            members.into()
        }
        Some(Type::Array) => json!([null, nulls(schema.item().unwrap(), above)]),
        Some(Type::String) if &*node.format == "byte" => json!("aG\nk="),
        _ => Value::Null,
    };
    above.pop();
    value
}

/// Structs with a time that the Rust types cannot do without; Go can, and writes null where there
/// is none.
const TIMES: [(&str, &str); 3] = [
    ("Service", "/status/conditions"),
    ("PodDisruptionBudget", "/status/conditions"),
    ("Event", "/series"),
];

fn check<K: DeserializeOwned + Resource>() {
    let schema = kubernetes::kind(K::GROUP, K::VERSION, K::KIND).unwrap();
    let mut object = nulls(schema, &mut Vec::new());
    for (_, part) in TIMES.iter().filter(|(kind, _)| *kind == K::KIND) {
        *object.pointer_mut(part).unwrap() = Value::Null;
    }
    if let Some(time) = object.get_mut("eventTime") {
        *time = json!("2026-11-24T08:00:00Z");
    }
    object["apiVersion"] = K::API_VERSION.into();
    object["kind"] = K::KIND.into();
    assert_eq!(schema.decode_problem(&object), None, "{}", K::KIND);
    schema.zero_nulls(&mut object);
    if let Err(error) = serde_json::from_value::<K>(object.clone()) {
        panic!("{}: {error}: {object:#}", K::KIND);
    }
}

#[test]
fn every_kind_is_read_by_typed_clients_whatever_null_was_in_it() {
    check::<core::ConfigMap>();
    check::<core::Endpoints>();
    check::<core::Event>();
    check::<core::LimitRange>();
    check::<core::Namespace>();
    check::<core::Node>();
    check::<core::Pod>();
    check::<core::ResourceQuota>();
    check::<core::Secret>();
    check::<core::Service>();
    check::<core::ServiceAccount>();
    check::<events::Event>();
    check::<coordination::Lease>();
    check::<discovery::EndpointSlice>();
    check::<admission::ValidatingWebhookConfiguration>();
    check::<apps::Deployment>();
    check::<policy::PodDisruptionBudget>();
    check::<scheduling::PriorityClass>();
    check::<rbac::ClusterRole>();
    check::<rbac::ClusterRoleBinding>();
    check::<rbac::Role>();
    check::<rbac::RoleBinding>();
}
