//! What a create says about an object before anything else is read: for `mxjob validate`.

use mxjob_machinery::field::{Errors, Path};
use mxjob_machinery::metadata;
use mxjob_machinery::pod_fields::Findings;
use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::{document, registry, schemas};

/// A suffix like those that are appended to `generateName`.
const GENERATED_SUFFIX: &str = "xxxxx";

/// What is wrong with an object.
#[derive(Debug, Default)]
pub struct Report {
    /// Why it is no object of its kind. Nothing else is checked then.
    pub problem: Option<Problem>,
    /// The paths of fields that its kind does not have.
    pub unknown: Vec<String>,
    /// The errors of its fields.
    pub errors: Errors,
    /// Texts of warnings about the whole object.
    pub warnings: Vec<String>,
    /// Fields that a node of processes does not honour.
    pub fields: Findings,
}

/// A value of a wrong type.
#[derive(Debug)]
pub struct Problem {
    /// The field, as far as it is known; empty for the object.
    pub path: &'static str,
    /// What is wrong.
    pub message: String,
}

/// Checks an object of a built-in kind as a create would. `None` if no built-in kind has its
/// `apiVersion` and `kind`.
pub fn check(object: &Value) -> Option<Report> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let is_it = |kind: &&std::sync::Arc<Kind>| {
        kind.kind == text("kind") && kind.api_version() == text("apiVersion")
    };
    let kind = registry::built_in().iter().find(is_it)?;
    if let Some(problem) = problem(kind, object) {
        return Some(Report { problem: Some(problem), ..Report::default() });
    }
    let mut object = object.clone();
    let unknown = schemas::unknown_fields(kind, &object);
    schemas::normalize(kind, &mut object);
    complete_metadata(kind, document::metadata_mut(&mut object));
    let strategy = &kind.strategy;
    strategy.prepare_create(&mut object);
    let mut warnings = strategy.warnings(&object);
    warnings.extend(kind.storage_warning());
    let path = Path::new("metadata");
    let meta = document::metadata_mut(&mut object);
    let mut errors = metadata::validate_named(meta, kind.namespaced, strategy.name_rule(), &path);
    errors.append(strategy.validate(&object));
    Some(Report { problem: None, unknown, errors, warnings, fields: strategy.pod_fields(&object) })
}

fn problem(kind: &Kind, object: &Value) -> Option<Problem> {
    let of = |path| move |message| Problem { path, message };
    let in_metadata = object.get("metadata").and_then(metadata::decode_problem);
    let in_metadata = in_metadata.map(of("metadata"));
    in_metadata.or_else(|| schemas::decode_problem(kind, object).map(of("")))
}

/// Adds what a request adds: a generated name, and the namespace of the path.
fn complete_metadata(kind: &Kind, meta: &mut Map<String, Value>) {
    let text = |meta: &Map<String, Value>, field: &str| {
        meta.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (name, prefix) = (text(meta, "name"), text(meta, "generateName"));
    if name.is_empty() && !prefix.is_empty() {
        meta.insert("name".to_owned(), format!("{prefix}{GENERATED_SUFFIX}").into());
    }
    if kind.namespaced && text(meta, "namespace").is_empty() {
        meta.insert("namespace".to_owned(), "default".into());
    }
}
