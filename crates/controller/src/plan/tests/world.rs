//! A small world in which plans are carried out: the server, the node and the clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mxjob_api::{ConditionStatus, Job, JobStatus, names};
use serde_json::{Value, json};

use crate::memory::Memory;
use crate::plan::{NextStatus, Plan, Problem, Snapshot, plan};
use crate::scheduling::SchedulingState;
use crate::target::Target;
use crate::view::{Exit, Phase, PodView, ServiceView};

pub(super) const START: &str = "2026-11-24T08:00:00Z";

pub(super) fn at(seconds: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) spec: Value,
    /// The stored status, as JSON: only what is written is remembered.
    pub(super) status: Value,
    pub(super) pods: BTreeMap<String, PodView>,
    pub(super) services: BTreeMap<String, ServiceView>,
    pub(super) problems: Vec<Problem>,
    pub(super) scheduling: SchedulingState,
    pub(super) now: Timestamp,
    pub(super) is_deleted: bool,
    /// `reason: message` of every event.
    pub(super) events: Vec<String>,
    uids: u32,
}

/// `Scheduler: 1, Server: 1, Worker: 2`, with more of the spec.
pub(super) fn distributed(more: &Value) -> World {
    World::new(&[("Scheduler", 1), ("Server", 1), ("Worker", 2)], more)
}

/// Two workers and no other role.
pub(super) fn workers(more: &Value) -> World {
    World::new(&[("Worker", 2)], more)
}

impl World {
    pub(super) fn new(roles: &[(&str, u32)], more: &Value) -> Self {
        let replica = |count: &u32| json!({ "replicas": count, "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } } });
        let roles: BTreeMap<&str, Value> =
            roles.iter().map(|(role, count)| (*role, replica(count))).collect();
        let mut spec = json!({ "mxReplicaSpecs": roles });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        Self {
            spec,
            status: json!({}),
            pods: BTreeMap::new(),
            services: BTreeMap::new(),
            problems: Vec::new(),
            scheduling: SchedulingState::MayStart,
            now: at(0),
            is_deleted: false,
            events: Vec::new(),
            uids: 0,
        }
    }

    /// The same restart policy for every role.
    pub(super) fn restarting(mut self, policy: &str) -> Self {
        for (_, replica) in self.spec["mxReplicaSpecs"].as_object_mut().unwrap() {
            replica["restartPolicy"] = policy.into();
        }
        self
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let object = json!({
            "metadata": { "name": "digits", "namespace": "default", "uid": "job" },
            "spec": self.spec,
            "status": self.status,
        });
        Snapshot {
            job: Arc::new(Job::from_value(&object).unwrap()),
            memory: Memory::read(&self.status),
            pods: self.pods.values().cloned().map(Arc::new).collect(),
            services: self.services.values().cloned().map(Arc::new).collect(),
            problems: self.problems.clone(),
            scheduling: self.scheduling.clone(),
        }
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&self.snapshot(), self.now)
    }

    /// Plans once and carries it out. Panics where a real server would refuse: a name that exists,
    /// or an object that does not.
    pub(super) fn step(&mut self) -> Plan {
        let plan = self.plan();
        if let Some(status) = &plan.status {
            self.write(status);
        }
        for event in &plan.events {
            assert!(plan.status.is_some(), "events report transitions only: {event:?}");
            self.events.push(format!("{}: {}", event.reason, event.message));
        }
        let job = self.snapshot().job;
        for replica in &plan.create_services {
            let name = names::pod_name(&job.name, replica.role, replica.index);
            let uid = self.uid();
            let existing =
                self.services.insert(name.clone(), ServiceView { name, uid, terminating: false });
            assert_eq!(existing, None, "a service was created twice");
        }
        for replica in &plan.create_pods {
            let pod = plan.pod(&job, *replica).unwrap();
            let name = names::pod_name(&job.name, replica.role, replica.index);
            assert_eq!(pod["metadata"]["name"], name.as_str());
            assert!(self.services.contains_key(&name), "{name} was created without its service");
            let mut pod = pod;
            pod["metadata"]["uid"] = self.uid().into();
            let existing = self.pods.insert(name, PodView::read(&pod).unwrap());
            assert_eq!(existing, None, "a pod was created twice");
        }
        for Target { name, uid } in &plan.delete_pods {
            let pod = self.pods.get_mut(name).expect("only existing objects are deleted");
            assert!(pod.uid == *uid && !pod.terminating, "{name} is deleted once");
            pod.terminating = true;
            pod.deletion_requested_at = Some(self.now);
        }
        for Target { name, uid } in &plan.stop_pods {
            let pod = self.pods.get_mut(name).expect("only existing objects are stopped");
            assert!(pod.uid == *uid && !pod.terminating && !pod.stopping, "{name} is stopped once");
            pod.stopping = true;
        }
        for Target { name, uid } in &plan.delete_services {
            let service = self.services.remove(name).expect("only existing objects are deleted");
            assert_eq!(service.uid, *uid);
        }
        self.is_deleted |= plan.delete_job;
        plan
    }

    /// Plans until there is nothing left to do now.
    pub(super) fn quiesce(&mut self) {
        for _ in 0..20 {
            if self.step().is_empty() || self.is_deleted {
                return;
            }
        }
        panic!("no rest after 20 plans: {:?}", self.plan());
    }

    fn write(&mut self, next: &NextStatus) {
        let value = next.to_value();
        let read: JobStatus = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(read, next.status, "a status reads back as it was written");
        assert_eq!(Memory::read(&value), next.memory);
        assert_eq!(value.get("mxReplicaStatuses"), value.get("replicaStatuses"));
        self.status = value;
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("u{}", self.uids)
    }

    /// The pod of `worker-1`.
    pub(super) fn pod(&mut self, replica: &str) -> &mut PodView {
        self.pods.get_mut(&format!("digits-{replica}")).unwrap()
    }

    /// Another client deletes a pod.
    pub(super) fn tell_to_leave(&mut self, replica: &str) {
        let now = self.now;
        let pod = self.pod(replica);
        pod.terminating = true;
        pod.deletion_requested_at = Some(now);
    }

    pub(super) fn run(&mut self, replica: &str) {
        let now = self.now;
        let pod = self.pod(replica);
        pod.phase = Phase::Running;
        pod.started_at = Some(now);
    }

    pub(super) fn run_all(&mut self) {
        let names: Vec<String> = self.alive();
        for name in names {
            self.run(&name);
        }
        self.quiesce();
    }

    /// Short names of the pods that are neither terminating nor finished.
    pub(super) fn alive(&self) -> Vec<String> {
        let alive = |pod: &&PodView| {
            !pod.terminating && matches!(pod.phase, Phase::Pending | Phase::Running)
        };
        self.pods
            .values()
            .filter(alive)
            .map(|pod| pod.name.trim_start_matches("digits-").to_owned())
            .collect()
    }

    pub(super) fn end(&mut self, replica: &str, code: i32) {
        let now = self.now;
        let pod = self.pod(replica);
        let reason = if code == 0 { "Completed" } else { "Error" };
        pod.phase = if code == 0 { Phase::Succeeded } else { Phase::Failed };
        pod.exit = Some(Exit {
            code,
            signal: None,
            reason: Some(reason.to_owned()),
            message: None,
            started_at: pod.started_at,
            finished_at: Some(now),
        });
    }

    /// A replica ends, and the controller observes it.
    pub(super) fn observe_end(&mut self, replica: &str, code: i32) {
        self.end(replica, code);
        self.quiesce();
    }

    /// The node has ended the terminating pods.
    pub(super) fn reap(&mut self) {
        self.pods.retain(|_, pod| !pod.terminating);
    }

    /// The node has ended the terminating pods, and the controller observes it.
    pub(super) fn observe_removal(&mut self) {
        self.reap();
        self.quiesce();
    }

    /// The user suspends or resumes the job.
    pub(super) fn suspend(&mut self, suspend: bool) {
        self.spec["suspend"] = suspend.into();
        self.quiesce();
    }

    pub(super) fn advance(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Time passes, and the controller plans.
    pub(super) fn wait(&mut self, seconds: i64) {
        self.advance(seconds);
        self.quiesce();
    }

    /// Starts all pods of the job.
    pub(super) fn started(mut self) -> Self {
        self.quiesce();
        self.run_all();
        self
    }

    /// `Created Running`: the types that are True, in order, with a `!` before those that are
    /// False.
    pub(super) fn conditions(&self) -> String {
        let conditions = self.snapshot().job.status.conditions.clone();
        let show = |condition: &mxjob_api::Condition| match condition.status {
            ConditionStatus::True => condition.kind.as_str().to_owned(),
            ConditionStatus::False | ConditionStatus::Unknown => format!("!{}", condition.kind),
        };
        conditions.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    /// The type of the last condition: the state of the job in a table.
    pub(super) fn state(&self) -> String {
        self.snapshot()
            .job
            .status
            .conditions
            .last()
            .map(|condition| condition.kind.to_string())
            .unwrap_or_default()
    }

    /// The message of the last condition.
    pub(super) fn message(&self) -> String {
        self.snapshot()
            .job
            .status
            .conditions
            .last()
            .map(|condition| condition.message.clone())
            .unwrap_or_default()
    }

    /// The stored counts of one role.
    pub(super) fn counts(&self, role: &str) -> Value {
        self.status["mxReplicaStatuses"][role].clone()
    }

    pub(super) fn pod_names(&self) -> Vec<&str> {
        self.pods.keys().map(|name| name.trim_start_matches("digits-")).collect()
    }

    pub(super) fn service_names(&self) -> Vec<&str> {
        self.services.keys().map(|name| name.trim_start_matches("digits-")).collect()
    }
}
