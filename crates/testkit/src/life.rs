//! The life of one job, read from the history of all objects: its pods, the statuses that were
//! written, and the rules that a single change can violate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::history::Change;

/// Fields of a spec that may change.
const FIELDS: [&str; 4] =
    ["activeDeadlineSeconds", "ttlSecondsAfterFinished", "cleanPodPolicy", "suspend"];

/// A pod from its creation to its end, as its node sees it.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its role, in lower case.
    pub role: String,
    /// The attempt that it was created for.
    pub attempt: u64,
    /// The revision of its creation.
    pub created: u64,
    /// Restarts of its processes in place.
    pub restarts: u64,
    /// Its end: time, revision and exit code. 0 is success; `None` is an end without a code.
    pub ended: Option<(u64, u64, Option<i64>)>,
    /// Time and revision at which it was marked as terminating, or removed without a mark.
    pub terminating: Option<(u64, u64)>,
    /// Whether the controller deleted it after it had failed.
    pub was_replaced: bool,
    /// Whether someone else deleted it.
    pub was_deleted_by_others: bool,
    /// Whether it no longer exists.
    pub is_gone: bool,
}

/// A status that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// When, in milliseconds.
    pub ms: u64,
    /// The revision of the job with it.
    pub revision: u64,
    /// The status.
    pub status: Value,
    /// The attempt before it.
    pub attempt: u64,
}

/// What the history does not say.
#[derive(Clone, Debug)]
pub struct Circumstances {
    /// When time began, on the clock of the history and on that of the objects.
    pub start: (Instant, Timestamp),
    /// Uids of objects that were deleted by others than the controller.
    pub deleted_by_others: BTreeSet<String>,
    /// Whether a gang scheduler reads a group of the job.
    pub has_group: bool,
    /// Periods without a running controller: from, to.
    pub absences: Vec<(u64, u64)>,
}

/// A life until now. Times are in milliseconds since its start.
#[derive(Clone, Debug)]
pub struct Life {
    pub(crate) name: String,
    /// The job when it was created.
    pub(crate) job: Value,
    /// The current job; `None` if it was deleted.
    pub(crate) last: Option<Value>,
    /// By uid.
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) statuses: Vec<Written>,
    /// The values of the fields of the spec, with the time from which each was in force.
    fields: BTreeMap<&'static str, Vec<(u64, Value)>>,
    /// When the job itself was deleted.
    pub(crate) deleted: Option<u64>,
    /// `Reason: message` of events about the job, and the names under which each was recorded.
    pub(crate) events: BTreeMap<String, BTreeSet<String>>,
    pub(crate) left_pods: Vec<Value>,
    pub(crate) left_services: Vec<Value>,
    pub(crate) left_groups: Vec<Value>,
    /// Violated rules.
    pub(crate) violations: Vec<String>,
    /// Whether replicas restart together.
    pub(crate) together: bool,
    pub(crate) has_group: bool,
    /// Whether a group of the job was admitted since the job was last suspended.
    was_admitted: bool,
    circumstances: Circumstances,
    /// A log for a failed test's output: time and line.
    log: Vec<(u64, String)>,
    /// The current objects, by resource and name, and all others of those names before.
    objects: BTreeMap<(&'static str, String), Arc<Value>>,
    removed: BTreeMap<(&'static str, String), String>,
    now: u64,
}

// === impl Pod ===

impl Pod {
    /// Whether it succeeded by itself, so that its success may count.
    pub(crate) fn may_have_succeeded(&self) -> bool {
        let terminating_before =
            |revision: u64| self.terminating.is_some_and(|(_, since)| since < revision);
        self.ended
            .is_some_and(|(_, revision, code)| code == Some(0) && !terminating_before(revision))
    }

    /// Whether its success must be recognised even while it terminates: stored times have whole
    /// seconds and come from two clocks.
    pub(crate) fn must_have_succeeded(&self) -> bool {
        let is_clear = self.terminating.is_none_or(|(since, _)| {
            self.ended.is_some_and(|(ended, ..)| ended / 1000 + 5 <= since / 1000)
        });
        self.may_have_succeeded() && is_clear
    }
}

// === impl Life ===

impl Life {
    /// Reads the life of a job.
    ///
    /// # Panics
    /// If the job was never created.
    #[must_use]
    pub fn replay(name: &str, log: &[Change], circumstances: Circumstances) -> Self {
        let mut changes: Vec<(u64, &Change)> =
            log.iter().map(|change| (change.revision(), change)).collect();
        // Watches of several resources are not ordered.
        changes.sort_by_key(|(revision, _)| *revision);
        let is_job =
            |change: &Change| change.resource == "mxjobs" && name_of(&change.object) == name;
        let (_, first) = changes.iter().find(|(_, change)| is_job(change)).unwrap();
        let job = Value::clone(&first.object);
        let mut life = Self::new(name, job, circumstances);
        for (revision, change) in changes {
            let object = &change.object;
            life.now = life.elapsed(change.at);
            match change.resource {
                "mxjobs" if is_job(change) => life.job_changed(change, revision),
                "events" if object["involvedObject"]["name"] == name && !change.is_removed => {
                    let text = |field: &str| object[field].as_str().unwrap_or_default();
                    let event = format!("{}: {}", text("reason"), text("message"));
                    let names = life.events.entry(event).or_default();
                    names.insert(name_of(object).to_owned());
                }
                "pods" | "services" | "podgroups" if concerns(object, name) => {
                    life.object_changed(change, revision);
                }
                _ => {}
            }
        }
        let left = |resource: &str| {
            let all = life.objects.iter().filter(|((of, _), _)| *of == resource);
            all.map(|(_, object)| Value::clone(object)).filter(is_owned).collect()
        };
        (life.left_pods, life.left_services) = (left("pods"), left("services"));
        life.left_groups = left("podgroups");
        life
    }

    fn new(name: &str, job: Value, circumstances: Circumstances) -> Self {
        let spec = &job["spec"];
        let together = match spec["restartScope"].as_str() {
            Some(scope) => scope == "Job",
            None => number(&spec["mxReplicaSpecs"]["Scheduler"]["replicas"]) > 0,
        };
        let fields = FIELDS.map(|field| (field, vec![(0, spec[field].clone())])).into();
        Self {
            name: name.to_owned(),
            last: None,
            pods: BTreeMap::new(),
            statuses: Vec::new(),
            fields,
            deleted: None,
            events: BTreeMap::new(),
            left_pods: Vec::new(),
            left_services: Vec::new(),
            left_groups: Vec::new(),
            violations: Vec::new(),
            together,
            has_group: circumstances.has_group,
            was_admitted: false,
            circumstances,
            log: Vec::new(),
            objects: BTreeMap::new(),
            removed: BTreeMap::new(),
            now: 0,
            job,
        }
    }

    /// Lines for a failed test's output, with those of other sources in between.
    #[must_use]
    pub fn describe(&self, notes: &[(u64, String)]) -> Vec<String> {
        let mut lines: Vec<&(u64, String)> = self.log.iter().chain(notes).collect();
        lines.sort_by_key(|(ms, _)| *ms);
        let show = |(ms, line): &(u64, String)| format!("{:>6}.{:03} {line}", ms / 1000, ms % 1000);
        lines.into_iter().map(show).collect()
    }

    fn elapsed(&self, at: Instant) -> u64 {
        let (start, _) = self.circumstances.start;
        u64::try_from(at.duration_since(start).as_millis()).unwrap()
    }

    /// Milliseconds of a time in an object.
    pub(crate) fn parse(&self, text: &str) -> u64 {
        let (_, start) = self.circumstances.start;
        let time: Timestamp = text.parse().unwrap();
        u64::try_from(time.duration_since(start).as_millis()).unwrap_or(0)
    }

    fn note(&mut self, line: String) {
        self.log.push((self.now, line));
    }

    fn violate(&mut self, violation: &str) {
        self.note(format!("VIOLATION: {violation}"));
        self.violations.push(violation.to_owned());
    }

    fn job_changed(&mut self, change: &Change, revision: u64) {
        let object = &change.object;
        if change.is_removed {
            self.note("the job is deleted".to_owned());
            self.deleted = Some(self.now);
            self.last = None;
            return;
        }
        for field in FIELDS {
            let value = &object["spec"][field];
            let values = self.fields.get_mut(field).unwrap();
            if values.last().is_none_or(|(_, last)| last != value) {
                values.push((self.now, value.clone()));
                self.note(format!("{field} is set to {value}"));
            }
        }
        let before = self.last.replace(Value::clone(object)).unwrap_or_default();
        if before["status"] != object["status"] {
            self.status_written(&before["status"], &object["status"], revision);
        }
    }

    fn object_changed(&mut self, change: &Change, revision: u64) {
        let (resource, object) = (change.resource, &change.object);
        let key = (resource, name_of(object).to_owned());
        let before = self.objects.get(&key).cloned();
        if before.is_none() && is_owned(object) && !change.is_removed {
            self.created(resource, object, revision);
        }
        if change.is_removed {
            self.note(format!("{resource} {} is removed", key.1));
            self.removed.insert(key.clone(), uid_of(object).to_owned());
            self.objects.remove(&key);
        } else {
            self.objects.insert(key, Arc::clone(object));
        }
        match resource {
            "pods" => self.pod_changed(change, revision),
            "podgroups" if !change.is_removed => {
                let phase = object["status"]["phase"].as_str().unwrap_or_default();
                self.note(format!("the group is {phase:?} {}", object["spec"]));
                self.was_admitted |= !matches!(phase, "" | "Pending");
            }
            _ => {}
        }
    }

    /// The controller created an object.
    fn created(&mut self, resource: &'static str, body: &Value, revision: u64) {
        let name = name_of(body).to_owned();
        self.note(format!(
            "the controller creates {resource} {name} {}",
            body["metadata"]["annotations"]
        ));
        let Some(job) = self.last.clone() else { return };
        let status = &job["status"];
        if resource == "podgroups"
            && job["spec"]["suspend"] == true
            && condition(status, "Suspended") == Some(true)
        {
            self.violate("a group was created for a suspended job");
        }
        if terminal(status).is_some() {
            self.violate(&format!("{resource} {name} was created after the end"));
        }
        if resource == "pods" {
            self.pod_created(&name, body, revision);
        }
    }

    fn pod_created(&mut self, name: &str, body: &Value, revision: u64) {
        let attempt = attempt(body);
        let service = ("services", name.to_owned());
        let lost_service = self.removed.get(&service);
        let others = &self.circumstances.deleted_by_others;
        if !self.objects.contains_key(&service)
            && !lost_service.is_some_and(|uid| others.contains(uid))
        {
            self.violate(&format!("{name} was created before its service"));
        }
        let group = body["metadata"]["annotations"]["scheduling.k8s.io/group-name"].as_str();
        if self.has_group != (group == Some(&self.name)) {
            self.violate(&format!("{name} is marked as a member of {group:?}"));
        }
        if self.has_group && !self.was_admitted {
            self.violate(&format!("{name} was created before its group was admitted"));
        }
        let has_succeeded = self.pods.values().any(|pod| {
            pod.name == name
                && pod.ended.is_some_and(|(_, ended, code)| {
                    // A pod that ended while terminating may be gone before anybody saw its end.
                    let is_clear = pod.terminating.is_none_or(|(_, since)| since > ended);
                    code == Some(0) && is_clear
                })
                && (!self.together || pod.attempt == attempt)
        });
        if has_succeeded && !self.was_suspended() {
            self.violate(&format!("{name} was created again after it had succeeded"));
        }
        let is_other = |((resource, _), other): &(&(&str, String), &Arc<Value>)| {
            *resource == "pods" && is_owned(other) && self::attempt(other) != attempt
        };
        let other = self.objects.iter().find(is_other).filter(|_| self.together);
        if let Some(((_, other), _)) = other {
            let other = other.clone();
            self.violate(&format!("{name} was created beside {other} of another attempt"));
        }
        let created = Pod { created: revision, ..Pod::default() };
        self.pods.insert(uid_of(body).to_owned(), created);
    }

    fn pod_changed(&mut self, change: &Change, revision: u64) {
        let (object, now) = (&change.object, self.now);
        let (metadata, status) = (&object["metadata"], &object["status"]);
        let uid = uid_of(object);
        let is_leaving = change.is_removed || metadata.get("deletionTimestamp").is_some();
        let by_others = self.circumstances.deleted_by_others.contains(uid);
        if !is_owned(object) {
            if is_leaving && !by_others {
                self.violate(&format!("{} is not the job's, and was deleted", name_of(object)));
            }
            return;
        }
        let is_live = self.deleted.is_none()
            && self.statuses.last().is_some_and(|last| {
                terminal(&last.status).is_none()
                    && condition(&last.status, "Suspended") != Some(true)
            });
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pod = self.pods.entry(uid.to_owned()).or_default();
        pod.name = text(&metadata["name"]);
        pod.role = text(&metadata["labels"]["training.kubeflow.org/replica-type"]);
        pod.attempt = attempt(object);
        pod.was_deleted_by_others = by_others;
        pod.is_gone = change.is_removed;
        if is_leaving && pod.terminating.is_none() {
            pod.terminating = Some((now, revision));
            let has_failed = pod.ended.is_some_and(|(.., code)| code != Some(0));
            pod.was_replaced |= is_live && has_failed && !by_others;
        }
        let container = &status["containerStatuses"][0];
        // An evicted pod may lose the state of its containers; its restarts still count.
        pod.restarts = pod.restarts.max(number(&container["restartCount"]));
        let has_ended = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        if has_ended && pod.ended.is_none() && !change.is_removed {
            let code = container["state"]["terminated"]["exitCode"].as_i64();
            pod.ended = Some((now, revision, code));
        }
        let leaving = if is_leaving { ", terminating" } else { "" };
        let line = format!("{} is {} {container}{leaving}", pod.name, status["phase"]);
        self.note(line);
    }

    /// The controller wrote a status: the rules between one status and the next.
    fn status_written(&mut self, old: &Value, new: &Value, revision: u64) {
        let line = |status: &Value| {
            let all = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            let show = |one: &Value| {
                format!("{}={}", one["type"].as_str().unwrap(), one["status"].as_str().unwrap())
            };
            all.iter().map(show).collect::<Vec<_>>().join(" ")
        };
        self.note(format!(
            "status: {} | {} | {} {} | {}",
            line(new),
            new["mxReplicaStatuses"],
            new["completedIndexes"],
            new["restartState"],
            new["conditions"]
                .as_array()
                .and_then(|all| all.last())
                .map_or("", |last| last["message"].as_str().unwrap()),
        ));
        let without_time = |status: &Value| {
            let mut status = status.clone();
            if let Some(status) = status.as_object_mut() {
                status.remove("lastReconcileTime");
            }
            status
        };
        if without_time(old) == without_time(new) {
            self.violate("a status without news was written");
        }
        if terminal(old).is_some()
            && (old["conditions"] != new["conditions"]
                || old["completionTime"] != new["completionTime"])
        {
            self.violate("a terminal condition changed");
        }
        if new["mxReplicaStatuses"] != new["replicaStatuses"] {
            self.violate("the two spellings of the counts differ");
        }
        let (old_attempt, new_attempt) = (recorded_attempt(old), recorded_attempt(new));
        if new_attempt < old_attempt {
            self.violate("an attempt was forgotten");
        }
        for (role, counts) in new["mxReplicaStatuses"].as_object().into_iter().flatten() {
            let (then, is_over) = (&old["mxReplicaStatuses"][role], terminal(old).is_some());
            for (key, may_fall) in [
                ("restarts", false),
                ("succeeded", new_attempt > old_attempt),
                ("failed", !is_over),
            ] {
                if !may_fall && number(&counts[key]) < number(&then[key]) {
                    self.violate(&format!("{key} of {role} went back"));
                }
            }
        }
        if condition(new, "Suspended") == Some(true) && condition(old, "Suspended") != Some(true) {
            self.was_admitted = false;
        }
        self.check_conditions(new);
        self.statuses.push(Written {
            ms: self.now,
            revision,
            status: new.clone(),
            attempt: old_attempt,
        });
    }

    fn check_conditions(&mut self, status: &Value) {
        let all = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        if all.first().is_none_or(|first| {
            condition(status, "Created") != Some(true)
                || (first["type"] != "Created" && all.last().unwrap()["type"] != "Created")
        }) {
            self.violate("Created is neither first nor last");
        }
        if all.last().is_some_and(|last| last["status"] != "True") {
            self.violate("the last condition does not hold");
        }
        let holds = |kind: &str| condition(status, kind) == Some(true);
        let states = ["Running", "Restarting", "Suspended", "Succeeded", "Failed"];
        if states.iter().filter(|kind| holds(kind)).count() > 1 {
            self.violate("two states are true at the same time");
        }
        if terminal(status).is_some() != status["completionTime"].is_string() {
            self.violate("completionTime and a terminal condition go together");
        }
    }

    /// The values of a field in force between two moments.
    pub(crate) fn values(&self, field: &str, from: u64, to: u64) -> Vec<Value> {
        let all = self.fields.get(field).map_or(&[][..], Vec::as_slice);
        let first = all.iter().rposition(|(since, _)| *since <= from).unwrap_or(0);
        all[first..]
            .iter()
            .filter(|(since, _)| *since <= to)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Whether the job was ever suspended.
    pub(crate) fn was_suspended(&self) -> bool {
        self.fields["suspend"].iter().any(|(_, value)| value == true)
    }

    /// When a field last changed, and to what.
    pub(crate) fn last(&self, field: &str) -> (u64, Value) {
        self.fields.get(field).and_then(|all| all.last().cloned()).unwrap_or_default()
    }

    /// For how long between two times no controller was running.
    pub(crate) fn absence(&self, from: u64, to: u64) -> u64 {
        let within = |(a, b): &(u64, u64)| (*b).min(to).saturating_sub((*a).max(from));
        self.circumstances.absences.iter().map(within).sum()
    }
}

/// The terminal condition of a status.
#[must_use]
pub fn terminal(status: &Value) -> Option<&'static str> {
    ["Succeeded", "Failed"].into_iter().find(|kind| condition(status, kind) == Some(true))
}

/// Whether a condition is true; `None` if it does not exist.
#[must_use]
pub fn condition(status: &Value, kind: &str) -> Option<bool> {
    let all = status["conditions"].as_array()?;
    all.iter()
        .find(|condition| condition["type"] == kind)
        .map(|condition| condition["status"] == "True")
}

/// A number; 0 if there is none.
#[must_use]
pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// The attempt in a status.
pub(crate) fn recorded_attempt(status: &Value) -> u64 {
    number(&status["restartState"]["attempt"])
}

/// The attempt that a pod was created for.
#[must_use]
pub fn attempt(pod: &Value) -> u64 {
    let text = pod["metadata"]["annotations"]["kubeflow.org/attempt"].as_str();
    text.map_or(0, |text| text.parse().unwrap())
}

/// The role of a pod, in lower case.
#[must_use]
pub fn role(pod: &Value) -> &str {
    pod["metadata"]["labels"]["training.kubeflow.org/replica-type"].as_str().unwrap_or_default()
}

/// Whether an object belongs to a job, or looks so.
fn concerns(object: &Value, job: &str) -> bool {
    object["metadata"]["labels"]["training.kubeflow.org/job-name"] == job
        || (name_of(object) == job && object["kind"] == "PodGroup")
}

fn is_owned(object: &Value) -> bool {
    object["metadata"]["ownerReferences"].is_array()
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn uid_of(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap()
}
