//! OpenAPI: what `kubectl` needs to see in order to leave validation to the server.
//!
//! Before it sends `fieldValidation=Strict` or `dryRun`, `kubectl` looks up the kind's patch operation (by its
//! `x-kubernetes-group-version-kind`) in `/openapi/v3` and checks that it has the parameter. So every served kind has its
//! paths, operations and parameters here, generated from the registry; MXJob has its schema, the others have the fields
//! that all objects share. Version 2 is the same content under other names. Built when first asked for.

mod operations;
mod schemas;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::discovery::{Document, Groups, hash, root};
use crate::registry::{self, Kind};
use crate::version;

static DOCUMENTS: LazyLock<BTreeMap<String, Document>> =
    LazyLock::new(|| documents(registry::kinds()));

/// The document under a path: `/openapi/v3`, `/openapi/v3/apis/{group}/{version}`, `/openapi/v3/api/v1`, `/openapi/v2`.
/// JSON only: a client that accepts nothing else than protobuf is to get 406.
#[must_use]
pub fn answer(path: &str) -> Option<Document> {
    DOCUMENTS.get(path.strip_suffix('/').unwrap_or(path)).cloned()
}

fn documents(kinds: &[Kind]) -> BTreeMap<String, Document> {
    let groups = Groups::of(kinds);
    let mut documents = BTreeMap::new();
    let mut index = Map::new();
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    for (group, version, kinds) in groups.versions() {
        let v3 = group_version(kinds);
        merge(&mut paths, &v3, "/paths");
        merge(&mut definitions, &v3, "/components/schemas");
        let root = root(group, version);
        let document = document(&v3);
        let url = format!("/openapi/v3{root}?hash={}", hash(&document.json));
        index.insert(root.trim_start_matches('/').to_owned(), json!({ "serverRelativeURL": url }));
        documents.insert(format!("/openapi/v3{root}"), document);
    }
    // The index has no tag, as upstream's has none.
    let index = Document { etag: None, ..document(&json!({ "paths": index })) };
    documents.insert("/openapi/v3".to_owned(), index);
    let v2 = json!({
        "swagger": "2.0",
        "info": info(false),
        "paths": operations::to_v2(&paths),
        "definitions": schemas::to_v2(definitions),
    });
    documents.insert("/openapi/v2".to_owned(), document(&v2));
    documents
}

/// The version 3 document of one group version.
fn group_version(kinds: &[&Kind]) -> Value {
    let mut paths = Map::new();
    let mut schemas = schemas::meta();
    for kind in kinds {
        paths.extend(operations::paths(kind));
        schemas.extend(schemas::of(kind));
    }
    let custom = kinds.iter().all(|kind| kind.custom);
    json!({
        "openapi": "3.0.0",
        "info": info(custom),
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn info(custom: bool) -> Value {
    if custom {
        // What upstream says of every custom resource.
        json!({ "title": "Kubernetes CRD Swagger", "version": "v0.1.0" })
    } else {
        json!({ "title": "Kubernetes", "version": format!("{}.{}", version::MAJOR, version::MINOR) })
    }
}

fn merge(into: &mut Map<String, Value>, document: &Value, pointer: &str) {
    if let Some(part) = document.pointer(pointer).and_then(Value::as_object) {
        into.extend(part.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

fn document(value: &Value) -> Document {
    let json = value.to_string().into_bytes();
    let etag = Some(crate::discovery::etag(&json));
    Document { json, content_type: None, etag }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str) -> Value {
        serde_json::from_slice(&answer(path).unwrap().json).unwrap()
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_index_points_at_every_group_version_with_the_hash_of_its_document() {
        let index = ask("/openapi/v3");
        for (path, entry) in index["paths"].as_object().unwrap() {
            let url = entry["serverRelativeURL"].as_str().unwrap();
            let (target, hash) = url.split_once("?hash=").unwrap();
            assert_eq!(target, format!("/openapi/v3/{path}"));
            assert_eq!(answer(target).unwrap().etag, Some(format!("\"{hash}\"")), "{path}");
        }
        assert!(
            keys(&index["paths"]).contains(&"apis/kubeflow.org/v1")
                && keys(&index["paths"]).contains(&"api/v1")
        );
        assert_eq!(answer("/openapi/v3/apis/nope/v1"), None);
        assert_eq!(answer("/openapi"), None);
    }

    #[test]
    fn the_document_of_mxjobs_has_the_recorded_paths_and_schemas() {
        let document = ask("/openapi/v3/apis/kubeflow.org/v1");
        assert_eq!(document["openapi"], "3.0.0");
        assert_eq!(
            document["info"],
            json!({ "title": "Kubernetes CRD Swagger", "version": "v0.1.0" })
        );
        let paths = [
            "/apis/kubeflow.org/v1/mxjobs",
            "/apis/kubeflow.org/v1/namespaces/{namespace}/mxjobs",
            "/apis/kubeflow.org/v1/namespaces/{namespace}/mxjobs/{name}",
            "/apis/kubeflow.org/v1/namespaces/{namespace}/mxjobs/{name}/status",
        ];
        assert_eq!(keys(&document["paths"]), paths);
        let meta = "DeleteOptions FieldsV1 ListMeta ManagedFieldsEntry ObjectMeta OwnerReference Patch Preconditions Status StatusCause StatusDetails Time";
        let meta =
            meta.split(' ').map(|name| format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"));
        let schemas: Vec<String> = meta
            .chain(["MXJob", "MXJobList"].map(|name| format!("org.kubeflow.v1.{name}")))
            .collect();
        assert_eq!(keys(&document["components"]["schemas"]), schemas);
        let spec =
            &document["components"]["schemas"]["org.kubeflow.v1.MXJob"]["properties"]["spec"];
        assert_eq!(spec["properties"]["ttlSecondsAfterFinished"]["type"], "integer", "{spec}");
    }

    /// What `kubectl` does before it asks for strict validation or a dry run.
    fn supports(document: &Value, kind: &Kind, parameter: &str) -> bool {
        let wanted = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
        let operations = document["paths"].as_object().unwrap().values().map(|path| &path["patch"]);
        let mut of_kind =
            operations.filter(|patch| patch["x-kubernetes-group-version-kind"] == wanted);
        let parameters = of_kind.next().and_then(|patch| patch["parameters"].as_array());
        parameters.is_some_and(|all| {
            all.iter().any(|one| one["name"] == parameter && one["in"] == "query")
        })
    }

    #[test]
    fn kubectl_finds_the_parameters_of_every_kind_that_can_be_patched() {
        let v2 = ask("/openapi/v2");
        for kind in registry::kinds().iter().filter(|kind| kind.verbs.contains(&"patch")) {
            let v3 = ask(&format!("/openapi/v3{}", root(kind.group, kind.version)));
            for parameter in ["fieldValidation", "dryRun", "fieldManager"] {
                assert!(supports(&v3, kind, parameter), "{} {parameter}", kind.kind);
                assert!(supports(&v2, kind, parameter), "{} {parameter}", kind.kind);
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").and_then(Value::as_str));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        for (path, document) in &*DOCUMENTS {
            let document: Value = serde_json::from_slice(&document.json).unwrap();
            let mut found = Vec::new();
            references(&document, &mut found);
            for reference in found {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{path}: {reference}");
            }
        }
    }

    #[test]
    fn version_2_has_the_same_operations() {
        let v2 = ask("/openapi/v2");
        assert_eq!(v2["swagger"], "2.0");
        let item = &v2["paths"]["/apis/kubeflow.org/v1/namespaces/{namespace}/mxjobs/{name}"];
        assert_eq!(keys(item), ["delete", "get", "parameters", "patch", "put"]);
        assert_eq!(item["put"]["operationId"], "replaceKubeflowOrgV1NamespacedMXJob");
        assert_eq!(
            item["put"]["parameters"][0]["schema"]["$ref"],
            "#/definitions/org.kubeflow.v1.MXJob"
        );
        assert_eq!(
            item["patch"]["consumes"],
            json!([
                "application/apply-patch+yaml",
                "application/json-patch+json",
                "application/merge-patch+json"
            ])
        );
    }
}
