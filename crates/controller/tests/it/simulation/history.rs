//! What really happened in a life: the processes, the writes, and the invariants that a single
//! write can violate.

use std::collections::BTreeMap;

use serde_json::Value;

use super::clock;

/// One pod from its start to its end, as its node sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) attempt: u64,
    /// When its first process started.
    pub(crate) started: Option<u64>,
    /// Restarts of its processes in place.
    pub(crate) restarts: u64,
    /// Its end: time, revision, and code. 0 is success; `None` is an end without a code.
    pub(crate) ended: Option<(u64, u64, Option<i64>)>,
    /// Time and revision at which it was marked as terminating.
    pub(crate) terminating: Option<(u64, u64)>,
    /// Whether the controller deleted it after it had failed.
    pub(crate) was_replaced: bool,
    pub(crate) is_gone: bool,
}

/// A written status.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) ms: u64,
    pub(crate) revision: u64,
    pub(crate) status: Value,
    /// The attempt before it.
    pub(crate) attempt: u64,
}

/// The values of a field of the spec, with the time from which each was in force.
pub(crate) type Field = Vec<(u64, Value)>;

/// A life until now.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// By uid.
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) statuses: Vec<Written>,
    /// Replaceable fields of the spec.
    pub(crate) fields: BTreeMap<String, Field>,
    /// When the job itself was deleted.
    pub(crate) deleted: Option<u64>,
    /// Reasons of events, and how often each was recorded.
    pub(crate) events: BTreeMap<String, u32>,
    /// Periods without a running controller: from, to.
    pub(crate) absences: Vec<(u64, u64)>,
    /// A log of actions for people.
    pub(crate) log: Vec<String>,
    /// Violated invariants.
    pub(crate) broken: Vec<String>,
    /// Whether replicas restart together.
    pub(crate) together: bool,
    /// Whether the job has a group for Volcano.
    pub(crate) has_scheduler: bool,
    /// Whether a group of the job was admitted since the job was last suspended.
    pub(crate) was_let_in: bool,
}

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

impl History {
    pub(crate) fn note(&mut self, what: &str) {
        let ms = clock::now();
        self.log.push(format!("{:>6}.{:03} {what}", ms / 1000, ms % 1000));
    }

    pub(crate) fn broke(&mut self, promise: &str) {
        self.note(&format!("BROKEN: {promise}"));
        self.broken.push(promise.to_owned());
    }

    pub(crate) fn recorded(&mut self, event: &Value) {
        let reason = event["reason"].as_str().unwrap().to_owned();
        *self.events.entry(reason).or_default() += 1;
    }

    /// The controller is about to create an object.
    pub(crate) fn made(
        &mut self,
        resource: &str,
        body: &Value,
        jobs: &[Value],
        pods: &[Value],
        services: &[Value],
    ) {
        let name = body["metadata"]["name"].as_str().unwrap();
        self.note(&format!(
            "controller makes {resource} {name} {}",
            body["metadata"]["annotations"]
        ));
        let Some(job) = jobs.first() else { return };
        if resource == "podgroups"
            && job["spec"]["suspend"] == true
            && condition(&job["status"], "Suspended") == Some(true)
        {
            self.broke("a group was created for a suspended job");
        }
        if terminal(&job["status"]).is_some() {
            self.broke(&format!("{resource} {name} was made after the end"));
        }
        if resource != "pods" {
            return;
        }
        let is_there = services.iter().any(|service| service["metadata"]["name"] == name);
        if !is_there
            && !self
                .log
                .iter()
                .any(|line| line.contains(&format!("another client deletes services {name}")))
        {
            self.broke(&format!("{name} was made before its service"));
        }
        let group = body["metadata"]["annotations"]["scheduling.k8s.io/group-name"].as_str();
        if self.has_scheduler != (group == Some("digits")) {
            self.broke(&format!("{name} is marked as a member of {group:?}"));
        }
        if self.has_scheduler && !self.was_let_in {
            self.broke(&format!("{name} was made before its group was let in"));
        }
        let attempt = attempt(body);
        let has_succeeded = self.pods.values().any(|pod| {
            pod.name == name
                && pod.ended.is_some_and(|(.., code)| code == Some(0))
                // A pod that ended while terminating may be gone before anybody has seen its end.
                && pod.terminating.is_none()
                && (!self.together || pod.attempt == attempt)
        });
        if has_succeeded {
            self.broke(&format!("{name} was made again after it had succeeded"));
        }
        if self.together {
            for other in pods.iter().filter(|pod| pod["metadata"]["ownerReferences"].is_array()) {
                if super::history::attempt(other) != attempt {
                    self.broke(&format!(
                        "{name} was made beside {} of another rendezvous",
                        other["metadata"]["name"]
                    ));
                }
            }
        }
    }

    /// The controller deletes a pod.
    pub(crate) fn controller_removes(&mut self, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        self.note(&format!("controller removes {name}"));
        if !pod["metadata"]["ownerReferences"].is_array() {
            self.broke(&format!("{name} is not the job's, and was removed"));
        }
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let is_live = self.statuses.last().is_some_and(|last| {
            terminal(&last.status).is_none() && condition(&last.status, "Suspended") != Some(true)
        });
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.was_replaced |= is_live && pod.ended.is_some_and(|(.., code)| code != Some(0));
        }
    }

    /// Any object was stored.
    pub(crate) fn stored(&mut self, resource: &str, object: &Value, revision: u64) {
        if resource == "podgroups" {
            let phase = object["status"]["phase"].as_str().unwrap_or_default();
            self.note(&format!("the group is {phase:?} {}", object["spec"]));
            self.was_let_in |= !matches!(phase, "" | "Pending");
        }
        if resource != "pods" || !object["metadata"]["ownerReferences"].is_array() {
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (metadata, status) = (&object["metadata"], &object["status"]);
        let pod = self.pods.entry(text(&metadata["uid"])).or_default();
        pod.name = text(&metadata["name"]);
        pod.role = text(&metadata["labels"]["training.kubeflow.org/replica-type"]);
        pod.attempt = attempt(object);
        let now = clock::now();
        if metadata.get("deletionTimestamp").is_some() && pod.terminating.is_none() {
            pod.terminating = Some((now, revision));
        }
        let container = &status["containerStatuses"][0];
        // An evicted pod may lose the state of its containers; its restarts still count.
        pod.restarts = pod.restarts.max(container["restartCount"].as_u64().unwrap_or(0));
        match status["phase"].as_str() {
            Some("Running") if pod.started.is_none() => pod.started = Some(now),
            Some("Succeeded" | "Failed") if pod.ended.is_none() => {
                pod.ended =
                    Some((now, revision, container["state"]["terminated"]["exitCode"].as_i64()));
            }
            _ => {}
        }
        let line = format!(
            "{} is {} {}{}",
            pod.name,
            status["phase"],
            container,
            if pod.terminating.is_some() { ", terminating" } else { "" }
        );
        self.note(&line);
    }

    pub(crate) fn removed(&mut self, resource: &str, object: &Value) {
        self.note(&format!("{resource} {} is gone", object["metadata"]["name"]));
        if resource == "mxjobs" {
            self.deleted = Some(clock::now());
        }
        if let Some(pod) = self.pods.get_mut(object["metadata"]["uid"].as_str().unwrap()) {
            pod.is_gone = true;
        }
    }

    /// The controller wrote a status: the invariants between one status and the next.
    pub(crate) fn status_written(&mut self, before: &Value, after: &Value, revision: u64) {
        let (old, new) = (&before["status"], &after["status"]);
        let line = |status: &Value| {
            let all = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            let show = |one: &Value| {
                format!("{}={}", one["type"].as_str().unwrap(), one["status"].as_str().unwrap())
            };
            all.iter().map(show).collect::<Vec<_>>().join(" ")
        };
        self.note(&format!(
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
            self.broke("a status without news was written");
        }
        if terminal(old).is_some()
            && (old["conditions"] != new["conditions"]
                || old["completionTime"] != new["completionTime"])
        {
            self.broke("a terminal condition changed");
        }
        if new["mxReplicaStatuses"] != new["replicaStatuses"] {
            self.broke("the two spellings of the counts differ");
        }
        let (old_attempt, new_attempt) = (noted_attempt(old), noted_attempt(new));
        if new_attempt < old_attempt {
            self.broke("an attempt was forgotten");
        }
        for (role, counts) in new["mxReplicaStatuses"].as_object().into_iter().flatten() {
            let (then, is_over) = (&old["mxReplicaStatuses"][role], terminal(old).is_some());
            for (key, may_fall) in [
                ("restarts", false),
                ("succeeded", new_attempt > old_attempt),
                ("failed", !is_over),
            ] {
                if !may_fall && number(&counts[key]) < number(&then[key]) {
                    self.broke(&format!("{key} of {role} went back"));
                }
            }
        }
        if condition(new, "Suspended") == Some(true) && condition(old, "Suspended") != Some(true) {
            self.was_let_in = false;
        }
        self.check_conditions(new);
        self.statuses.push(Written {
            ms: clock::now(),
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
            self.broke("Created is neither first nor last");
        }
        if all.last().is_some_and(|last| last["status"] != "True") {
            self.broke("the last condition does not hold");
        }
        let holds = |kind: &str| condition(status, kind) == Some(true);
        let states = ["Running", "Restarting", "Suspended", "Succeeded", "Failed"];
        if states.iter().filter(|kind| holds(kind)).count() > 1 {
            self.broke("two states are true at the same time");
        }
        if terminal(status).is_some() != status["completionTime"].is_string() {
            self.broke("completionTime and a terminal condition go together");
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

    /// When a field last changed, and to what.
    pub(crate) fn last(&self, field: &str) -> (u64, Value) {
        self.fields.get(field).and_then(|all| all.last().cloned()).unwrap_or_default()
    }

    /// For how long between two times no controller was running.
    pub(crate) fn absence(&self, from: u64, to: u64) -> u64 {
        let within = |(a, b): &(u64, u64)| (*b).min(to).saturating_sub((*a).max(from));
        self.absences.iter().map(within).sum()
    }
}

/// The terminal condition of a status.
pub(crate) fn terminal(status: &Value) -> Option<&'static str> {
    ["Succeeded", "Failed"].into_iter().find(|kind| condition(status, kind) == Some(true))
}

/// Whether a condition is true; `None` if it does not exist.
pub(crate) fn condition(status: &Value, kind: &str) -> Option<bool> {
    let all = status["conditions"].as_array()?;
    all.iter()
        .find(|condition| condition["type"] == kind)
        .map(|condition| condition["status"] == "True")
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// The attempt in a status.
pub(crate) fn noted_attempt(status: &Value) -> u64 {
    number(&status["restartState"]["attempt"])
}

/// The attempt that a pod was created for.
pub(crate) fn attempt(pod: &Value) -> u64 {
    let text = pod["metadata"]["annotations"]["kubeflow.org/attempt"].as_str();
    text.map_or(0, |text| text.parse().unwrap())
}
