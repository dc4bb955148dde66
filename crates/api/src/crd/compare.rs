//! Compares a cluster's definition with ours.

use std::fmt;

use mxjob_machinery::json;
use serde_json::{Map, Value};

use super::{REVISION, SCHEMA_ANNOTATION, schema_id};
use crate::{mxjob, schema};

/// The command that installs our definition, also over another one.
pub const FIX_COMMAND: &str =
    "mxjob manifests --only crd | kubectl apply --server-side --force-conflicts -f -";

/// Whose definition a cluster has, and its differences from ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ours, of this version.
    Same,
    /// Ours, of an earlier version.
    Older(Difference),
    /// Ours, of a later version (or of another build of this one).
    Newer(Difference),
    /// Ours, of this version, and the cluster does not serve it.
    Unserved(Difference),
    /// Not ours.
    Foreign(Difference),
}

/// What a definition lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Differences that stop the controller: clauses such as `it does not serve v1`.
    pub obstacles: Vec<String>,
    /// Why the cluster does not serve the definition: clauses such as `NamesAccepted is False (…)`.
    pub unserved: Vec<String>,
    /// The fields of an MXJob that the definition would drop, as `spec.suspend`.
    pub fields: Vec<String>,
    /// Versions that the definition lists as stored and that ours does not have. They must be
    /// removed from its status before ours can be applied.
    pub stored_versions: Vec<String>,
}

/// Compares a definition, as `apiextensions.k8s.io/v1` serves it, with ours.
///
/// ```
/// use mxjob_api::crd::{Verdict, crd, compare};
///
/// let mut definition = crd();
/// assert_eq!(compare(&definition), Verdict::Same);
/// definition["metadata"]["annotations"] = serde_json::Value::Null;
/// assert!(matches!(compare(&definition), Verdict::Foreign(_)));
/// ```
pub fn compare(definition: &Value) -> Verdict {
    let difference = difference(definition);
    let id = definition.pointer("/metadata/annotations").and_then(|map| map.get(SCHEMA_ANNOTATION));
    let Some(id) = id.and_then(Value::as_str) else { return Verdict::Foreign(difference) };
    // The annotation may be outdated: an apply by another owner keeps it.
    if id == schema_id() && !difference.lacks_something() {
        return if difference.is_none() { Verdict::Same } else { Verdict::Unserved(difference) };
    }
    match id.split_once('.').and_then(|(revision, _)| revision.parse::<u32>().ok()) {
        Some(revision) if revision < REVISION => Verdict::Older(difference),
        Some(_) if !difference.lacks_something() => Verdict::Newer(difference),
        _ => Verdict::Foreign(difference),
    }
}

fn difference(definition: &Value) -> Difference {
    let mut difference = Difference::default();
    let list = |pointer: &str| json::list(definition, pointer);
    let stored = list("/status/storedVersions").iter().filter_map(Value::as_str);
    difference.stored_versions =
        stored.filter(|version| *version != mxjob::VERSION).map(str::to_owned).collect();
    if definition.pointer("/spec/scope").is_some_and(|scope| scope != "Namespaced") {
        difference.obstacles.push("its objects are not namespaced".to_owned());
    }
    difference.unserved = list("/status/conditions").iter().filter_map(unserved).collect();
    let versions = list("/spec/versions");
    let ours = versions
        .iter()
        .find(|version| version.get("name").is_some_and(|name| name == mxjob::VERSION))
        .filter(|version| version.get("served") == Some(&Value::Bool(true)));
    let Some(ours) = ours else {
        difference.obstacles.push(format!("it does not serve {}", mxjob::VERSION));
        return difference;
    };
    if ours.pointer("/subresources/status").is_none() {
        difference.obstacles.push("it has no status subresource".to_owned());
    }
    let keeps_all = definition.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true));
    if !keeps_all {
        let no_schema = Value::Object(Map::new());
        let schema = ours.pointer("/schema/openAPIV3Schema").unwrap_or(&no_schema);
        missing(schema::open_api(), schema, "", &mut difference.fields);
    }
    difference
}

/// A condition's reason why the definition is not served. An absent condition gives none.
fn unserved(condition: &Value) -> Option<String> {
    let text = |field: &str| condition.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type");
    if !["Established", "NamesAccepted"].contains(&kind) || text("status") != "False" {
        return None;
    }
    Some(match text("message") {
        "" => format!("{kind} is False"),
        message => format!("{kind} is False ({message})"),
    })
}

/// The fields that one schema has and another lacks. Templates are skipped: they differ with each
/// release of Kubernetes.
fn missing(wanted: &Value, given: &Value, path: &str, found: &mut Vec<String>) {
    let keeps = given.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if keeps || path.ends_with(".template") || path == "metadata" {
        return;
    }
    let fields = wanted.get("properties").and_then(Value::as_object);
    for (name, wanted) in fields.into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match given.get("properties").and_then(|fields| fields.get(name)) {
            Some(given) => missing(wanted, given, &path, found),
            None => found.push(path),
        }
    }
    for (inner, mark) in [("additionalProperties", ".*"), ("items", "[]")] {
        if let (Some(wanted), Some(given)) = (wanted.get(inner), given.get(inner)) {
            missing(wanted, given, &format!("{path}{mark}"), found);
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether the controller can work with it.
    pub fn is_usable(&self) -> bool {
        self.difference().is_none_or(Difference::is_none)
    }

    /// What the definition lacks.
    pub fn difference(&self) -> Option<&Difference> {
        match self {
            Self::Same => None,
            Self::Older(difference)
            | Self::Newer(difference)
            | Self::Unserved(difference)
            | Self::Foreign(difference) => Some(difference),
        }
    }
}

/// One sentence, with the command that fixes it.
impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self {
            Self::Same => return write!(out, "The definition {} is up to date.", super::name()),
            Self::Older(_) => "from an earlier mxjob",
            Self::Newer(_) => "from a later mxjob",
            Self::Unserved(_) => "up to date",
            Self::Foreign(_) => "not the one of mxjob",
        };
        write!(out, "The definition {} is {origin}", super::name())?;
        let none = Difference::default();
        let difference = self.difference().unwrap_or(&none);
        match self {
            Self::Unserved(_) => write!(out, ", but {}", difference.why_unserved())?,
            _ => write!(out, "{difference}")?,
        }
        match self {
            Self::Newer(_) => write!(out, "; update the operator to match it."),
            Self::Unserved(_) => write!(
                out,
                "; remove what is blocking it, for example another definition with the same names (`kubectl get crd` lists them)"
            ),
            _ if difference.stored_versions.is_empty() => {
                write!(out, "; replace it with: {FIX_COMMAND}")
            }
            _ => write!(
                out,
                "; replace it with: kubectl patch crd {} --subresource status --type merge -p '{{\"status\":{{\"storedVersions\":[\"{}\"]}}}}' && {FIX_COMMAND}",
                super::name(),
                mxjob::VERSION
            ),
        }
    }
}

// === impl Difference ===

impl Difference {
    /// Whether there is no difference.
    pub fn is_none(&self) -> bool {
        !self.lacks_something() && self.unserved.is_empty()
    }

    fn why_unserved(&self) -> String {
        format!("the cluster does not serve it: {}", self.unserved.join(", "))
    }

    /// Whether the definition itself lacks something.
    fn lacks_something(&self) -> bool {
        !(self.obstacles.is_empty() && self.fields.is_empty())
    }
}

/// Clauses that follow the subject: `: it does not serve v1`.
impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 6;
        let mut clauses = self.obstacles.clone();
        if !self.fields.is_empty() {
            let shown: Vec<_> = self.fields.iter().take(SHOWN).map(String::as_str).collect();
            let more = match self.fields.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            clauses.push(format!("it would drop the fields {}{more}", shown.join(", ")));
        }
        if !self.unserved.is_empty() {
            clauses.push(self.why_unserved());
        }
        if clauses.is_empty() {
            return out.write_str(", and has everything that the controller needs");
        }
        write!(out, ": {}", clauses.join(", "))
    }
}
