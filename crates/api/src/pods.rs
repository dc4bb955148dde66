//! The pod and the service of one replica.
//!
//! Both are complete objects to create. The template is copied unchanged; as in Go, null members of
//! its maps and lists are dropped. Only the fields that the contract assigns to the operator are
//! set over it: name, owner, labels, restart policy, the advertised port and the environment.

use mxjob_machinery::schema::kubernetes;
use serde_json::{Map, Value, json};

use crate::env;
use crate::job::{Job, ReplicaSpec, is_named};
use crate::labels;
use crate::mxjob;
use crate::names;
use crate::policy::{RestartPolicy, RestartScope};
use crate::role::Role;

/// The pod of one replica; `None` for a role that the job does not have.
pub fn pod(job: &Job, role: Role, index: u32) -> Option<Value> {
    let replica = job.replica(role)?;
    let mut spec =
        replica.template.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    spec.insert("restartPolicy".to_owned(), restart_policy(job, replica).as_str().into());
    let variables = env::for_replica(job, role, index);
    let mut lists: Vec<(bool, &mut Value)> = Vec::new();
    for (name, list) in &mut spec {
        if matches!(name.as_str(), "containers" | "initContainers") {
            lists.push((name == "containers", list));
        }
    }
    let containers = lists.into_iter().flat_map(|(is_main, list)| {
        list.as_array_mut().into_iter().flatten().map(move |container| (is_main, container))
    });
    for (is_main, container) in containers {
        let is_training = is_main && is_named(container, mxjob::CONTAINER);
        let Some(container) = container.as_object_mut() else { continue };
        append(
            container,
            "env",
            variables.iter().map(|(name, value)| json!({ "name": name, "value": value })),
        );
        if is_training && crate::job::port(&replica.template).is_none() {
            append(
                container,
                "ports",
                [json!({ "name": mxjob::PORT_NAME, "containerPort": replica.port })],
            );
        }
    }
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(job, replica, index, replica.template.get("metadata")),
        "spec": spec,
    });
    if let Some(schema) = kubernetes::kind("", "v1", "Pod") {
        schema.zero_nulls(&mut pod);
    }
    Some(pod)
}

/// The headless service of one replica; `None` for a role that the job does not have.
///
/// The service also resolves before its pod is ready: ps-lite gives up on a name that does not
/// resolve at start.
pub fn service(job: &Job, role: Role, index: u32) -> Option<Value> {
    let replica = job.replica(role)?;
    Some(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, replica, index, None),
        "spec": {
            "clusterIP": "None",
            "ports": [{ "name": mxjob::PORT_NAME, "port": replica.port, "protocol": "TCP", "targetPort": replica.port }],
            "publishNotReadyAddresses": true,
            "selector": labels::replica_selector(job, role, index),
        },
    }))
}

/// The restart policy with which the pods of a role are created.
///
/// The kubelet must not restart containers where the controller does (by exit code, or all replicas
/// together).
pub fn restart_policy(job: &Job, replica: &ReplicaSpec) -> RestartPolicy {
    match (job.restart_scope, replica.restart_policy) {
        (RestartScope::Job, _) | (_, RestartPolicy::ExitCode) => RestartPolicy::Never,
        (RestartScope::Replica, policy) => policy,
    }
}

/// The owner reference to the job.
pub fn owner_reference(job: &Job) -> Value {
    json!({
        "apiVersion": mxjob::API_VERSION,
        "kind": mxjob::KIND,
        "name": job.name,
        "uid": job.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

fn metadata(job: &Job, replica: &ReplicaSpec, index: u32, template: Option<&Value>) -> Value {
    let given = |field: &str| {
        template.and_then(|template| template.get(field)).filter(|value| !value.is_null())
    };
    let mut labels = given("labels").and_then(Value::as_object).cloned().unwrap_or_default();
    labels.extend(
        labels::for_replica(job, replica.role, index)
            .into_iter()
            .map(|(key, value)| (key, value.into())),
    );
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), names::pod_name(&job.name, replica.role, index).into());
    metadata.insert("namespace".to_owned(), job.namespace.as_str().into());
    metadata.insert("labels".to_owned(), labels.into());
    metadata.insert("ownerReferences".to_owned(), json!([owner_reference(job)]));
    for field in ["annotations", "finalizers"] {
        if let Some(value) = given(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.into()
}

fn append(container: &mut Map<String, Value>, field: &str, items: impl IntoIterator<Item = Value>) {
    let list = container.entry(field).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.extend(items);
    }
}
