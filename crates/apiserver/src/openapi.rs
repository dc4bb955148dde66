//! OpenAPI: the kinds, their fields and their operations, for clients.
//!
//! `kubectl explain` reads the fields, `kubectl apply` the merge keys. Before `kubectl` sends
//! `fieldValidation=Strict` or `dryRun` it looks up the kind's patch operation (by its
//! `x-kubernetes-group-version-kind`) in `/openapi/v3` and checks that it has the parameter. So
//! every served kind has its paths, operations, parameters and schema here, generated from the
//! registry. Version 2 has the same content in its own format. Each document is built at its first
//! request and kept.

mod freshness;
mod gnostic;
mod operations;
mod schemas;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use self::schemas::Schemas;
use crate::body::{Body, full};
use crate::discovery::{Document, Groups, hash, root};
use crate::kind::Kind;
use crate::version;

pub use self::freshness::{Freshness, freshness};

/// The documents of a set of kinds.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// Version 3, by path, and the index.
    v3: OnceLock<BTreeMap<String, Document>>,
    v2: OnceLock<Document>,
    /// Version 2 in protobuf.
    v2_packed: OnceLock<Bytes>,
}

/// The names of protobuf in `Accept`; the second is also the response's type.
const PACKED: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

// === impl Documents ===

impl Documents {
    /// The response in protobuf, if the path supports it and the client prefers it. `known` is the
    /// tag of the client's copy.
    pub(crate) fn packed(
        &self,
        kinds: &[Arc<Kind>],
        path: &str,
        accept: &str,
        known: Option<&str>,
    ) -> Option<Response<Body>> {
        let first = accept.split(',').next()?.split(';').next()?.trim();
        if path.trim_end_matches('/') != "/openapi/v2" || !PACKED.contains(&first) {
            return None;
        }
        let v2 = self.v2(kinds);
        let etag = v2.etag.as_deref().unwrap_or_default();
        let is_known = known == Some(etag);
        let packed = || {
            let document = serde_json::from_slice(&v2.json).unwrap_or_default();
            self.v2_packed.get_or_init(|| gnostic::encode(&document).into()).clone()
        };
        let mut response = Response::new(full(if is_known { Bytes::new() } else { packed() }));
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::from_str(etag).ok()?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PACKED[1]));
        headers.append(header::VARY, HeaderValue::from_static("Accept"));
        Some(response)
    }

    /// The document under a path: `/openapi/v3`, `/openapi/v3/apis/{group}/{version}`,
    /// `/openapi/v3/api/v1`, `/openapi/v2`. JSON only; see [`Self::packed`] for version 2 in
    /// protobuf.
    #[must_use]
    pub(crate) fn find(&self, kinds: &[Arc<Kind>], path: &str) -> Option<Document> {
        match path.strip_suffix('/').unwrap_or(path) {
            "/openapi/v2" => Some(self.v2(kinds).clone()),
            path if path.starts_with("/openapi/v3") => {
                self.v3.get_or_init(|| v3(kinds)).get(path).cloned()
            }
            _ => None,
        }
    }

    fn v2(&self, kinds: &[Arc<Kind>]) -> &Document {
        self.v2.get_or_init(|| v2(kinds))
    }
}

fn v3(kinds: &[Arc<Kind>]) -> BTreeMap<String, Document> {
    let mut documents = BTreeMap::new();
    let mut index = Map::new();
    for (group, version, kinds) in Groups::of(kinds).versions() {
        let root = root(group, version);
        let document = group_version(kinds);
        let url = format!("/openapi/v3{root}?hash={}", hash(&document.json));
        index.insert(root.trim_start_matches('/').to_owned(), json!({ "serverRelativeURL": url }));
        documents.insert(format!("/openapi/v3{root}"), document);
    }
    for (path, name, description) in operations::ENTRANCES {
        let key = path.trim_matches('/');
        let document = entrance(path, name, description);
        let url = format!("/openapi/v3/{key}?hash={}", hash(&document.json));
        index.insert(key.to_owned(), json!({ "serverRelativeURL": url }));
        documents.insert(format!("/openapi/v3/{key}"), document);
    }
    // As upstream's, the index has no tag, and its type is not JSON.
    let index = json!({ "paths": index }).to_string();
    let content_type = Some("text/plain; charset=utf-8".to_owned());
    let index = Document::new(index, content_type, None);
    documents.insert("/openapi/v3".to_owned(), index);
    documents
}

/// The version 3 document of a path that leads to group versions.
fn entrance(path: &str, name: &str, description: &str) -> Document {
    let operation = operations::entrance(name, description);
    let document_json = json!({
        "components": { "schemas": {} },
        "info": info(false),
        "openapi": "3.0.0",
        "paths": { path: { "get": operation } },
    });
    document(document_json.to_string())
}

/// The version 3 document of one group version.
fn group_version(kinds: &[&Kind]) -> Document {
    let paths = Value::from(paths(kinds)).to_string();
    let schemas = Schemas::of(kinds, &paths).to_json();
    let info = info(kinds.iter().all(|kind| kind.conventions.custom_openapi_title));
    document(format!(
        r#"{{"components":{{"schemas":{schemas}}},"info":{info},"openapi":"3.0.0","paths":{paths}}}"#
    ))
}

/// The version 2 document with everything.
fn v2(kinds: &[Arc<Kind>]) -> Document {
    let mut all = Map::new();
    let mut schemas = Schemas::default();
    for (_, _, kinds) in Groups::of(kinds).versions() {
        let paths = paths(kinds);
        schemas.merge(Schemas::of(kinds, &Value::from(paths.clone()).to_string()));
        all.extend(operations::to_v2(&paths));
    }
    let (paths, definitions, info) = (Value::from(all), schemas.to_json_v2(), info(false));
    document(format!(
        r#"{{"definitions":{definitions},"info":{info},"paths":{paths},"swagger":"2.0"}}"#
    ))
}

fn paths(kinds: &[&Kind]) -> Map<String, Value> {
    kinds.iter().flat_map(|kind| operations::paths(kind)).collect()
}

fn info(custom: bool) -> Value {
    if custom {
        // Upstream's info for every custom resource.
        json!({ "title": "Kubernetes CRD Swagger", "version": "v0.1.0" })
    } else {
        json!({ "title": "Kubernetes", "version": format!("{}.{}", version::MAJOR, version::MINOR) })
    }
}

fn document(json: String) -> Document {
    let etag = Some(crate::discovery::etag(json.as_bytes()));
    Document::new(json, None, etag)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::registry::{self, Registry, Served};

    static SERVED: LazyLock<Arc<Served>> = LazyLock::new(|| Registry::new(true).served());

    fn answer(path: &str) -> Option<Document> {
        SERVED.openapi().find(SERVED.kinds(), path)
    }

    fn ask(path: &str) -> Value {
        serde_json::from_slice(&answer(path).unwrap().json).unwrap()
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_index_lists_every_group_version_with_the_hash_of_its_document() {
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

    /// The look-up that `kubectl` does before it sends strict validation or a dry run.
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
        for kind in registry::built_in().iter().filter(|kind| kind.verbs.contains(&"patch")) {
            let v3 = ask(&format!("/openapi/v3{}", root(&kind.group, &kind.version)));
            for parameter in ["fieldValidation", "dryRun", "fieldManager"] {
                assert!(supports(&v3, kind, parameter), "{} {parameter}", kind.kind);
                assert!(supports(&v2, kind, parameter), "{} {parameter}", kind.kind);
            }
        }
    }

    #[test]
    fn every_reference_resolves() {
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
        let v3 = v3(SERVED.kinds());
        let all = v3.iter().map(|(path, document)| (path.as_str(), document));
        for (path, document) in all.chain([("/openapi/v2", SERVED.openapi().v2(SERVED.kinds()))]) {
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

    #[test]
    fn every_served_kind_has_its_schema_and_its_lists_schema_in_both_versions() {
        let v2 = ask("/openapi/v2");
        for kind in registry::built_in() {
            let v3 = ask(&format!("/openapi/v3{}", root(&kind.group, &kind.version)));
            for (schemas, version) in [(&v3["components"]["schemas"], 3), (&v2["definitions"], 2)] {
                for name in [kind.kind.to_string(), kind.list_kind()] {
                    let schema = &schemas[schemas::name(&kind.group, &kind.version, &name)];
                    let gvk =
                        json!([{ "group": kind.group, "version": kind.version, "kind": name }]);
                    assert_eq!(schema["x-kubernetes-group-version-kind"], gvk, "{version} {name}");
                    assert_eq!(schema["type"], "object", "{version} {name}");
                    assert!(schema["description"].is_string(), "{version} {name}");
                    assert!(schema["properties"]["metadata"].is_object(), "{version} {name}");
                }
                let schema = &schemas[schemas::name(&kind.group, &kind.version, &kind.kind)];
                assert_eq!(
                    schema["x-kubernetes-preserve-unknown-fields"],
                    Value::Null,
                    "{}",
                    kind.kind
                );
            }
        }
    }

    #[test]
    fn built_in_kinds_have_their_fields_and_merge_keys() {
        let v3 = ask("/openapi/v3/api/v1");
        let schemas = &v3["components"]["schemas"];
        let pod = &schemas["io.k8s.api.core.v1.Pod"]["properties"];
        assert_eq!(pod["spec"]["allOf"], json!([schemas::reference("io.k8s.api.core.v1.PodSpec")]));
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["items"], schemas::reference("io.k8s.api.core.v1.Container"));
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
        assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
        let quantity =
            &ask("/openapi/v2")["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"];
        assert_eq!(quantity, &json!({ "type": "string" }));
    }

    #[test]
    fn only_built_in_kinds_accept_strategic_merge_patches() {
        let content = |path: &str, item: &str| {
            let document = ask(path);
            document["paths"][item]["patch"]["requestBody"]["content"].clone()
        };
        let strategic = "application/strategic-merge-patch+json";
        let pods = content("/openapi/v3/api/v1", "/api/v1/namespaces/{namespace}/pods/{name}");
        assert!(keys(&pods).contains(&strategic));
        let jobs = content(
            "/openapi/v3/apis/kubeflow.org/v1",
            "/apis/kubeflow.org/v1/namespaces/{namespace}/mxjobs/{name}",
        );
        assert_eq!(keys(&jobs).len(), 3, "{jobs}");
    }

    #[test]
    fn version_2_is_protobuf_for_clients_that_prefer_it() {
        for (path, accept, known, expected) in [
            ("/openapi/v2", PACKED[0], None, Some(200)),
            ("/openapi/v2/", PACKED[1], None, Some(200)),
            (
                "/openapi/v2",
                PACKED[0],
                SERVED.openapi().v2(SERVED.kinds()).etag.as_deref(),
                Some(304),
            ),
            ("/openapi/v2", "application/json", None, None),
            ("/openapi/v2", "", None, None),
            ("/openapi/v3", PACKED[0], None, None),
        ] {
            let response = SERVED.openapi().packed(SERVED.kinds(), path, accept, known);
            let code = response.as_ref().map(|response| response.status().as_u16());
            assert_eq!(code, expected, "{path} {accept}");
            if let Some(response) = response {
                assert_eq!(response.headers()["content-type"], PACKED[1]);
            }
        }
    }
}
