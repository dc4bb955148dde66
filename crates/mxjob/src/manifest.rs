//! Job files: what `mxjob run` and `mxjob submit` accept, with every fault at its line before anything is started.
//!
//! The rules are those of the API server and come from the same functions; the server checks again when the objects are
//! created.

use std::collections::BTreeSet;
use std::path::Path;

use mxjob_api::{mxjob, unknown, validate};
use mxjob_machinery::{field, metadata};
use serde_json::{Map, Value, json};

use crate::document::{self, Node};
use crate::exit::Failure;

/// What a server adds to `generateName`, in length and letters.
const GENERATED: &str = "xxxxx";

/// Where objects go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Namespace<'a> {
    /// Here, whatever they say.
    Always(&'a str),
    /// Here, if they name none.
    OrElse(&'a str),
}

/// The objects of a file, ready to be created.
#[derive(Debug, Default)]
pub(crate) struct Manifest {
    /// At least one, in the order of the file.
    pub(crate) jobs: Vec<Value>,
    /// What the jobs need: ConfigMaps and Secrets.
    pub(crate) others: Vec<Value>,
}

/// What is wrong, and where.
#[derive(Debug)]
struct Fault {
    line: Option<u64>,
    message: String,
}

// === impl Manifest ===

impl Manifest {
    /// Reads and checks a file; `-` is standard input.
    pub(crate) fn load(path: &Path, namespace: Namespace<'_>) -> Result<Self, Failure> {
        let (path, shown) = match path.to_str() {
            Some("-") => (Path::new("/dev/stdin"), "standard input".to_owned()),
            _ => (path, path.display().to_string()),
        };
        let text = document::read(path).map_err(Failure::input)?;
        Self::parse(&text, namespace).map_err(|faults| {
            let lines = faults.iter().map(|fault| match fault.line {
                Some(line) if line > 0 => format!("{shown}, line {line}: {}", fault.message),
                _ => format!("{shown}: {}", fault.message),
            });
            Failure::input(lines.collect::<Vec<_>>().join("\nmxjob: "))
        })
    }

    fn parse(text: &str, namespace: Namespace<'_>) -> Result<Self, Vec<Fault>> {
        let documents = document::parse(text)
            .map_err(|error| vec![Fault { line: error.line, message: error.message }])?;
        let mut manifest = Self::default();
        let mut faults = Vec::new();
        for node in &documents {
            let mut object = node.value();
            let found = faults.len();
            match (object["apiVersion"].as_str(), object["kind"].as_str()) {
                (Some(mxjob::API_VERSION), Some(mxjob::KIND)) => {
                    check_metadata(node, &mut object, namespace, &mut faults);
                    check_job(node, &object, &mut faults);
                    manifest.jobs.push(object);
                }
                (Some("v1"), Some("ConfigMap" | "Secret")) => {
                    check_metadata(node, &mut object, namespace, &mut faults);
                    manifest.others.push(object);
                }
                (_, Some(mxjob::KIND)) => {
                    faults.push(Fault::at(
                        node,
                        "apiVersion",
                        &format!("{} is wanted", mxjob::API_VERSION),
                    ));
                }
                (_, Some("ConfigMap" | "Secret")) => {
                    faults.push(Fault::at(node, "apiVersion", "v1 is wanted"))
                }
                _ => faults.push(Fault::at(node, "kind", "MXJob, ConfigMap or Secret is wanted")),
            }
            if let Some(new) = faults.get_mut(found..) {
                new.sort_by_key(|fault| fault.line);
            }
        }
        if faults.is_empty() && manifest.jobs.is_empty() {
            faults.push(Fault { line: None, message: "there is no MXJob in it".to_owned() });
        }
        if faults.is_empty() { Ok(manifest) } else { Err(faults) }
    }

    /// The namespaces that the objects are in.
    pub(crate) fn namespaces(&self) -> BTreeSet<&str> {
        let objects = self.jobs.iter().chain(&self.others);
        objects.filter_map(|object| object["metadata"]["namespace"].as_str()).collect()
    }
}

/// Puts the namespace in force into the metadata, and checks it.
fn check_metadata(
    node: &Node,
    object: &mut Value,
    namespace: Namespace<'_>,
    faults: &mut Vec<Fault>,
) {
    if let Some(problem) = object.get("metadata").and_then(metadata::decode_problem) {
        faults.push(Fault::at(node, "metadata", &problem));
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
    faults.extend(
        metadata::unknown_fields(meta, "metadata").iter().map(|path| Fault::unknown(node, path)),
    );
    let errors = metadata::validate(&with_name(meta), true, &field::Path::new("metadata"));
    faults.extend(errors.iter().map(|error| Fault::of(node, error)));
}

/// Metadata with the name that the server is going to give, as far as that can be known.
fn with_name(meta: &Map<String, Value>) -> Map<String, Value> {
    let mut meta = meta.clone();
    let text = |field: &str| meta.get(field).and_then(Value::as_str).unwrap_or_default();
    let (name, prefix) = (text("name"), text("generateName"));
    if name.is_empty() && !prefix.is_empty() {
        let name = format!("{prefix}{GENERATED}");
        meta.insert("name".to_owned(), json!(name));
    }
    meta
}

fn check_job(node: &Node, object: &Value, faults: &mut Vec<Fault>) {
    faults.extend(unknown::fields(object).iter().map(|path| Fault::unknown(node, path)));
    let mut object = object.clone();
    if let Some(meta) = object["metadata"].as_object_mut() {
        *meta = with_name(meta);
    }
    faults.extend(validate::validate(&object).iter().map(|error| Fault::of(node, error)));
}

// === impl Fault ===

impl Fault {
    fn at(node: &Node, path: &str, message: &str) -> Self {
        Self { line: Some(node.line_of(path)), message: format!("{path}: {message}") }
    }

    fn unknown(node: &Node, path: &str) -> Self {
        Self::at(node, path, "unknown field")
    }

    fn of(node: &Node, error: &field::Error) -> Self {
        Self { line: Some(node.line_of(error.path.as_str())), message: error.to_string() }
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

    fn faults(text: &str) -> Vec<String> {
        let faults = Manifest::parse(text, Namespace::OrElse("default")).map(drop).unwrap_err();
        faults
            .iter()
            .map(|fault| format!("{}: {}", fault.line.unwrap_or_default(), fault.message))
            .collect()
    }

    #[test]
    fn jobs_and_what_they_need_are_read() {
        let text = format!(
            "{JOB}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, namespace: other}}\ndata: {{a: b}}\n---\n{JOB}"
        );
        let manifest = Manifest::parse(&text, Namespace::OrElse("default")).unwrap();
        assert_eq!((manifest.jobs.len(), manifest.others.len()), (2, 1));
        assert_eq!(manifest.jobs[0]["metadata"]["namespace"], "default");
        assert_eq!(manifest.namespaces().into_iter().collect::<Vec<_>>(), ["default", "other"]);
        let manifest = Manifest::parse(&text, Namespace::Always("here")).unwrap();
        assert_eq!(manifest.namespaces().into_iter().collect::<Vec<_>>(), ["here"]);
    }

    #[test]
    fn the_server_may_give_the_name() {
        let text = JOB.replace("{name: a}", "{generateName: a-}");
        let manifest = Manifest::parse(&text, Namespace::OrElse("default")).unwrap();
        assert_eq!(
            manifest.jobs[0]["metadata"],
            json!({"generateName": "a-", "namespace": "default"})
        );
        let long = JOB.replace("{name: a}", &format!("{{generateName: {}}}", "a".repeat(52)));
        assert!(
            faults(&long)[0].starts_with("3: metadata.name: Invalid value"),
            "{:?}",
            faults(&long)
        );
        let bad = faults(&JOB.replace("{name: a}", "{generateName: A-}"));
        assert!(bad[0].starts_with("3: metadata."), "{bad:?}");
    }

    #[test]
    fn every_fault_names_its_line_and_field() {
        let check = |from: &str, to: &str, want: &[&str]| {
            let text = JOB.replace(from, to);
            let found = faults(&text);
            assert_eq!(found.len(), want.len(), "{found:?}");
            for (found, want) in found.iter().zip(want) {
                assert!(found.starts_with(want), "{found:?} should start with {want:?}");
            }
        };
        check("name: a", "name: A", &["3: metadata.name: Invalid value: \"A\":"]);
        check("{name: a}", "{name: 7}", &["3: metadata: json: cannot unmarshal number"]);
        check("metadata: {name: a}\n", "", &["1: metadata.name: Required value"]);
        check("kubeflow.org/v1", "kubeflow.org/v2", &["1: apiVersion: kubeflow.org/v1 is wanted"]);
        check("kind: MXJob", "kind: Pod", &["2: kind: MXJob, ConfigMap or Secret is wanted"]);
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
    fn a_file_without_a_job_is_refused() {
        assert_eq!(faults(""), ["0: there is no MXJob in it"]);
        assert_eq!(
            faults("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"),
            ["0: there is no MXJob in it"]
        );
        assert_eq!(faults("- a\n"), ["1: kind: MXJob, ConfigMap or Secret is wanted"]);
    }
}
