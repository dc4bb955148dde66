//! The jobs that are migrated, with the pods and services around them, from a cluster or from
//! documents.

use std::collections::{BTreeMap, BTreeSet};

use mxjob_api::mxjob;
use serde_json::Value;

use crate::children::{Children, owner_uid};
use crate::cluster::{self, Cluster, RequestError};
use crate::patch::{Patch, Target};

/// Jobs with their pods and services.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    jobs: Vec<Value>,
    /// By namespace; a namespace whose pods and services were not read has no entry.
    children: BTreeMap<String, NamespaceChildren>,
}

/// The pods and services of a namespace that may belong to a job.
#[derive(Debug, Clone, Default)]
struct NamespaceChildren {
    pods: Vec<Value>,
    services: Vec<Value>,
}

/// `metadata.namespace`, or `default`.
pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or("default")
}

/// `metadata.name`, or `metadata.generateName`.
pub(crate) fn name(object: &Value) -> &str {
    let metadata = &object["metadata"];
    metadata["name"].as_str().or_else(|| metadata["generateName"].as_str()).unwrap_or_default()
}

// === impl Inventory ===

impl Inventory {
    /// Reads the jobs of one namespace or of all, with their pods and services.
    ///
    /// # Errors
    ///
    /// The first request that failed.
    pub async fn read(
        cluster: &impl Cluster,
        namespace: Option<&str>,
    ) -> Result<Self, RequestError> {
        let mut path = format!("/apis/{}", mxjob::API_VERSION);
        if let Some(namespace) = namespace {
            path = format!("{path}/namespaces/{namespace}");
        }
        let jobs = cluster::list(cluster, &format!("{path}/{}", mxjob::PLURAL)).await?;
        let mut inventory = Self { jobs, children: BTreeMap::new() };
        let namespaces: BTreeSet<String> =
            inventory.jobs.iter().map(|job| self::namespace(job).to_owned()).collect();
        for namespace in namespaces {
            inventory.read_children(cluster, &namespace).await?;
        }
        Ok(inventory)
    }

    /// Adds an MXJob, pod or service, and skips other objects. With `only`, objects of other
    /// namespaces are skipped too.
    pub fn add(&mut self, object: Value, only: Option<&str>) {
        let kind = object["kind"].as_str().unwrap_or_default();
        if only.is_some_and(|only| only != namespace(&object)) {
            return;
        }
        let is_of_group = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'))
            .is_some_and(|(group, _)| group == mxjob::GROUP);
        match kind {
            mxjob::KIND if is_of_group => self.jobs.push(object),
            "Pod" => self.children_of(&object).pods.push(object),
            "Service" => self.children_of(&object).services.push(object),
            _ => {}
        }
    }

    /// The jobs, in the order in which they were read.
    pub fn jobs(&self) -> &[Value] {
        &self.jobs
    }

    fn children_of(&mut self, object: &Value) -> &mut NamespaceChildren {
        self.children.entry(namespace(object).to_owned()).or_default()
    }

    /// Reads the pods and services of a namespace, and replaces those read before.
    pub(crate) async fn read_children(
        &mut self,
        cluster: &impl Cluster,
        place: &str,
    ) -> Result<(), RequestError> {
        let names: Vec<&str> =
            self.jobs.iter().filter(|job| namespace(job) == place).map(name).collect();
        let is_related = |object: &Value| {
            owner_uid(object).is_some() || names.iter().any(|job| name(object).starts_with(job))
        };
        let read = async |plural: &str| {
            let path = format!("/api/v1/namespaces/{place}/{plural}");
            let mut objects = cluster::list(cluster, &path).await?;
            objects.retain(is_related);
            Ok::<_, RequestError>(objects)
        };
        let (pods, services) = (read("pods").await?, read("services").await?);
        self.children.insert(place.to_owned(), NamespaceChildren { pods, services });
        Ok(())
    }

    /// The pods and services of a job's namespace, where they were read.
    pub(crate) fn children(&self, job: &Value) -> Option<Children<'_>> {
        let children = self.children.get(namespace(job))?;
        Some(Children { pods: &children.pods, services: &children.services })
    }

    /// The resource version of the object that a patch was made from.
    pub(crate) fn version_of(&self, patch: &Patch) -> Option<&Value> {
        let is_target = |object: &&Value| {
            name(object) == patch.name && object["metadata"]["uid"] == patch.body["metadata"]["uid"]
        };
        let children = self.children.get(&patch.namespace);
        let object = match patch.target {
            Target::Pod => children?.pods.iter().find(is_target),
            Target::Service => children?.services.iter().find(is_target),
            Target::JobStatus => {
                self.jobs.iter().filter(|job| namespace(job) == patch.namespace).find(is_target)
            }
        }?;
        object["metadata"].get("resourceVersion")
    }

    /// Replaces a job by a newer version of it.
    pub(crate) fn replace(&mut self, index: usize, job: Value) {
        if let Some(slot) = self.jobs.get_mut(index) {
            *slot = job;
        }
    }
}
