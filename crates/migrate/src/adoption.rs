//! The patches that let the controller of mxjob find pods and services of an older operator, and
//! let their DNS names resolve as those of mxjob do.
//!
//! The controller watches pods with its own label, selects those that the job controls, and
//! identifies replicas by their names, which every operator built in the same way. So a pod needs
//! nothing but labels, and no pod restarts because of a label. If the controller has already
//! restarted the job without seeing its pods, they also get the number of the job's attempt;
//! without it they would count as leftovers of an earlier attempt and be deleted. A service needs
//! more: its selector must match the labels of pods that are created later, too.

use mxjob_api::{Job, labels, mxjob, names, pods};
use mxjob_machinery::schema::integer;
use serde_json::{Map, Value, json};

use crate::children::{self, Owned, field};
use crate::finding::Finding;
use crate::patch::{Patch, Target};

/// The patches for pods, followed by those for services.
pub(crate) fn children(object: &Value, job: &Job, owned: &Owned<'_>) -> Vec<Patch> {
    let attempt = attempt(object.pointer("/status/restartState/attempt"));
    let mut patches = Vec::new();
    for (target, objects) in [(Target::Pod, &owned.pods), (Target::Service, &owned.services)] {
        let staying = objects.iter().filter(|object| !children::is_terminating(object));
        patches.extend(staying.filter_map(|object| patch(job, attempt, target, object)));
    }
    patches
}

/// The number of an attempt, as the controller reads it from a status or an annotation.
pub(crate) fn attempt(value: Option<&Value>) -> u32 {
    let number = value.and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
    });
    number.unwrap_or_default()
}

/// One sentence about the patches.
pub(crate) fn summary(patches: &[Patch]) -> Option<Finding> {
    let count = |target| patches.iter().filter(|patch| patch.target == target).count();
    let (pods, services) = (count(Target::Pod), count(Target::Service));
    (pods + services > 0).then(|| {
        Finding::note(format!(
            "{pods} pods and {services} services lack labels or fields by which the controller finds them; they are patched, without a restart."
        ))
    })
}

/// The patch for the parts of the status that older operators left out: the other name of the
/// counts, and the completion time.
pub(crate) fn status(object: &Value, job: &Job) -> Option<Patch> {
    let status = object.get("status")?;
    let mut patch = Map::new();
    for (has, lacks) in
        [("mxReplicaStatuses", "replicaStatuses"), ("replicaStatuses", "mxReplicaStatuses")]
    {
        if let (Some(counts), None) =
            (field(status, has).and_then(Value::as_object), field(status, lacks))
        {
            let counts =
                counts.iter().map(|(role, counts)| (role.clone(), without_selectors(counts)));
            patch.insert(lacks.to_owned(), counts.collect());
        }
    }
    if let (Some(ended), None) = (ended(job), job.status.completion_time) {
        patch.insert("completionTime".to_owned(), ended.to_string().into());
    }
    if patch.is_empty() {
        return None;
    }
    let body = json!({ "metadata": { "uid": job.uid }, "status": patch });
    Some(Patch {
        target: Target::JobStatus,
        namespace: job.namespace.clone(),
        name: job.name.clone(),
        body,
    })
}

/// When a finished job ended, according to its terminal condition.
pub(crate) fn ended(job: &Job) -> Option<jiff::Timestamp> {
    let terminal = job.status.conditions.iter().filter(|condition| condition.kind.is_terminal());
    let ended = terminal.filter_map(|condition| condition.last_transition_time).max();
    ended.filter(|_| job.status.is_finished())
}

/// The counts without the selectors that training-operator stored with them.
fn without_selectors(counts: &Value) -> Value {
    let kept = ["active", "succeeded", "failed"];
    let counts =
        kept.into_iter().filter_map(|name| Some((name.to_owned(), field(counts, name)?.clone())));
    Value::Object(counts.collect())
}

fn patch(job: &Job, attempt: u32, target: Target, object: &Value) -> Option<Patch> {
    let name = children::name(object);
    let (role, index) = names::replica_of(job, name)?;
    let expected = labels::for_replica(job, role, index);
    let present = object.pointer("/metadata/labels");
    let has = |(key, value): &(&String, &String)| {
        present
            .and_then(|labels| labels.get(key.as_str()))
            .is_some_and(|label| label == value.as_str())
    };
    let missing: Map<_, _> = expected
        .iter()
        .filter(|label| !has(label))
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    let mut body = Map::new();
    let mut metadata = Map::new();
    if !missing.is_empty() {
        metadata.insert("labels".to_owned(), missing.into());
        // Only for a pod that the controller does not know yet: its own pods already have the
        // annotation of their attempt.
        if target == Target::Pod
            && let Some(annotation) = annotation(object, attempt)
        {
            metadata.insert("annotations".to_owned(), annotation);
        }
    }
    if target == Target::Service {
        let expected = pods::service(job, role, index)?;
        let spec = service_spec(object.get("spec").unwrap_or(&Value::Null), expected.get("spec")?);
        if !spec.is_empty() {
            body.insert("spec".to_owned(), spec.into());
        }
    }
    if metadata.is_empty() && body.is_empty() {
        return None;
    }
    if let Some(uid) = object.pointer("/metadata/uid") {
        metadata.insert("uid".to_owned(), uid.clone());
    }
    body.insert("metadata".to_owned(), metadata.into());
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
    Some(Patch {
        target,
        namespace: namespace.unwrap_or(&job.namespace).to_owned(),
        name: name.to_owned(),
        body: body.into(),
    })
}

/// The annotation that assigns a pod to the current attempt, unless it already belongs to it.
fn annotation(pod: &Value, current: u32) -> Option<Value> {
    let present = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(labels::ATTEMPT_ANNOTATION));
    if attempt(present) == current {
        return None;
    }
    // The first attempt has no annotation; null removes one.
    let value = if current > 0 { current.to_string().into() } else { Value::Null };
    Some(json!({ (labels::ATTEMPT_ANNOTATION): value }))
}

fn service_spec(present: &Value, expected: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    if field(present, "publishNotReadyAddresses") != Some(&Value::Bool(true)) {
        patch.insert("publishNotReadyAddresses".to_owned(), true.into());
    }
    if let Some(expected) =
        expected.get("selector").filter(|expected| present.get("selector") != Some(expected))
    {
        let mut selector = expected.as_object().cloned().unwrap_or_default();
        let old = present.get("selector").and_then(Value::as_object);
        for key in old.into_iter().flat_map(Map::keys) {
            // Null removes the key: pods that are created later do not have this label.
            selector.entry(key.as_str()).or_insert(Value::Null);
        }
        patch.insert("selector".to_owned(), selector.into());
    }
    let ports = field(present, "ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let added = expected.get("ports").and_then(Value::as_array).and_then(|ports| ports.first());
    if let Some(added) = added.filter(|added| !ports.iter().any(|port| is_same_port(port, added))) {
        patch.insert("ports".to_owned(), ports.iter().chain([added]).cloned().collect());
    }
    patch
}

/// Whether a port has the name or the number of the port of mxjob; a service can have each number
/// only once.
fn is_same_port(port: &Value, ours: &Value) -> bool {
    let number = |port: &Value| port.get("port").and_then(integer);
    port.get("name").is_some_and(|name| name == mxjob::PORT_NAME) || number(port) == number(ours)
}
