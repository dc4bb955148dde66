//! Paths and operations, generated from a kind's row.

use serde_json::{Map, Value, json};

use crate::discovery::root;
use crate::kind::{Kind, Subresource};
use crate::negotiate::OBJECT_TYPES;
use crate::openapi::schemas;

/// The media types of custom resources; built-in kinds have protobuf, too.
const BODIES: &[&str] = &["application/json", "application/yaml"];
/// The patch types of custom resources.
const PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
];
/// The patch types of built-in kinds: `kubectl apply` makes strategic merge patches with the merge
/// keys in the schemas.
const BUILT_IN_PATCHES: &[&str] = &[
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// An operation on a path, for any kind.
struct Row {
    /// API verb.
    verb: &'static str,
    /// HTTP method, as the documents' key.
    method: &'static str,
    /// `x-kubernetes-action`.
    action: &'static str,
    /// First word of the operation's id.
    word: &'static str,
    /// Query parameters.
    query: &'static [Parameter],
}

/// An operation to describe.
struct Operation<'a> {
    row: &'static Row,
    kind: &'a Kind,
    subresource: Option<&'a Subresource>,
    /// Whether the path has a namespace.
    namespaced: bool,
}

/// Name, type and description of a query parameter.
type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter = ("pretty", "string", "Whether to indent the answer.");
const DRY_RUN: Parameter = ("dryRun", "string", "`All`: go through all stages, but store nothing.");
const FIELD_MANAGER: Parameter = ("fieldManager", "string", "Whose changes these are.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What to do about unknown and duplicate fields: `Ignore`, `Warn` or `Strict`.",
);
const FORCE: Parameter =
    ("force", "boolean", "Whether to take over fields of others (server-side apply).");
const LABELS: Parameter = ("labelSelector", "string", "Selects by labels.");
const FIELDS: Parameter = ("fieldSelector", "string", "Selects by fields.");
const REVISION: Parameter =
    ("resourceVersion", "string", "Resource version to read, or to start watching from.");
const MATCH: Parameter = (
    "resourceVersionMatch",
    "string",
    "How to match `resourceVersion`: `Exact` or `NotOlderThan`.",
);
const LIMIT: Parameter = ("limit", "integer", "Maximum number of items to return.");
const CONTINUE: Parameter = ("continue", "string", "Token of the next page.");
const TIMEOUT: Parameter =
    ("timeoutSeconds", "integer", "Duration of the list or watch call in seconds.");
const GRACE: Parameter =
    ("gracePeriodSeconds", "integer", "Seconds to terminate before being killed.");
const PROPAGATION: Parameter = (
    "propagationPolicy",
    "string",
    "What to do with dependents: `Orphan`, `Background` or `Foreground`.",
);
const ORPHAN: Parameter =
    ("orphanDependents", "boolean", "Deprecated form of `propagationPolicy`.");

const READ: &[Parameter] = &[REVISION];
const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: &[Parameter] = &[DRY_RUN, GRACE, ORPHAN, PROPAGATION];
const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean", "Whether to send bookmarks."),
    CONTINUE,
    FIELDS,
    LABELS,
    LIMIT,
    REVISION,
    MATCH,
    ("sendInitialEvents", "boolean", "Whether a watch starts with the existing objects."),
    TIMEOUT,
    ("watch", "boolean", "Whether to watch instead of listing."),
];
const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELDS,
    GRACE,
    LABELS,
    LIMIT,
    ORPHAN,
    PROPAGATION,
    REVISION,
    MATCH,
    TIMEOUT,
];

/// The operations on a collection.
const COLLECTION: &[Row] = &[
    Row { verb: "list", method: "get", action: "list", word: "list", query: LIST },
    Row { verb: "create", method: "post", action: "post", word: "create", query: WRITE },
    Row {
        verb: "deletecollection",
        method: "delete",
        action: "deletecollection",
        word: "delete",
        query: DELETE_COLLECTION,
    },
];
/// The operations on one object.
const ITEM: &[Row] = &[
    Row { verb: "get", method: "get", action: "get", word: "read", query: READ },
    Row { verb: "update", method: "put", action: "put", word: "replace", query: WRITE },
    Row { verb: "patch", method: "patch", action: "patch", word: "patch", query: PATCH },
    Row { verb: "delete", method: "delete", action: "delete", word: "delete", query: DELETE },
];
/// Additional operations on a subresource.
const POST: &[Row] =
    &[Row { verb: "create", method: "post", action: "post", word: "create", query: WRITE }];

/// Paths without a kind: the path, the operation's id, and its description.
pub(super) const ENTRANCES: &[(&str, &str, &str)] = &[
    ("/api/", "getCoreAPIVersions", "get the versions of the core group"),
    ("/apis/", "getAPIVersions", "get the groups and their versions"),
    ("/version/", "getCodeVersion", "get the version of the server"),
];

/// The one operation of such a path.
pub(super) fn entrance(name: &str, description: &str) -> Value {
    json!({
        "operationId": name,
        "description": description,
        "responses": {
            "200": {
                "description": "OK",
                "content": { "application/json": { "schema": { "type": "object" } } },
            },
            "401": { "description": "Unauthorized" },
        },
    })
}

/// The version 3 paths of a kind.
pub(super) fn paths(kind: &Kind) -> Map<String, Value> {
    let root = root(&kind.group, &kind.version);
    let scope =
        if kind.namespaced { format!("{root}/namespaces/{{namespace}}") } else { root.clone() };
    let collection = format!("{scope}/{}", kind.plural);
    let offered =
        |rows: &'static [Row], verbs: &[&str], subresource, namespaced| -> Vec<Operation<'_>> {
            let rows = rows.iter().filter(|row| verbs.contains(&row.verb));
            rows.map(|row| Operation { row, kind, subresource, namespaced }).collect()
        };
    let mut paths = vec![
        (collection.clone(), offered(COLLECTION, kind.verbs, None, kind.namespaced)),
        (format!("{collection}/{{name}}"), offered(ITEM, kind.verbs, None, kind.namespaced)),
    ];
    if kind.namespaced {
        let lists = if kind.verbs.contains(&"list") { &["list"][..] } else { &[] };
        paths.push((format!("{root}/{}", kind.plural), offered(COLLECTION, lists, None, false)));
    }
    for subresource in kind.subresources {
        let mut operations = offered(ITEM, subresource.verbs, Some(subresource), kind.namespaced);
        operations.extend(offered(POST, subresource.verbs, Some(subresource), kind.namespaced));
        paths.push((format!("{collection}/{{name}}/{}", subresource.name), operations));
    }
    paths.retain(|(_, operations)| !operations.is_empty());
    paths
        .into_iter()
        .map(|(path, operations)| {
            let item = path_item(kind, &path, &operations);
            (path, item)
        })
        .collect()
}

fn path_item(kind: &Kind, path: &str, operations: &[Operation<'_>]) -> Value {
    let mut item: Map<String, Value> = operations
        .iter()
        .map(|operation| (operation.row.method.to_owned(), operation.v3()))
        .collect();
    let mut parameters = Vec::new();
    if path.contains("{name}") {
        parameters.push(path_parameter("name", &format!("name of the {}", kind.kind)));
    }
    if path.contains("{namespace}") {
        parameters.push(path_parameter(
            "namespace",
            "object name and auth scope, such as for teams and projects",
        ));
    }
    parameters.push(query_parameter(PRETTY));
    item.insert("parameters".to_owned(), parameters.into());
    item.into()
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": { "type": "string", "uniqueItems": true },
    })
}

fn query_parameter((name, kind, description): Parameter) -> Value {
    json!({
        "name": name, "in": "query", "description": description,
        "schema": { "type": kind, "uniqueItems": true },
    })
}

// === impl Operation ===

impl Operation<'_> {
    fn v3(&self) -> Value {
        let status = schemas::reference(&schemas::meta("Status"));
        let (group, version, kind) = self.body_kind();
        let own = schemas::reference(&schemas::name(group, version, kind));
        let answer = match self.row.action {
            "list" => schemas::reference(&format!("{}List", schemas::name(group, version, kind))),
            "delete" if !self.kind.returns_deleted => status,
            "deletecollection" => status,
            _ => own.clone(),
        };
        let content = |schema: &Value, types: &[&str]| -> Value {
            types
                .iter()
                .map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema })))
                .collect::<Map<_, _>>()
                .into()
        };
        let bodies = if self.kind.is_typed() { OBJECT_TYPES } else { BODIES };
        let mut responses = json!({
            "200": { "description": "OK", "content": content(&answer, bodies) },
            "401": { "description": "Unauthorized" },
        });
        let more: &[(&str, &str)] = match self.row.action {
            "post" => &[("201", "Created"), ("202", "Accepted")],
            "put" | "patch" => &[("201", "Created")],
            "delete" => &[("202", "Accepted")],
            _ => &[],
        };
        for (code, description) in more {
            responses[*code] =
                json!({ "description": description, "content": content(&answer, bodies) });
        }
        let mut operation = json!({
            "operationId": self.id(),
            "description": self.description(),
            "tags": [tag(self.kind)],
            "parameters": self.row.query.iter().map(|parameter| query_parameter(*parameter)).collect::<Vec<_>>(),
            "responses": responses,
            "x-kubernetes-action": self.row.action,
            "x-kubernetes-group-version-kind": { "group": group, "version": version, "kind": kind },
        });
        let meta = |name: &str| schemas::reference(&schemas::meta(name));
        let patches =
            if self.kind.conventions.strategic_merge { BUILT_IN_PATCHES } else { PATCHES };
        let body = match self.row.action {
            "post" | "put" => Some((true, content(&own, bodies))),
            "patch" => Some((true, content(&meta("Patch"), patches))),
            "delete" | "deletecollection" => Some((false, content(&meta("DeleteOptions"), bodies))),
            _ => None,
        };
        if let Some((required, content)) = body {
            operation["requestBody"] = json!({ "required": required, "content": content });
        }
        operation
    }

    fn body_kind(&self) -> (&str, &str, &str) {
        // Bodies of some subresources have no schema.
        let body = self.subresource.and_then(|subresource| subresource.body);
        body.filter(|(group, version, kind)| schemas::is_described(group, version, kind))
            .unwrap_or_else(|| self.kind.gvk())
    }

    /// `replaceKubeflowOrgV1NamespacedMXJobStatus`, as upstream generates them.
    fn id(&self) -> String {
        let group = if self.kind.group.is_empty() { "core" } else { &self.kind.group };
        let group = group.strip_suffix(".k8s.io").unwrap_or(group);
        let group: String = group.split(['.', '-']).map(capitalized).collect();
        let version = capitalized(&self.kind.version);
        let scope = if self.namespaced { "Namespaced" } else { "" };
        let across = if self.kind.namespaced && !self.namespaced { "ForAllNamespaces" } else { "" };
        let collection = if self.row.action == "deletecollection" { "Collection" } else { "" };
        let subresource =
            self.subresource.map(|subresource| capitalized(subresource.name)).unwrap_or_default();
        format!(
            "{}{group}{version}{collection}{scope}{}{subresource}{across}",
            self.row.word, self.kind.kind
        )
    }

    fn description(&self) -> String {
        let kind = &self.kind.kind;
        let part = self
            .subresource
            .map(|subresource| format!("{} of ", subresource.name))
            .unwrap_or_default();
        match self.row.action {
            "list" => format!("list objects of kind {kind}"),
            "deletecollection" => format!("delete collection of {kind}"),
            "post" => format!("create {part}a {kind}"),
            "get" => format!("read {part}the specified {kind}"),
            "put" => format!("replace {part}the specified {kind}"),
            "patch" => format!("partially update {part}the specified {kind}"),
            _ => format!("delete a {kind}"),
        }
    }
}

fn tag(kind: &Kind) -> String {
    let group = if kind.group.is_empty() { "core" } else { &kind.group };
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    let mut parts = group.split('.');
    let first = parts.next().unwrap_or_default().to_owned();
    format!("{}_{}", first + &parts.map(capitalized).collect::<String>(), kind.version)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
        .unwrap_or_default()
}

/// The same paths in version 2: types inside parameters, bodies as parameters, media types
/// separate.
pub(super) fn to_v2(paths: &Map<String, Value>) -> Map<String, Value> {
    let path = |item: &Value| -> Value {
        let members = item.as_object().into_iter().flatten().map(|(key, value)| {
            let value =
                if key == "parameters" { parameters_v2(value) } else { operation_v2(value) };
            (key.clone(), value)
        });
        members.collect::<Map<_, _>>().into()
    };
    paths.iter().map(|(key, item)| (key.clone(), path(item))).collect()
}

fn operation_v2(v3: &Value) -> Value {
    let mut v2 = v3.clone();
    let Some(operation) = v2.as_object_mut() else { return v2 };
    let mut parameters = parameters_v2(&v3["parameters"]);
    let mut consumes: Vec<Value> = BODIES.iter().map(|media_type| (*media_type).into()).collect();
    if let (Some(body), Some(parameters)) =
        (operation.remove("requestBody"), parameters.as_array_mut())
    {
        let content = body["content"].as_object().cloned().unwrap_or_default();
        let schema = content
            .values()
            .next()
            .map_or(Value::Null, |entry| schemas::reference_v2(&entry["schema"]));
        parameters.insert(
            0,
            json!({ "name": "body", "in": "body", "required": body["required"], "schema": schema }),
        );
        consumes = content.keys().map(|media_type| media_type.as_str().into()).collect();
    }
    for response in operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flatten()
        .map(|(_, r)| r)
    {
        let Some(response) = response.as_object_mut() else { continue };
        if let Some(content) = response.remove("content") {
            response.insert(
                "schema".to_owned(),
                schemas::reference_v2(&content["application/json"]["schema"]),
            );
        }
    }
    operation.insert("parameters".to_owned(), parameters);
    operation.insert("consumes".to_owned(), consumes.into());
    let produced = v3.pointer("/responses/200/content").and_then(Value::as_object);
    let produces: Vec<&String> = produced.into_iter().flat_map(Map::keys).collect();
    operation.insert("produces".to_owned(), json!(produces));
    operation.insert("schemes".to_owned(), json!(["https"]));
    v2
}

fn parameters_v2(parameters: &Value) -> Value {
    let flatten = |parameter: &Value| {
        let mut parameter = parameter.clone();
        if let Some(members) = parameter.as_object_mut()
            && let Some(Value::Object(schema)) = members.remove("schema")
        {
            members.extend(schema);
        }
        parameter
    };
    parameters.as_array().into_iter().flatten().map(flatten).collect()
}
