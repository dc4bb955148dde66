//! What is wrong with the objects of files: the rules of `mxjob validate`, `run` and `submit`.
//!
//! The rules are the functions of the API server, which checks the objects again when they are
//! created.

use mxjob_api::mxjob;
use mxjob_apiserver::{registry, validation};
use mxjob_machinery::yaml::Node;
use serde_json::Value;

use crate::objects::Object;

/// The metadata that only a server sets.
const SERVER_METADATA: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What runs the pods of the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    /// The node of `mxjob up` and `mxjob run`, which does not honour all fields of pods.
    Processes,
    /// The nodes of a cluster.
    Cluster,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The server rejects the object.
    Error,
    /// The server accepts the object with a warning.
    Warning,
}

/// One finding about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// 0 if unknown.
    pub(crate) line: u64,
    /// The path of the field; empty for the object.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// Removes what a server has added to an exported object, so that it can be created again.
pub(crate) fn drop_server_fields(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    if let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_METADATA {
            meta.remove(field);
        }
    }
}

/// The findings about an object, in the order of their lines.
pub(crate) fn object(object: &Object, nodes: Nodes) -> Vec<Finding> {
    let node = &object.node;
    let mut value = object.value.clone();
    drop_server_fields(&mut value);
    let Some(report) = validation::check(&value) else { return vec![of_unknown_kind(object)] };
    let error = |path: &str, message: &str| Finding::new(Severity::Error, node, path, message);
    let warning = |path: &str, message: &str| Finding::new(Severity::Warning, node, path, message);
    let mut found = Vec::new();
    found.extend(report.problem.iter().map(|problem| error(problem.path, &problem.message)));
    found.extend(report.unknown.iter().map(|path| error(path, "unknown field")));
    let mut errors = report.errors;
    if nodes == Nodes::Processes {
        errors.append(report.fields.refused);
        found.extend(report.warnings.iter().map(|text| warning("", text)));
        let ignored = report.fields.warned.iter();
        found.extend(ignored.map(|field| warning(field.path.as_str(), &field.message())));
    }
    found.extend(errors.iter().map(|one| error(one.path.as_str(), &one.body())));
    found.extend(errors.rest().map(|rest| error("", &rest)));
    found.sort_by_key(|finding| finding.line);
    found
}

/// The finding about an object that has no built-in kind. It may have one that is defined by a
/// CustomResourceDefinition.
fn of_unknown_kind(object: &Object) -> Finding {
    let text = |field: &str| object.value[field].as_str().unwrap_or_default();
    let error = |path, message: &str| Finding::new(Severity::Error, &object.node, path, message);
    let (version, kind) = (text("apiVersion"), text("kind"));
    let known = registry::built_in().iter().find(|known| known.kind == kind);
    match known {
        _ if kind.is_empty() => error("kind", "Required value"),
        _ if version.is_empty() => error("apiVersion", "Required value"),
        // Other groups may have kinds of the same name.
        Some(known) if kind == mxjob::KIND || !version.contains('.') => {
            error("apiVersion", &format!("expected {}", known.api_version()))
        }
        _ => {
            let message = format!("{version} {kind} is not a built-in kind; it was not checked");
            Finding::new(Severity::Warning, &object.node, "", &message)
        }
    }
}

// === impl Finding ===

impl Finding {
    pub(crate) fn new(severity: Severity, node: &Node, path: &str, message: &str) -> Self {
        let line = if path.is_empty() { node.line } else { node.line_of(path) };
        Self { severity, line, path: path.to_owned(), message: message.to_owned() }
    }

    /// The path, if there is one, and the message.
    pub(crate) fn text(&self) -> String {
        match self.path.as_str() {
            "" => self.message.clone(),
            path => format!("{path}: {}", self.message),
        }
    }
}
