//! Job files of `mxjob run` and `mxjob submit`. Every error is reported with its line before
//! anything is started.
//!
//! The rules are those of [`check`].

use std::collections::BTreeSet;
use std::path::Path;

use mxjob_api::mxjob;
use serde_json::{Map, Value, json};

use crate::check::{self, Finding, Nodes, Severity};
use crate::exit::Failure;
use crate::objects::{self, Object};

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
    /// What the server accepts and would warn of, with file and line.
    pub(crate) warnings: Vec<String>,
}

// === impl Manifest ===

impl Manifest {
    /// Reads and checks a file or a folder; `-` is standard input.
    pub(crate) fn load(
        path: &Path,
        namespace: Namespace<'_>,
        nodes: Nodes,
    ) -> Result<Self, Failure> {
        let manifest = Self::check(objects::read(path)?, namespace, nodes)
            .map_err(|violations| Failure::input(violations.join("\nmxjob: ")))?;
        if manifest.jobs.is_empty() {
            let message = format!("{}: there is no MXJob", objects::shown(path));
            return Err(Failure::input(message));
        }
        Ok(manifest)
    }

    /// Checks objects. The errors have file and line.
    fn check(
        objects: Vec<Object>,
        namespace: Namespace<'_>,
        nodes: Nodes,
    ) -> Result<Self, Vec<String>> {
        let mut manifest = Self::default();
        let mut violations = Vec::new();
        for mut object in objects {
            let mut found = Vec::new();
            check::drop_server_fields(&mut object.value);
            if let Some(problem) = of_wrong_kind(&object) {
                found.push(problem);
            } else {
                if object.value["metadata"].is_null() || object.value["metadata"].is_object() {
                    settle_namespace(&mut object.value, namespace);
                }
                found.extend(check::object(&object, nodes));
            }
            for finding in found {
                let text = match finding.line {
                    0 => format!("{}: {}", object.file, finding.text()),
                    line => format!("{}, line {line}: {}", object.file, finding.text()),
                };
                match finding.severity {
                    Severity::Error => violations.push(text),
                    Severity::Warning => manifest.warnings.push(text),
                }
            }
            match object.text("/kind") {
                mxjob::KIND => manifest.jobs.push(object.value),
                _ => manifest.others.push(object.value),
            }
        }
        if violations.is_empty() { Ok(manifest) } else { Err(violations) }
    }

    /// The namespaces of the objects.
    pub(crate) fn namespaces(&self) -> BTreeSet<&str> {
        let objects = self.jobs.iter().chain(&self.others);
        objects.filter_map(|object| object["metadata"]["namespace"].as_str()).collect()
    }
}

/// What is wrong with an object that is no MXJob, ConfigMap or Secret.
fn of_wrong_kind(object: &Object) -> Option<Finding> {
    let (path, message) = match (object.text("/apiVersion"), object.text("/kind")) {
        (mxjob::API_VERSION, mxjob::KIND) | ("v1", "ConfigMap" | "Secret") => return None,
        (_, mxjob::KIND) => ("apiVersion", format!("expected {}", mxjob::API_VERSION)),
        (_, "ConfigMap" | "Secret") => ("apiVersion", "expected v1".to_owned()),
        _ => ("kind", "expected MXJob, ConfigMap or Secret".to_owned()),
    };
    Some(Finding::new(Severity::Error, &object.node, path, &message))
}

/// Sets the namespace.
fn settle_namespace(object: &mut Value, namespace: Namespace<'_>) {
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
}

#[cfg(test)]
mod tests {
    use mxjob_machinery::yaml::Node;

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
        Manifest::check(documents.into_iter().map(object).collect(), namespace, Nodes::Processes)
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
            let failure =
                Manifest::load(&file, Namespace::OrElse("default"), Nodes::Cluster).unwrap_err();
            assert!(failure.message.ends_with("job.yaml: there is no MXJob"));
        }
        assert_eq!(violations("- a\n"), ["1: kind: expected MXJob, ConfigMap or Secret"]);
    }
}
