//! The schemas of the built-in kinds are what the Kubernetes types of `k8s-openapi` say.
//!
//! `UPDATE_MANIFESTS=1 cargo test -p mxjob-machinery fresh` (or `cargo xtask codegen`) writes them
//! again. Upstream's prose is left out: it is ten times as large as the rest. The few sentences in
//! the file are ours.

mod merging;
mod nulls;
mod prose;

use std::fmt::Write as _;
use std::path::Path;

use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, policy::v1 as policy, rbac::v1 as rbac,
    scheduling::v1 as scheduling, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use mxjob_machinery::schema::{REFERENCE, kubernetes};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// What is kept of a schema: the keywords that check or describe a shape.
const KEPT: [&str; 6] = ["type", "format", "required", "minimum", "maximum", "enum"];

/// Definitions whose Rust type says less, or something else, than the JSON of the type.
fn replacement(name: &str) -> Option<Value> {
    Some(match name.rsplit('.').next()? {
        // As upstream writes them in version 3.
        "Quantity" => {
            json!({ "format": "quantity", "oneOf": [{ "type": "string" }, { "type": "number" }] })
        }
        "IntOrString" => {
            json!({ "format": "int-or-string", "oneOf": [{ "type": "integer" }, { "type": "string" }] })
        }
        "JSON"
        | "JSONSchemaPropsOrArray"
        | "JSONSchemaPropsOrBool"
        | "JSONSchemaPropsOrStringArray" => {
            json!({})
        }
        _ => return None,
    })
}

macro_rules! reach {
    ($generator:ident: $($kind:ty),* $(,)?) => {
        $($generator.subschema_for::<$kind>();)*
    };
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

fn refers_to(schema: &Value, name: &str) -> bool {
    schema["$ref"] == format!("{REFERENCE}{META}.{name}")
}

/// Everything that the kinds of a server, their subresources and its answers consist of.
fn definitions() -> Map<String, Value> {
    let mut generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    reach!(generator:
        core::Binding, core::ConfigMap, core::Endpoints, core::Event, core::LimitRange, core::Namespace, core::Node,
        core::PersistentVolume, core::PersistentVolumeClaim, core::Pod, core::PodTemplateSpec, core::ResourceQuota, core::Secret, core::Service,
        core::ServiceAccount, events::Event, coordination::Lease, discovery::EndpointSlice,
        admission::ValidatingWebhookConfiguration, apps::Deployment,
        policy::Eviction, policy::PodDisruptionBudget, storage::StorageClass, scheduling::PriorityClass,
        rbac::ClusterRole, rbac::ClusterRoleBinding, rbac::Role, rbac::RoleBinding,
        authentication::SelfSubjectReview, authentication::TokenRequest, authentication::TokenReview,
        authorization::LocalSubjectAccessReview, authorization::SelfSubjectAccessReview,
        authorization::SelfSubjectRulesReview, authorization::SubjectAccessReview,
        extensions::CustomResourceDefinition,
        meta::APIGroup, meta::APIGroupList, meta::APIResourceList, meta::APIVersions,
        meta::DeleteOptions, meta::ListMeta, meta::ObjectMeta, meta::Patch, meta::Status,
    );
    let mut definitions = generator.take_definitions(true);
    // Lists are never sharded here.
    definitions.remove(&format!("{META}.ShardInfo"));
    for (name, definition) in &mut definitions {
        *definition = replacement(name).unwrap_or_else(|| plain(definition));
        if let Some(fields) = definition.get_mut("properties").and_then(Value::as_object_mut) {
            fields.retain(|_, field| !refers_to(field, "ShardInfo"));
        }
        if let Some(text) = prose::of(name) {
            definition["description"] = text.into();
        }
        let structure = name.rsplit('.').next().unwrap_or(name);
        let fields = definition.get_mut("properties").and_then(Value::as_object_mut);
        for (field, property) in fields.into_iter().flatten() {
            if let Some(text) = prose::of_field(structure, field) {
                describe(property, text);
            }
        }
    }
    merging::annotate(&mut definitions);
    definitions
}

/// Beside a reference nothing is read, so a described one is wrapped, as upstream wraps it.
fn describe(property: &mut Value, text: &str) {
    if property.get("$ref").is_some() {
        *property = json!({ "allOf": [property.take()] });
    }
    property["description"] = text.into();
}

/// A schema without prose, referring as OpenAPI refers.
fn plain(schema: &Value) -> Value {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return json!({ "$ref": format!("{REFERENCE}{name}") });
    }
    let mut kept = Map::new();
    for keyword in KEPT {
        if let Some(value) = schema.get(keyword) {
            kept.insert(keyword.to_owned(), value.clone());
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(keyword).filter(|inner| inner.is_object()) {
            kept.insert(keyword.to_owned(), plain(inner));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(properties) = properties {
        let properties = properties.iter().map(|(name, property)| (name.clone(), plain(property)));
        kept.insert("properties".to_owned(), properties.collect::<Map<_, _>>().into());
    }
    // Metadata may be left out wherever there is some: the Rust types alone require it.
    if let Some(Value::Array(required)) = kept.get_mut("required") {
        required.retain(|name| name != "metadata");
        if required.is_empty() {
            kept.remove("required");
        }
    }
    let is_object = schema.get("type").is_some_and(|kind| kind == "object");
    if is_object && properties.is_none() && !kept.contains_key("additionalProperties") {
        kept.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    }
    kept.into()
}

/// One definition a line, so that a change is a line and one can be found without reading the
/// others.
fn text() -> String {
    let mut text = String::from("{\n");
    let definitions = definitions();
    for (index, (name, definition)) in definitions.iter().enumerate() {
        let comma = if index + 1 < definitions.len() { "," } else { "" };
        writeln!(text, "{}:{definition}{comma}", json!(name)).unwrap();
    }
    text.push_str("}\n");
    text
}

#[test]
fn the_file_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema/kubernetes.json");
    let wanted = text();
    if std::env::var_os("UPDATE_MANIFESTS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == wanted,
        "{} is not what the types say; run `cargo xtask codegen`",
        path.display()
    );
}

#[test]
fn the_file_is_json_of_moderate_size_and_every_line_is_a_definition() {
    let text = text();
    assert!(text.len() < 300_000, "{}", text.len());
    let whole: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let definitions = kubernetes::definitions();
    assert!(definitions.names().eq(whole.keys().map(String::as_str)));
    for (name, definition) in &whole {
        let json = definitions.json(name).unwrap();
        assert_eq!(&serde_json::from_str::<Value>(json).unwrap(), definition, "{name}");
    }
}

#[test]
fn every_reference_leads_to_a_definition() {
    let definitions = kubernetes::definitions();
    for name in definitions.names() {
        for reference in definitions.references(name) {
            assert!(definitions.json(reference).is_some(), "{name}: {reference}");
        }
    }
}

#[test]
fn kinds_are_found_by_group_version_and_kind() {
    for (group, version, kind) in [
        ("", "v1", "Pod"),
        ("events.k8s.io", "v1", "Event"),
        ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
        ("authorization.k8s.io", "v1", "SubjectAccessReview"),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
        ("policy", "v1", "Eviction"),
        ("meta.k8s.io", "v1", "ObjectMeta"),
    ] {
        assert!(kubernetes::kind(group, version, kind).is_some(), "{group} {kind}");
    }
    assert_eq!(kubernetes::name("kubeflow.org", "v1", "MXJob"), "org.kubeflow.v1.MXJob");
    assert!(kubernetes::kind("kubeflow.org", "v1", "MXJob").is_none());
}

#[test]
fn every_described_field_exists() {
    let definitions = kubernetes::definitions();
    for (structure, field) in prose::fields() {
        let has_it = |name: &str| {
            name.ends_with(&format!(".{structure}"))
                && definitions.schema(name).is_some_and(|schema| schema.member(field).is_some())
        };
        assert!(definitions.names().any(has_it), "{structure}.{field}");
    }
}
