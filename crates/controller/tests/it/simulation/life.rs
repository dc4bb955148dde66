//! One random life of a job: its spec, what its processes do, and what happens to it, all from one
//! seed.
//!
//! For a while anything may happen (failures, evictions, lost nodes, people who delete, suspend and
//! change, a controller that dies between two writes). Then the world becomes quiet, and every open
//! decision must be made by the end.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;
use mxjob_controller::{Gang, Options, PodGroups, run};
use mxjob_testkit::life::{Circumstances, Life, condition, number, role};
use mxjob_testkit::oracle::{self, Timing};
use mxjob_testkit::{Faults, Link, Random, Server};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::clock;
use crate::cluster::{foreign_pod, is_terminating, name};

thread_local! {
    /// The server of all lives on this thread.
    static SERVER: OnceCell<Server> = const { OnceCell::new() };
}

const JOB: &str = "/apis/kubeflow.org/v1/namespaces/default/mxjobs/digits";
const GROUP: &str = "/apis/scheduling.volcano.sh/v1beta1/namespaces/default/podgroups/digits";
const SECOND: u64 = 1000;
/// How long the world stays quiet before the life is checked: longer than the longest delay plus
/// the longest run.
const AFTERMATH: u64 = 2000 * SECOND;
/// How long a node may be lost before its pods are deleted.
const EVICTION: u64 = 60 * SECOND;

#[derive(Clone, Debug)]
enum Action {
    Controller,
    Start(String),
    Exit(String),
    Reap(String),
    NodeUp,
    EvictLost,
    Happening,
    /// Volcano handles the group.
    Schedule,
    Calm,
    End,
}

struct World {
    server: Server,
    /// The connection of the controllers.
    link: Link,
    agenda: BTreeMap<(u64, u64), Action>,
    actions: u64,
    random: Random,
    script: Random,
    controller: Option<JoinHandle<()>>,
    gone_since: Option<u64>,
    is_calm: bool,
    /// The node whose pods cannot be reached. There are two.
    lost_node: Option<u64>,
    /// Uids of pods that a node knows.
    scheduled: BTreeSet<String>,
    /// Uids of terminating pods that a node knows.
    reaped: BTreeSet<String>,
    /// How often processes fail, per thousand.
    failures: u64,
    /// How often they never end, per thousand.
    hangs: u64,
    /// Volcano, if there is one.
    volcano: Option<Random>,
    deleted_by_others: BTreeSet<String>,
    absences: Vec<(u64, u64)>,
    /// Actions of people and nodes, for a failed test's output.
    notes: Vec<(u64, String)>,
}

/// The result of a life.
pub(crate) struct Outcome {
    pub(crate) spec: Value,
    pub(crate) violations: Vec<String>,
    pub(crate) log: Vec<String>,
}

/// Runs a life from its start to its end, and checks it.
pub(crate) fn live(seed: u64) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let start = clock::begin();
        let server = SERVER.with(|server| server.get_or_init(new_server).clone());
        server.reset();
        let mut random = Random::new(seed);
        let job = job(&mut random.split());
        let mut world = World::new(server, &mut random);
        world.volcano = (seed % 4 == 3).then(|| Random::new(seed + 1));
        let is_gentle = seed.is_multiple_of(3);
        let slack = if is_gentle { 5 * SECOND } else { 120 * SECOND };
        world.begin(is_gentle, &job);
        let end = world.run_to_its_end().await;
        if let Some(controller) = world.controller.take() {
            controller.abort();
            let _ = controller.await;
        }
        let circumstances = Circumstances {
            start: (start, clock::date(0)),
            deleted_by_others: world.deleted_by_others,
            has_group: world.volcano.is_some(),
            absences: world.absences,
        };
        let life = Life::replay("digits", &world.server.history().log(), circumstances);
        let timing = Timing { slack, sight: if is_gentle { 200 } else { slack }, end };
        Outcome {
            spec: job["spec"].clone(),
            violations: oracle::check(&life, Some(timing)),
            log: life.describe(&world.notes),
        }
    })
}

fn new_server() -> Server {
    Server::with(mxjob_testkit::Options { clock: Some(clock::calendar), ..Default::default() })
}

fn job(random: &mut Random) -> Value {
    let (mode, roles) = random.pick(&[
        ("MXTrain", vec![("Scheduler", 1), ("Server", 1), ("Worker", 2)]),
        ("MXTrain", vec![("Scheduler", 1), ("Server", 2), ("Worker", 3)]),
        ("MXTrain", vec![("Scheduler", 0), ("Server", 0), ("Worker", 2)]),
        ("MXTrain", vec![("Worker", 1)]),
        ("MXTrain", vec![("Worker", 3)]),
        ("MXTune", vec![("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)]),
    ]);
    let mut specs = json!({});
    let policies = ["Never", "OnFailure", "OnFailure", "Always", "ExitCode", "ExitCode"];
    let shared = random.pick(&policies);
    let is_shared = random.chance(700);
    for (role, count) in roles {
        let policy = if is_shared { shared } else { random.pick(&policies) };
        specs[role] = json!({
            "replicas": count, "restartPolicy": policy,
            "template": { "spec": { "containers": [{ "name": "mxnet", "image": "mxnet" }] } },
        });
    }
    let mut spec = json!({ "jobMode": mode, "mxReplicaSpecs": specs });
    let mut maybe = |field: &str, per_mille: u64, values: &[Value]| {
        if random.chance(per_mille) {
            spec[field] = random.pick(values);
        }
    };
    maybe("restartScope", 400, &[json!("Job"), json!("Replica")]);
    maybe("successPolicy", 300, &[json!("AllWorkers")]);
    maybe("backoffLimit", 400, &[json!(0), json!(1), json!(2), json!(5)]);
    maybe("activeDeadlineSeconds", 300, &[json!(5), json!(60), json!(300), json!(1500)]);
    maybe("ttlSecondsAfterFinished", 300, &[json!(0), json!(30), json!(500)]);
    maybe("cleanPodPolicy", 700, &[json!("All"), json!("Running"), json!("None")]);
    maybe("suspend", 150, &[json!(true)]);
    json!({ "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": { "name": "digits", "namespace": "default" }, "spec": spec })
}

impl World {
    fn new(server: Server, random: &mut Random) -> Self {
        Self {
            link: server.new_link(random.split()),
            server,
            agenda: BTreeMap::new(),
            actions: 0,
            random: random.split(),
            script: random.split(),
            controller: None,
            gone_since: Some(0),
            is_calm: false,
            lost_node: None,
            scheduled: BTreeSet::new(),
            reaped: BTreeSet::new(),
            failures: random.pick(&[0, 100, 300]),
            hangs: random.pick(&[0, 0, 0, 50]),
            volcano: None,
            deleted_by_others: BTreeSet::new(),
            absences: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn begin(&mut self, is_gentle: bool, job: &Value) {
        let random = &mut self.random;
        let latency = random.pick(&[5, 200, 2000]);
        let faults = Faults {
            refused_writes: random.pick(&[0, 30, 100]),
            lost_responses: random.pick(&[0, 30]),
            crashes: random.pick(&[0, 20, 60]),
            repeated_events: random.pick(&[0, 50, 200]),
            broken_watches: random.pick(&[0, 20]),
            latency,
            response_latency: latency,
            event_lag: random.pick(&[5, 500, 5000]),
            ..Faults::default()
        };
        self.link.set_faults(if is_gentle { quiet(20) } else { faults });
        let calm = random.between(60, 900) * SECOND;
        let first = random.between(0, 40) * SECOND;
        // A pod that looks like one of the job and is not.
        let mut foreign = foreign_pod("digits-worker-9");
        foreign["metadata"]["labels"] = json!({
            "training.kubeflow.org/operator-name": "mxjob-controller", "training.kubeflow.org/job-name": "digits",
        });
        foreign["status"] = json!({ "phase": "Running" });
        self.server.create("pods", &foreign);
        self.server.create("mxjobs", job);
        self.plan(0, Action::Controller);
        self.plan(first, Action::Happening);
        if self.volcano.is_some() {
            self.plan(SECOND, Action::Schedule);
        }
        self.plan(calm, Action::Calm);
        self.plan(calm + AFTERMATH, Action::End);
    }

    fn note(&mut self, line: String) {
        self.notes.push((clock::now(), line));
    }

    fn plan(&mut self, after: u64, action: Action) {
        self.actions += 1;
        self.agenda.insert((clock::now() + after, self.actions), action);
    }

    async fn run_to_its_end(&mut self) -> u64 {
        let (mut changes, mut crashes) = (self.server.history().count(), self.link.has_crashed());
        loop {
            changes.borrow_and_update();
            self.look_around();
            if *crashes.borrow_and_update() {
                self.lose_controller().await;
            }
            let ((ms, _), _) = self.agenda.first_key_value().unwrap();
            let ms = *ms;
            if ms > clock::now() {
                tokio::select! {
                    biased;
                    _ = crashes.changed() => continue,
                    _ = changes.changed() => continue,
                    () = tokio::time::sleep_until(clock::instant(ms)) => {}
                }
            }
            let (_, action) = self.agenda.pop_first().unwrap();
            match action {
                Action::End => return clock::now(),
                action => self.act(action),
            }
        }
    }

    async fn lose_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            controller.abort();
            let _ = controller.await;
        }
        self.gone_since = Some(clock::now());
        self.link.recover();
        self.note("the controller dies".to_owned());
        let after = self.random.pick(&[0, 500, 5 * SECOND, 60 * SECOND]);
        self.plan(after, Action::Controller);
    }

    /// What the nodes see: pods to start and pods to end. The garbage collector looks, too.
    fn look_around(&mut self) {
        let has_job = self.server.history().get("mxjobs", "digits").is_some();
        for pod in self.pods() {
            let uid = uid(&pod);
            if !has_job && !is_terminating(&pod) {
                self.server.delete("pods", name(&pod));
                continue;
            }
            if is_terminating(&pod) && self.reaped.insert(uid.clone()) {
                let after = self.random.pick(&[100, 2 * SECOND, 30 * SECOND]);
                self.plan(after, Action::Reap(uid.clone()));
            }
            if self.scheduled.insert(uid.clone()) {
                let after = self.random.pick(&[100, SECOND, 5 * SECOND, 20 * SECOND]);
                self.plan(after, Action::Start(uid));
            }
        }
        if !has_job {
            for resource in ["services", "podgroups"] {
                for object in self.server.all(resource) {
                    self.server.delete(resource, name(&object));
                }
            }
        }
    }

    /// The pods of the job.
    fn pods(&self) -> Vec<Arc<Value>> {
        let mut found = self.server.history().of_resource("pods");
        found.retain(|pod| pod["metadata"]["ownerReferences"].is_array());
        found
    }

    fn running(&self) -> Vec<Arc<Value>> {
        let mut found = self.pods();
        found.retain(|pod| pod["status"]["phase"] == "Running");
        found
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Controller => self.start_controller(),
            Action::Start(uid) => self.start(&uid),
            Action::Exit(uid) => self.exit(&uid),
            Action::Reap(uid) => self.reap(&uid),
            Action::NodeUp => self.find_node(),
            Action::EvictLost => self.evict_lost(),
            Action::Schedule => self.schedule(),
            Action::Happening => {
                if !self.is_calm {
                    self.happen();
                    let after = self.random.between(5, 120) * SECOND;
                    self.plan(after, Action::Happening);
                }
            }
            Action::Calm => {
                self.is_calm = true;
                self.find_node();
                self.link.set_faults(quiet(5));
                self.note("the world calms down".to_owned());
            }
            Action::End => {}
        }
    }

    fn start_controller(&mut self) {
        let now = clock::now();
        if let Some(since) = self.gone_since.take() {
            self.absences.push((since, now));
        }
        self.note("a controller starts".to_owned());
        let workers = self.random.pick(&[1, 4]);
        let gang = match self.volcano {
            Some(_) => Gang::PodGroups(PodGroups::Volcano),
            None => Gang::Off,
        };
        let options = Options { workers, gang, now: clock::calendar, ..Options::default() };
        let client = self.link.client();
        self.controller = Some(tokio::spawn(async move {
            run(client, options, std::future::pending()).await.unwrap();
        }));
    }

    // === The nodes ===

    /// The pod of that uid, if its node is reachable; otherwise the action is postponed.
    fn reach(&mut self, uid: &str, action: Action) -> Option<Value> {
        if self.lost_node == Some(node(uid)) {
            self.plan(5 * SECOND, action);
            return None;
        }
        let pod = self.pods().into_iter().find(|pod| self::uid(pod) == uid)?;
        Some(Value::clone(&pod))
    }

    /// The node of a pod writes its status.
    fn report(&self, pod: &Value) {
        self.server.change("pods", name(pod), |stored| {
            if stored["spec"]["nodeName"].is_null() && !is_terminating(stored) {
                stored["spec"]["nodeName"] = json!(format!("node-{}", node(&uid(pod))));
            }
            stored["status"] = pod["status"].clone();
        });
    }

    /// Someone other than the controller deletes an object: as a user, or as its node.
    fn delete(&mut self, resource: &str, object: &Value, is_forced: bool) {
        self.deleted_by_others.insert(uid(object));
        if is_forced {
            self.server.remove(resource, name(object));
        } else {
            self.server.delete(resource, name(object));
        }
    }

    fn start(&mut self, uid: &str) {
        let Some(mut pod) = self.reach(uid, Action::Start(uid.to_owned())) else { return };
        if is_terminating(&pod) || pod["status"]["phase"] != "Pending" {
            return;
        }
        pod["status"] = json!({
            "phase": "Running", "startTime": clock::text(clock::now()),
            "containerStatuses": [{ "name": "mxnet", "restartCount": 0, "state": { "running": { "startedAt": clock::text(clock::now()) } } }],
        });
        self.report(&pod);
        self.go_on(&pod);
    }

    /// Decides when the process of a pod will end, if ever.
    fn go_on(&mut self, pod: &Value) {
        let serves = matches!(role(pod), "server" | "tunerserver" | "tunertracker");
        let fails = !self.is_calm && self.script.chance(self.failures);
        let hangs = if serves { 800 } else { self.hangs };
        if !fails && self.script.chance(hangs) {
            return;
        }
        let after = if self.script.chance(50) {
            self.script.between(590, 800)
        } else {
            self.script.between(1, 60)
        };
        self.plan(after * SECOND, Action::Exit(uid(pod)));
    }

    fn exit(&mut self, uid: &str) {
        let Some(mut pod) = self.reach(uid, Action::Exit(uid.to_owned())) else { return };
        if pod["status"]["phase"] != "Running" {
            return;
        }
        let fails = !self.is_calm && self.script.chance(self.failures);
        let code =
            if fails { self.script.pick(&[1, 2, 127, 128, 134, 137, 139, 143, 255]) } else { 0 };
        let is_restarted = match pod["spec"]["restartPolicy"].as_str().unwrap() {
            "Always" => true,
            "OnFailure" => code != 0,
            _ => false,
        };
        if is_restarted && !is_terminating(&pod) {
            let count = number(&pod["status"]["containerStatuses"][0]["restartCount"]) + 1;
            pod["status"]["containerStatuses"][0]["restartCount"] = count.into();
            self.report(&pod);
            self.go_on(&pod);
            return;
        }
        end(&mut pod, Some(code));
        self.report(&pod);
        if code == 0 && role(&pod) == "scheduler" {
            // The processes of ps-lite leave through one barrier, and a process that fails there
            // fails now.
            self.failures = self.failures.max(200);
            for other in self.running() {
                let after = self.script.between(0, 1500);
                self.plan(after, Action::Exit(self::uid(&other)));
            }
        }
    }

    fn reap(&mut self, uid: &str) {
        let Some(mut pod) = self.reach(uid, Action::Reap(uid.to_owned())) else { return };
        if pod["status"]["phase"] == "Running" && self.random.chance(500) {
            end(&mut pod, Some(143));
            self.report(&pod);
        }
        if self.server.get("pods", name(&pod)).is_some_and(|now| self::uid(&now) == uid) {
            self.server.remove("pods", name(&pod));
        }
    }

    /// The lost node is back after a reboot: nothing runs there any more.
    fn find_node(&mut self) {
        let Some(lost) = self.lost_node.take() else { return };
        self.note("the node is back".to_owned());
        for pod in self.running().iter().filter(|pod| node(&uid(pod)) == lost) {
            let mut pod = Value::clone(pod);
            end(&mut pod, None);
            pod["status"]["reason"] = json!("NodeLost");
            self.report(&pod);
        }
    }

    fn evict_lost(&mut self) {
        let Some(lost) = self.lost_node else { return };
        for pod in self.pods().iter().filter(|pod| node(&uid(pod)) == lost) {
            if !is_terminating(pod) {
                self.delete("pods", pod, false);
            }
        }
    }

    /// Volcano admits a group after a while, may revert that, and another client may delete the
    /// group.
    fn schedule(&mut self) {
        let Some(random) = &mut self.volcano else { return };
        let phase = if self.is_calm {
            "Running"
        } else {
            random.pick(&["Pending", "Inqueue", "Inqueue", "Running", "Unknown"])
        };
        let (is_lost, tasks) = (!self.is_calm && random.chance(50), random.between(1, 9));
        let after = random.between(1, 40) * SECOND;
        self.plan(after, Action::Schedule);
        let Some(group) = self.server.get("podgroups", "digits") else { return };
        if is_lost {
            self.note("another client deletes the group".to_owned());
            return self.delete("podgroups", &group, true);
        }
        let message = format!("{tasks} tasks have no place");
        let conditions = match phase {
            "Running" => Value::Null,
            _ => json!([{ "type": "Unschedulable", "status": "True", "message": message }]),
        };
        let status = json!({ "phase": phase, "conditions": conditions });
        self.patch(&format!("{GROUP}/status"), &json!({ "status": status }));
    }

    fn patch(&mut self, path: &str, patch: &Value) {
        let (code, answer) = self.server.send(Method::PATCH, path, patch);
        if code != 200 {
            self.note(format!("{path} {patch} is refused: {}", answer["message"]));
        }
    }

    // === People and accidents ===

    fn happen(&mut self) {
        let Some(job) = self.server.history().get("mxjobs", "digits") else { return };
        let running = self.running();
        let some = (!running.is_empty()).then(|| self.random.pick(&running));
        match (self.random.between(0, 9), some) {
            (0, Some(pod)) => {
                let mut pod = Value::clone(&pod);
                self.note(format!("{} is evicted", name(&pod)));
                end(&mut pod, None);
                pod["status"]["reason"] = json!("Evicted");
                self.report(&pod);
            }
            (1, Some(pod)) => {
                self.note(format!("another client deletes {}", name(&pod)));
                if !is_terminating(&pod) {
                    self.delete("pods", &pod, false);
                }
            }
            (2, Some(pod)) => {
                self.note(format!("another client deletes services {}", name(&pod)));
                if let Some(service) = self.server.get("services", name(&pod)) {
                    self.delete("services", &service, true);
                }
            }
            (3, Some(pod)) if self.lost_node.is_none() => {
                self.lost_node = Some(node(&uid(&pod)));
                self.note("a node is lost".to_owned());
                let after = self.random.pick(&[5, 90, 400]) * SECOND;
                self.plan(EVICTION, Action::EvictLost);
                self.plan(after, Action::NodeUp);
            }
            (4, _) => self.collect_succeeded(&job),
            (5, _) => {
                let is_held = job["spec"]["suspend"] == true;
                self.set("suspend", &json!(!is_held));
                if !is_held {
                    // No job stays suspended forever.
                    self.set_later();
                }
            }
            (6, _) => {
                let value = self.random.pick(&[
                    json!(10),
                    json!(200),
                    json!(1000),
                    json!(5000),
                    Value::Null,
                ]);
                self.set("activeDeadlineSeconds", &value);
            }
            (7, _) => {
                let value = self.random.pick(&[json!(0), json!(100), json!(1000), Value::Null]);
                self.set("ttlSecondsAfterFinished", &value);
            }
            (8, _) => {
                let value = self.random.pick(&[json!("All"), json!("Running"), json!("None")]);
                self.set("cleanPodPolicy", &value);
            }
            _ => {}
        }
    }

    /// A suspended job is usually resumed soon: the next event may do it.
    fn set_later(&mut self) {
        let after = self.random.between(1, 30) * SECOND;
        self.plan(after, Action::Happening);
    }

    fn set(&mut self, field: &str, value: &Value) {
        self.note(format!("another client sets {field} to {value}"));
        self.patch(JOB, &json!({ "spec": { field: value } }));
    }

    /// A cleaner deletes succeeded pods, once the status has recorded them.
    fn collect_succeeded(&mut self, job: &Value) {
        let recorded = job["status"]["completedIndexes"].as_object().cloned().unwrap_or_default();
        for pod in self.pods().iter().filter(|pod| pod["status"]["phase"] == "Succeeded") {
            let labels = &pod["metadata"]["labels"];
            let index = labels["training.kubeflow.org/replica-index"].as_str().unwrap();
            let is_recorded = recorded.iter().any(|(key, indexes)| {
                let mut all = indexes.as_str().unwrap().split(['-', ',']);
                key.to_lowercase() == role(pod) && all.any(|one| one == index)
            });
            if is_recorded && condition(&job["status"], "Suspended") != Some(true) {
                self.note(format!("a cleaner deletes {}", name(pod)));
                self.delete("pods", pod, true);
            }
        }
    }
}

/// Only delays.
fn quiet(ms: u64) -> Faults {
    Faults { latency: ms, response_latency: ms, event_lag: ms, ..Faults::default() }
}

/// A pod ends: with a code, or without a known one.
fn end(pod: &mut Value, code: Option<i64>) {
    let now = clock::text(clock::now());
    pod["status"]["phase"] = json!(if code == Some(0) { "Succeeded" } else { "Failed" });
    match code {
        Some(code) => {
            let started = pod["status"]["startTime"].clone();
            let reason = if code == 0 { "Completed" } else { "Error" };
            pod["status"]["containerStatuses"][0]["state"] = json!({ "terminated": {
                "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now,
            } });
        }
        None => pod["status"]["containerStatuses"] = json!([]),
    }
}

fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// The node of a pod.
fn node(uid: &str) -> u64 {
    uid.bytes().map(u64::from).sum::<u64>() % 2
}
