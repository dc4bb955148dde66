//! The patches that make pods and services of an older operator findable by this one, and their names resolvable as ours are.
//!
//! The controller watches what carries its own label, takes for a job's what the job controls, and tells replicas by name, which every
//! operator built alike. So labels are all that a pod needs, and no pod restarts for a label. Where the controller has restarted the job
//! without seeing its pods they also get the number of its attempt, without which they would be taken for leftovers of an earlier one and removed.
//! A service needs more: it must select by labels that pods made from now on have too.

use super::children::{self, Family};
use super::{Finding, Patch, Target};
use crate::job::Job;
use crate::value::get;
use crate::{labels, mxjob, names, pods, spec};
use serde_json::{Map, Value, json};

/// The patches for pods, and after them for services.
pub(super) fn children(object: &Value, job: &Job, family: &Family<'_>) -> Vec<Patch> {
    let attempt = attempt(object.pointer("/status/restartState/attempt"));
    let mut patches = Vec::new();
    for (target, objects) in [(Target::Pod, &family.pods), (Target::Service, &family.services)] {
        let staying = objects.iter().filter(|object| !children::is_leaving(object));
        patches.extend(staying.filter_map(|object| patch(job, attempt, target, object)));
    }
    patches
}

/// The number of an attempt, as the controller reads it out of a status or an annotation.
pub(super) fn attempt(value: Option<&Value>) -> u32 {
    let number = value.and_then(|value| match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
    });
    number.unwrap_or_default()
}

/// What the patches do, in a sentence.
pub(super) fn summary(patches: &[Patch]) -> Option<Finding> {
    let count = |target| patches.iter().filter(|patch| patch.target == target).count();
    let (pods, services) = (count(Target::Pod), count(Target::Service));
    (pods + services > 0).then(|| {
        Finding::note(format!(
            "{pods} pods and {services} services lack labels or fields by which the controller finds them; they are patched, and nothing restarts."
        ))
    })
}

/// The part of the status that older operators left out: either name of the counts, and the time of the end.
pub(super) fn status(object: &Value, job: &Job) -> Option<Patch> {
    let status = object.get("status")?;
    let mut patch = Map::new();
    for (has, lacks) in
        [("mxReplicaStatuses", "replicaStatuses"), ("replicaStatuses", "mxReplicaStatuses")]
    {
        if let (Some(counts), None) =
            (get(status, has).and_then(Value::as_object), get(status, lacks))
        {
            let counts = counts.iter().map(|(role, counts)| (role.clone(), plain(counts)));
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

/// When a finished job ended, by its terminal condition.
pub(super) fn ended(job: &Job) -> Option<jiff::Timestamp> {
    let terminal = job.status.conditions.iter().filter(|condition| condition.kind.is_terminal());
    let ended = terminal.filter_map(|condition| condition.last_transition_time).max();
    ended.filter(|_| job.status.is_finished())
}

/// The counts without the selectors that the last operators wrote beside them.
fn plain(counts: &Value) -> Value {
    let kept = ["active", "succeeded", "failed"];
    let counts =
        kept.into_iter().filter_map(|name| Some((name.to_owned(), get(counts, name)?.clone())));
    Value::Object(counts.collect())
}

fn patch(job: &Job, attempt: u32, target: Target, object: &Value) -> Option<Patch> {
    let name = children::name(object);
    let (role, index) = names::replica_of(job, name)?;
    let wanted = labels::for_replica(job, role, index);
    let given = object.pointer("/metadata/labels");
    let has = |(key, value): &(&String, &String)| {
        given.and_then(|given| given.get(key.as_str())).is_some_and(|given| given == value.as_str())
    };
    let missing: Map<_, _> = wanted
        .iter()
        .filter(|label| !has(label))
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    let mut body = Map::new();
    let mut metadata = Map::new();
    if !missing.is_empty() {
        metadata.insert("labels".to_owned(), missing.into());
        // Only of a pod that the controller does not know yet: one that it made itself says which attempt it belongs to.
        if target == Target::Pod
            && let Some(annotation) = annotation(object, attempt)
        {
            metadata.insert("annotations".to_owned(), annotation);
        }
    }
    if target == Target::Service {
        let wanted = pods::service(job, role, index)?;
        let spec = service_spec(object.get("spec").unwrap_or(&Value::Null), wanted.get("spec")?);
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

/// The annotation that puts a pod into the current attempt, unless it is in it.
fn annotation(pod: &Value, current: u32) -> Option<Value> {
    let given = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(labels::ATTEMPT_ANNOTATION));
    if attempt(given) == current {
        return None;
    }
    // The first attempt has no annotation, and a null removes one.
    let wanted = if current > 0 { current.to_string().into() } else { Value::Null };
    Some(json!({ (labels::ATTEMPT_ANNOTATION): wanted }))
}

fn service_spec(given: &Value, wanted: &Value) -> Map<String, Value> {
    let mut patch = Map::new();
    if get(given, "publishNotReadyAddresses") != Some(&Value::Bool(true)) {
        patch.insert("publishNotReadyAddresses".to_owned(), true.into());
    }
    if let Some(wanted) =
        wanted.get("selector").filter(|wanted| given.get("selector") != Some(wanted))
    {
        let mut selector = wanted.as_object().cloned().unwrap_or_default();
        for key in given.get("selector").and_then(Value::as_object).into_iter().flat_map(Map::keys)
        {
            // A null removes; the pods that are made from now on do not have it.
            selector.entry(key.as_str()).or_insert(Value::Null);
        }
        patch.insert("selector".to_owned(), selector.into());
    }
    let ports = get(given, "ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let added = wanted.get("ports").and_then(Value::as_array).and_then(|ports| ports.first());
    if let Some(added) = added.filter(|added| !ports.iter().any(|port| stands_for(port, added))) {
        patch.insert("ports".to_owned(), ports.iter().chain([added]).cloned().collect());
    }
    patch
}

/// Whether a port has the name of ours, or its number, which a service can have only once.
fn stands_for(port: &Value, ours: &Value) -> bool {
    let number = |port: &Value| port.get("port").and_then(spec::integer);
    crate::job::is_named(port, mxjob::PORT_NAME) || number(port) == number(ours)
}
