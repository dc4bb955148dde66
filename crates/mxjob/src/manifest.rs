//! Job files of `mxjob run` and `mxjob submit`. Every error is reported with its line before
//! anything is started.
//!
//! The rules are the functions that the API server uses; the server checks the objects again when
//! they are created.

use std::collections::BTreeSet;
use std::path::Path;

use mxjob_api::{mxjob, unknown, validate};
use mxjob_machinery::yaml::Node;
use mxjob_machinery::{field, metadata};
use serde_json::{Map, Value, json};

use crate::exit::Failure;
use crate::objects::{self, Object};

/// A suffix like those that a server appends to `generateName`.
const GENERATED_SUFFIX: &str = "xxxxx";

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

/// The namespace of the objects.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Namespace<'a> {
    /// This one, whatever the objects name.
    Always(&'a str),
    /// This one for objects that name none.
    OrElse(&'a str),
}

/// The objects of a file, ready to be created.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// At least one, in the order of the file.
    pub(crate) jobs: Vec<Value>,
    /// The ConfigMaps and Secrets.
    pub(crate) others: Vec<Value>,
}

/// An error in the file.
#[derive(Debug)]
struct Violation {
    /// 0 if unknown.
    line: u64,
    message: String,
}

// === impl Manifest ===

impl Manifest {
    /// Reads and checks a file or a folder; `-` is standard input.
    pub(crate) fn load(path: &Path, namespace: Namespace<'_>) -> Result<Self, Failure> {
        let manifest = Self::check(objects::read(path)?, namespace)
            .map_err(|violations| Failure::input(violations.join("\nmxjob: ")))?;
        if manifest.jobs.is_empty() {
            let message = format!("{}: there is no MXJob", objects::shown(path));
            return Err(Failure::input(message));
        }
        Ok(manifest)
    }

    /// Checks objects. The errors have file and line.
    fn check(objects: Vec<Object>, namespace: Namespace<'_>) -> Result<Self, Vec<String>> {
        let mut manifest = Self::default();
        let mut violations = Vec::new();
        for Object { file, node, value: mut object } in objects {
            let node = &node;
            let mut found = Vec::new();
            drop_server_fields(&mut object);
            match (object["apiVersion"].as_str(), object["kind"].as_str()) {
                (Some(mxjob::API_VERSION), Some(mxjob::KIND)) => {
                    check_metadata(node, &mut object, namespace, &mut found);
                    check_job(node, &object, &mut found);
                    manifest.jobs.push(object);
                }
                (Some("v1"), Some("ConfigMap" | "Secret")) => {
                    check_metadata(node, &mut object, namespace, &mut found);
                    manifest.others.push(object);
                }
                (_, Some(mxjob::KIND)) => {
                    let expected = format!("expected {}", mxjob::API_VERSION);
                    found.push(Violation::at(node, "apiVersion", &expected));
                }
                (_, Some("ConfigMap" | "Secret")) => {
                    found.push(Violation::at(node, "apiVersion", "expected v1"));
                }
                _ => {
                    found.push(Violation::at(node, "kind", "expected MXJob, ConfigMap or Secret"));
                }
            }
            found.sort_by_key(|violation| violation.line);
            violations.extend(found.iter().map(|violation| match violation.line {
                0 => format!("{file}: {}", violation.message),
                line => format!("{file}, line {line}: {}", violation.message),
            }));
        }
        if violations.is_empty() { Ok(manifest) } else { Err(violations) }
    }

    /// The namespaces of the objects.
    pub(crate) fn namespaces(&self) -> BTreeSet<&str> {
        let objects = self.jobs.iter().chain(&self.others);
        objects.filter_map(|object| object["metadata"]["namespace"].as_str()).collect()
    }
}

/// Removes what a server has added to an exported object, so that it can be created again.
fn drop_server_fields(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("status");
    if let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SERVER_METADATA {
            meta.remove(field);
        }
    }
}

/// Sets the namespace, and checks the metadata.
fn check_metadata(
    node: &Node,
    object: &mut Value,
    namespace: Namespace<'_>,
    violations: &mut Vec<Violation>,
) {
    if let Some(problem) = object.get("metadata").and_then(metadata::decode_problem) {
        violations.push(Violation::at(node, "metadata", &problem));
        return;
    }
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    let Some(meta) = object["metadata"].as_object_mut() else { return };
    let named = meta.get("namespace").and_then(Value::as_str).unwrap_or_default();
    match namespace {
        Namespace::OrElse(_) if !named.is_empty() => {}
        Namespace::OrElse(name) | Namespace::Always(name) => {
            meta.insert("namespace".to_owned(), json!(name));
        }
    }
    violations.extend(
        metadata::unknown_fields(meta, "metadata")
            .iter()
            .map(|path| Violation::unknown(node, path)),
    );
    let errors = metadata::validate(&with_name(meta), true, &field::Path::new("metadata"));
    violations.extend(errors.iter().map(|error| Violation::of(node, error)));
}

/// The metadata with a name like the one that the server will generate.
fn with_name(meta: &Map<String, Value>) -> Map<String, Value> {
    let mut meta = meta.clone();
    let text = |field: &str| meta.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, prefix) = (text("name"), text("generateName"));
    if name.is_empty() && !prefix.is_empty() {
        let name = format!("{prefix}{GENERATED_SUFFIX}");
        meta.insert("name".to_owned(), json!(name));
    }
    meta
}

fn check_job(node: &Node, object: &Value, violations: &mut Vec<Violation>) {
    violations.extend(unknown::fields(object).iter().map(|path| Violation::unknown(node, path)));
    let mut object = object.clone();
    if let Some(meta) = object["metadata"].as_object_mut() {
        *meta = with_name(meta);
    }
    violations.extend(validate::validate(&object).iter().map(|error| Violation::of(node, error)));
}

// === impl Violation ===

impl Violation {
    fn at(node: &Node, path: &str, message: &str) -> Self {
        Self { line: node.line_of(path), message: format!("{path}: {message}") }
    }

    fn unknown(node: &Node, path: &str) -> Self {
        Self::at(node, path, "unknown field")
    }

    fn of(node: &Node, error: &field::Error) -> Self {
        Self { line: node.line_of(error.path.as_str()), message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "\
apiVersion: kubeflow.org/v1
kind: MXJob
metadata: {name: a}
spec:
  mxReplicaSpecs:
    Worker:
      template:
        spec:
          containers:
            - name: mxnet
              image: mxnet
";

    fn check(text: &str, namespace: Namespace<'_>) -> Result<Manifest, Vec<String>> {
        let documents = objects::documents("job", text).map_err(|failure| vec![failure.message])?;
        let object = |node: Node| Object { file: "job".to_owned(), value: node.value(), node };
        Manifest::check(documents.into_iter().map(object).collect(), namespace)
    }

    fn violations(text: &str) -> Vec<String> {
        let violations = check(text, Namespace::OrElse("default")).map(drop).unwrap_err();
        violations.iter().map(|violation| violation.replace("job, line ", "")).collect()
    }

    #[test]
    fn jobs_and_other_objects_are_read() {
        let text = format!(
            "{JOB}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, namespace: other}}\ndata: {{a: b}}\n---\n{JOB}"
        );
        let manifest = check(&text, Namespace::OrElse("default")).unwrap();
        assert_eq!((manifest.jobs.len(), manifest.others.len()), (2, 1));
        assert_eq!(manifest.jobs[0]["metadata"]["namespace"], "default");
        assert_eq!(manifest.namespaces().into_iter().collect::<Vec<_>>(), ["default", "other"]);
        let manifest = check(&text, Namespace::Always("here")).unwrap();
        assert_eq!(manifest.namespaces().into_iter().collect::<Vec<_>>(), ["here"]);
    }

    #[test]
    fn name_may_be_generated() {
        let text = JOB.replace("{name: a}", "{generateName: a-}");
        let manifest = check(&text, Namespace::OrElse("default")).unwrap();
        assert_eq!(
            manifest.jobs[0]["metadata"],
            json!({"generateName": "a-", "namespace": "default"})
        );
        let long = JOB.replace("{name: a}", &format!("{{generateName: {}}}", "a".repeat(52)));
        assert!(
            violations(&long)[0].starts_with("3: metadata.name: Invalid value"),
            "{:?}",
            violations(&long)
        );
        let bad = violations(&JOB.replace("{name: a}", "{generateName: A-}"));
        assert!(bad[0].starts_with("3: metadata."), "{bad:?}");
    }

    #[test]
    fn every_violation_has_line_and_field() {
        let check = |from: &str, to: &str, expected: &[&str]| {
            let text = JOB.replace(from, to);
            let found = violations(&text);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{found:?} should start with {expected:?}");
            }
        };
        check("name: a", "name: A", &["3: metadata.name: Invalid value: \"A\":"]);
        check("{name: a}", "{name: 7}", &["3: metadata: json: cannot unmarshal number"]);
        check("metadata: {name: a}\n", "", &["1: metadata.name: Required value"]);
        check("kubeflow.org/v1", "kubeflow.org/v2", &["1: apiVersion: expected kubeflow.org/v1"]);
        check("kind: MXJob", "kind: Pod", &["2: kind: expected MXJob, ConfigMap or Secret"]);
        check("Worker:", "Driver:", &["6: spec.mxReplicaSpecs"]);
        check(
            "name: mxnet\n",
            "name: other\n              imagee: x\n",
            &[
                "9: spec.mxReplicaSpecs.Worker.template.spec.containers: ",
                "11: spec.mxReplicaSpecs.Worker.template.spec.containers[0].imagee: unknown field",
            ],
        );
        check(
            "      template:",
            "      replicas: -1\n      template:",
            &["7: spec.mxReplicaSpecs.Worker.replicas: Invalid value: -1"],
        );
    }

    #[test]
    fn what_a_server_has_added_is_dropped() {
        let exported = JOB.replace(
            "{name: a}",
            "{name: a, uid: u, resourceVersion: \"7\", generation: 2, managedFields: [], creationTimestamp: null}",
        );
        let text = format!("{exported}status: {{startTime: x}}\n");
        let job = check(&text, Namespace::Always("n")).unwrap().jobs.remove(0);
        assert_eq!(job["metadata"], json!({"name": "a", "namespace": "n"}));
        assert_eq!(job.get("status"), None);
    }

    #[test]
    fn file_without_a_job_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.yaml");
        for text in ["", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"] {
            std::fs::write(&file, text).unwrap();
            let failure = Manifest::load(&file, Namespace::OrElse("default")).unwrap_err();
            assert!(failure.message.ends_with("job.yaml: there is no MXJob"));
        }
        assert_eq!(violations("- a\n"), ["1: kind: expected MXJob, ConfigMap or Secret"]);
    }
}
