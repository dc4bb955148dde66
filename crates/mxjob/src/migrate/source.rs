//! Where jobs are read from: a cluster, or files that kubectl or a person wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use mxjob_api::{legacy, mxjob};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::document;
use crate::exit::Failure;

/// Jobs and what belongs to them.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) jobs: Vec<Value>,
    /// By namespace; none where nobody has looked for them.
    children: BTreeMap<String, Children>,
}

/// The pods and services of a namespace, as far as they may matter to a job.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    pods: Vec<Value>,
    services: Vec<Value>,
}

/// The jobs of a namespace or of all, with their pods and services.
pub(super) async fn from_cluster(
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Found, Failure> {
    let mut path = format!("/apis/{}", mxjob::API_VERSION);
    if let Some(namespace) = namespace {
        path = format!("{path}/namespaces/{namespace}");
    }
    let jobs = cluster
        .list(&format!("{path}/{}", mxjob::PLURAL))
        .await
        .map_err(|error| cluster.said(&error))?;
    let mut found = Found { jobs, children: BTreeMap::new() };
    for namespace in found.namespaces() {
        found.look(cluster, &namespace).await?;
    }
    Ok(found)
}

/// The MXJobs of files, and the pods and services in them, whichever namespace or list they are in.
pub(super) fn from_files(files: &[PathBuf], namespace: Option<&str>) -> Result<Found, Failure> {
    let mut found = Found::default();
    for file in files {
        let path = if file == Path::new("-") { Path::new("/dev/stdin") } else { file };
        let text = document::read(path).map_err(Failure::input)?;
        let documents = document::parse(&text).map_err(|error| {
            let line = error.line.map(|line| format!(", line {line}")).unwrap_or_default();
            Failure::input(format!("{}{line}: {}", file.display(), error.message))
        })?;
        documents.iter().for_each(|document| found.take(document.value(), namespace));
    }
    if found.jobs.is_empty() {
        return Err(Failure::input("there is no MXJob in it"));
    }
    Ok(found)
}

/// `metadata.namespace`, where it is given.
pub(super) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or("default")
}

/// `metadata.name`, or the beginning of the name that is going to be given.
pub(super) fn name(object: &Value) -> &str {
    let meta = &object["metadata"];
    meta["name"].as_str().or_else(|| meta["generateName"].as_str()).unwrap_or_default()
}

// === impl Found ===

impl Found {
    fn namespaces(&self) -> BTreeSet<String> {
        self.jobs.iter().map(|job| namespace(job).to_owned()).collect()
    }

    /// Sorts an object of a file into its place; what has to do with no job is passed over.
    fn take(&mut self, object: Value, only: Option<&str>) {
        let kind = object["kind"].as_str().unwrap_or_default();
        if let Some(items) = object["items"].as_array().filter(|_| kind.ends_with("List")) {
            // Items of a typed list need not say what they are.
            let item_kind = kind.trim_end_matches("List");
            for item in items {
                let mut item = item.clone();
                if item["kind"].is_null() && item.is_object() && !item_kind.is_empty() {
                    item["kind"] = item_kind.into();
                    item["apiVersion"] = object["apiVersion"].clone();
                }
                self.take(item, only);
            }
            return;
        }
        if only.is_some_and(|only| only != namespace(&object)) {
            return;
        }
        let place = namespace(&object).to_owned();
        let is_ours = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'))
            .is_some_and(|(group, _)| group == mxjob::GROUP);
        match kind {
            mxjob::KIND if is_ours => self.jobs.push(object),
            "Pod" => self.children.entry(place).or_default().pods.push(object),
            "Service" => self.children.entry(place).or_default().services.push(object),
            _ => {}
        }
    }

    /// Reads the pods and services of a namespace, again if need be.
    pub(super) async fn look(&mut self, cluster: &Cluster, place: &str) -> Result<(), Failure> {
        let names: Vec<&str> =
            self.jobs.iter().filter(|job| namespace(job) == place).map(name).collect();
        let matters = |object: &Value| {
            legacy::owner(object).is_some() || names.iter().any(|job| name(object).starts_with(job))
        };
        let mut lists = Vec::new();
        for plural in ["pods", "services"] {
            let path = format!("/api/v1/namespaces/{place}/{plural}");
            let mut objects = cluster.list(&path).await.map_err(|error| cluster.said(&error))?;
            objects.retain(matters);
            lists.push(objects);
        }
        let services = lists.pop().unwrap_or_default();
        let pods = lists.pop().unwrap_or_default();
        self.children.insert(place.to_owned(), Children { pods, services });
        Ok(())
    }

    /// What is known of the pods and services around a job.
    pub(super) fn children(&self, job: &Value) -> Option<legacy::Children<'_>> {
        let children = self.children.get(namespace(job))?;
        Some(legacy::Children { pods: &children.pods, services: &children.services })
    }

    /// The version of an object that was read, to be changed only as long as nobody else has changed it.
    pub(super) fn version_of(&self, patch: &legacy::Patch) -> Option<&Value> {
        let is_it = |object: &&Value| {
            name(object) == patch.name && object["metadata"]["uid"] == patch.body["metadata"]["uid"]
        };
        let children = self.children.get(&patch.namespace);
        let object = match patch.target {
            legacy::Target::Pod => children?.pods.iter().find(is_it),
            legacy::Target::Service => children?.services.iter().find(is_it),
            legacy::Target::JobStatus => {
                self.jobs.iter().filter(|job| namespace(job) == patch.namespace).find(is_it)
            }
        }?;
        object["metadata"].get("resourceVersion")
    }

    /// Puts a job as it is now in the place of the one that was read.
    pub(super) fn replace(&mut self, index: usize, job: Value) {
        if let Some(place) = self.jobs.get_mut(index) {
            *place = job;
        }
    }
}
