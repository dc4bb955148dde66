//! One random life of a job: its spec, what its processes do, and what happens to it, all from one
//! seed.
//!
//! For a while anything may happen (failures, evictions, lost nodes, people who delete, suspend and
//! change, a controller that dies between two writes). Then the world becomes quiet, and every open
//! decision must be made by the end.

use std::collections::{BTreeMap, BTreeSet};

use mxjob_controller::{Gang, Options, PodGroups, run};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::clock;
use super::cluster::{Cluster, State, Trouble};
use super::history::{History, condition, number};
use super::random::Random;

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

struct Life {
    cluster: Cluster,
    agenda: BTreeMap<(u64, u64), Action>,
    actions: u64,
    random: Random,
    script: Random,
    controller: Option<JoinHandle<()>>,
    gone_since: Option<u64>,
    is_calm: bool,
    /// The node whose pods cannot be reached. There are two.
    lost_node: Option<u64>,
    scheduled: BTreeSet<String>,
    reaped: BTreeSet<String>,
    /// How often processes fail, per thousand.
    failures: u64,
    /// How often they never end, per thousand.
    hangs: u64,
    /// Volcano, if there is one.
    volcano: Option<Random>,
}

/// The result of a life, to be checked.
pub(crate) struct Remains {
    pub(crate) history: History,
    pub(crate) job: Value,
    /// The job at the end; `None` if it was deleted.
    pub(crate) last: Option<Value>,
    pub(crate) pods: Vec<Value>,
    pub(crate) services: Vec<Value>,
    pub(crate) groups: Vec<Value>,
    /// How late a decision may be, in milliseconds.
    pub(crate) slack: u64,
    /// How long a change may stay unseen while no request is refused, in milliseconds.
    pub(crate) sight: u64,
    pub(crate) end: u64,
}

/// Runs a life from its start to its end.
pub(crate) fn live(seed: u64) -> Remains {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        clock::begin();
        let mut random = Random::new(seed);
        let job = job(&mut random.fork());
        let mut life = Life::new(&mut random, &job);
        life.volcano = (seed % 4 == 3).then(|| Random::new(seed + 1));
        life.cluster.state().history.has_scheduler = life.volcano.is_some();
        let is_gentle = seed.is_multiple_of(3);
        let slack = if is_gentle { 5 * SECOND } else { 120 * SECOND };
        life.begin(is_gentle, &job);
        let end = life.run_to_its_end().await;
        let state = life.cluster.state();
        Remains {
            history: state.history.clone(),
            last: state.get("mxjobs", "digits").cloned(),
            pods: state
                .all("pods")
                .filter(|pod| pod["metadata"]["ownerReferences"].is_array())
                .cloned()
                .collect(),
            services: state.all("services").cloned().collect(),
            groups: state.all("podgroups").cloned().collect(),
            job,
            slack,
            sight: if is_gentle { 200 } else { slack },
            end,
        }
    })
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

/// Whether the replicas of a job restart together, by the contract's default.
fn together(job: &Value) -> bool {
    let spec = &job["spec"];
    match spec["restartScope"].as_str() {
        Some(scope) => scope == "Job",
        None => number(&spec["mxReplicaSpecs"]["Scheduler"]["replicas"]) > 0,
    }
}

impl Life {
    fn new(random: &mut Random, job: &Value) -> Self {
        let history = History { together: together(job), ..History::default() };
        Self {
            cluster: Cluster::new(random.fork(), history),
            agenda: BTreeMap::new(),
            actions: 0,
            random: random.fork(),
            script: random.fork(),
            controller: None,
            gone_since: Some(0),
            is_calm: false,
            lost_node: None,
            scheduled: BTreeSet::new(),
            reaped: BTreeSet::new(),
            failures: random.pick(&[0, 100, 300]),
            hangs: random.pick(&[0, 0, 0, 50]),
            volcano: None,
        }
    }

    fn begin(&mut self, is_gentle: bool, job: &Value) {
        let random = &mut self.random;
        let trouble = Trouble {
            refusals: random.pick(&[0, 30, 100]),
            lost_answers: random.pick(&[0, 30]),
            crashes: random.pick(&[0, 20, 60]),
            duplicates: random.pick(&[0, 50, 200]),
            ended_watches: random.pick(&[0, 20]),
            latency: random.pick(&[5, 200, 2000]),
            lag: random.pick(&[5, 500, 5000]),
        };
        let trouble = if is_gentle {
            Trouble { latency: 20, lag: 20, ..Trouble::default() }
        } else {
            trouble
        };
        let calm = random.between(60, 900) * SECOND;
        let first = random.between(0, 40) * SECOND;
        self.cluster.act(|state| {
            state.trouble = trouble;
            // A pod that looks like one of the job and is not.
            state.store("pods", json!({ "metadata": {
                "name": "digits-worker-9", "namespace": "default",
                "labels": { "training.kubeflow.org/operator-name": "mxjob-controller", "training.kubeflow.org/job-name": "digits" },
            }, "status": { "phase": "Running" } }));
            let job = state.store("mxjobs", job.clone());
            for field in ["activeDeadlineSeconds", "ttlSecondsAfterFinished", "cleanPodPolicy", "suspend"] {
                state.history.fields.insert(field.to_owned(), vec![(0, job["spec"][field].clone())]);
            }
        });
        self.plan(0, Action::Controller);
        self.plan(first, Action::Happening);
        if self.volcano.is_some() {
            self.plan(SECOND, Action::Schedule);
        }
        self.plan(calm, Action::Calm);
        self.plan(calm + AFTERMATH, Action::End);
    }

    fn plan(&mut self, after: u64, action: Action) {
        self.actions += 1;
        self.agenda.insert((clock::now() + after, self.actions), action);
    }

    async fn run_to_its_end(&mut self) -> u64 {
        let mut changes = self.cluster.changes();
        loop {
            changes.borrow_and_update();
            self.look_around();
            if self.cluster.state().has_crashed {
                self.lose_controller().await;
            }
            let ((ms, _), _) = self.agenda.first_key_value().unwrap();
            let ms = *ms;
            if ms > clock::now() {
                tokio::select! {
                    biased;
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
        self.cluster.act(|state| {
            state.has_crashed = false;
            state.history.note("the controller dies");
        });
        let after = self.random.pick(&[0, 500, 5 * SECOND, 60 * SECOND]);
        self.plan(after, Action::Controller);
    }

    /// What the nodes see: pods to start and pods to end.
    fn look_around(&mut self) {
        let cluster = self.cluster.clone();
        let seen: Vec<(String, bool)> = {
            let state = cluster.state();
            let ours =
                state.all("pods").filter(|pod| pod["metadata"]["ownerReferences"].is_array());
            ours.map(|pod| (uid(pod), pod["metadata"].get("deletionTimestamp").is_some())).collect()
        };
        for (uid, is_terminating) in seen {
            if is_terminating && self.reaped.insert(uid.clone()) {
                let after = self.random.pick(&[100, 2 * SECOND, 30 * SECOND]);
                self.plan(after, Action::Reap(uid.clone()));
            }
            if self.scheduled.insert(uid.clone()) {
                let after = self.random.pick(&[100, SECOND, 5 * SECOND, 20 * SECOND]);
                self.plan(after, Action::Start(uid));
            }
        }
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
                self.cluster.act(|state| {
                    state.trouble = Trouble { latency: 5, lag: 5, ..Trouble::default() };
                    state.history.note("the world calms down");
                });
            }
            Action::End => {}
        }
    }

    fn start_controller(&mut self) {
        let now = clock::now();
        if let Some(since) = self.gone_since.take() {
            self.cluster.state().history.absences.push((since, now));
        }
        self.cluster.state().history.note("a controller starts");
        let workers = self.random.pick(&[1, 4]);
        let gang = match self.volcano {
            Some(_) => Gang::PodGroups(PodGroups::Volcano),
            None => Gang::Off,
        };
        let options = Options { workers, gang, now: clock::calendar, ..Options::default() };
        let client = self.cluster.client();
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
        let state = self.cluster.state();
        state.all("pods").find(|pod| super::life::uid(pod) == uid).cloned()
    }

    fn start(&mut self, uid: &str) {
        let Some(mut pod) = self.reach(uid, Action::Start(uid.to_owned())) else { return };
        if pod["metadata"].get("deletionTimestamp").is_some() || pod["status"]["phase"].is_string()
        {
            return;
        }
        pod["status"] = json!({
            "phase": "Running", "startTime": clock::text(clock::now()),
            "containerStatuses": [{ "name": "mxnet", "restartCount": 0, "state": { "running": { "startedAt": clock::text(clock::now()) } } }],
        });
        self.cluster.act(|state| state.store("pods", pod.clone()));
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
        let is_terminating = pod["metadata"].get("deletionTimestamp").is_some();
        if is_restarted && !is_terminating {
            let count = number(&pod["status"]["containerStatuses"][0]["restartCount"]) + 1;
            pod["status"]["containerStatuses"][0]["restartCount"] = count.into();
            self.cluster.act(|state| state.store("pods", pod.clone()));
            self.go_on(&pod);
            return;
        }
        end(&mut pod, Some(code));
        self.cluster.act(|state| state.store("pods", pod.clone()));
        if code == 0 && role(&pod) == "scheduler" {
            // The processes of ps-lite leave through one barrier, and a process that fails there
            // fails now.
            self.failures = self.failures.max(200);
            let others = running(&self.cluster.state());
            for other in others {
                let after = self.script.between(0, 1500);
                self.plan(after, Action::Exit(super::life::uid(&other)));
            }
        }
    }

    fn reap(&mut self, uid: &str) {
        let Some(mut pod) = self.reach(uid, Action::Reap(uid.to_owned())) else { return };
        let is_running = pod["status"]["phase"] == "Running";
        let shows_its_end = self.random.chance(500);
        self.cluster.act(|state| {
            let name = name(&pod);
            if is_running && shows_its_end {
                end(&mut pod, Some(143));
                state.store("pods", pod);
            }
            state.remove("pods", &name);
        });
    }

    /// The lost node is back after a reboot: nothing runs there any more.
    fn find_node(&mut self) {
        let Some(lost) = self.lost_node.take() else { return };
        self.cluster.act(|state| {
            state.history.note("the node is back");
            for mut pod in running(state).into_iter().filter(|pod| node(&uid(pod)) == lost) {
                end(&mut pod, None);
                pod["status"]["reason"] = json!("NodeLost");
                state.store("pods", pod);
            }
        });
    }

    fn evict_lost(&mut self) {
        let Some(lost) = self.lost_node else { return };
        self.cluster.act(|state| {
            let all: Vec<Value> = state
                .all("pods")
                .filter(|pod| pod["metadata"]["ownerReferences"].is_array())
                .cloned()
                .collect();
            for pod in all.iter().filter(|pod| node(&uid(pod)) == lost) {
                state.delete("pods", &name(pod));
            }
        });
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
        self.cluster.act(|state| {
            let Some(mut group) = state.get("podgroups", "digits").cloned() else { return };
            if is_lost {
                state.history.note("another client deletes the group");
                return state.remove("podgroups", "digits");
            }
            let trouble = json!([{ "type": "Unschedulable", "status": "True", "message": format!("{tasks} tasks have no place") }]);
            let status = if phase == "Running" { json!({ "phase": phase }) } else { json!({ "phase": phase, "conditions": trouble }) };
            if group["status"] != status {
                group["status"] = status;
                state.store("podgroups", group);
            }
        });
        self.plan(after, Action::Schedule);
    }

    // === People and accidents ===

    fn happen(&mut self) {
        let cluster = self.cluster.clone();
        if cluster.state().get("mxjobs", "digits").is_none() {
            return;
        }
        let running = running(&cluster.state());
        let some = (!running.is_empty()).then(|| self.random.pick(&running));
        match (self.random.between(0, 9), some) {
            (0, Some(mut pod)) => cluster.act(|state| {
                state.history.note(&format!("{} is evicted", name(&pod)));
                end(&mut pod, None);
                pod["status"]["reason"] = json!("Evicted");
                state.store("pods", pod);
            }),
            (1, Some(pod)) => cluster.act(|state| {
                state.history.note(&format!("another client deletes {}", name(&pod)));
                state.delete("pods", &name(&pod));
            }),
            (2, Some(pod)) => cluster.act(|state| {
                state.history.note(&format!("another client deletes services {}", name(&pod)));
                state.remove("services", &name(&pod));
            }),
            (3, Some(pod)) if self.lost_node.is_none() => {
                self.lost_node = Some(node(&uid(&pod)));
                cluster.act(|state| state.history.note("a node is lost"));
                let after = self.random.pick(&[5, 90, 400]) * SECOND;
                self.plan(EVICTION, Action::EvictLost);
                self.plan(after, Action::NodeUp);
            }
            (4, _) => cluster.act(collect_succeeded),
            (5, _) => {
                let is_held = cluster.state().history.last("suspend").1 == true;
                self.set("suspend", json!(!is_held));
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
                self.set("activeDeadlineSeconds", value);
            }
            (7, _) => {
                let value = self.random.pick(&[json!(0), json!(100), json!(1000), Value::Null]);
                self.set("ttlSecondsAfterFinished", value);
            }
            (8, _) => {
                let value = self.random.pick(&[json!("All"), json!("Running"), json!("None")]);
                self.set("cleanPodPolicy", value);
            }
            _ => {}
        }
    }

    /// A suspended job is usually resumed soon: the next event may do it.
    fn set_later(&mut self) {
        let after = self.random.between(1, 30) * SECOND;
        self.plan(after, Action::Happening);
    }

    fn set(&self, field: &str, value: Value) {
        self.cluster.act(|state| {
            let Some(mut job) = state.get("mxjobs", "digits").cloned() else { return };
            state.history.note(&format!("another client sets {field} to {value}"));
            job["spec"][field] = value.clone();
            state.store("mxjobs", job);
            state.history.fields.get_mut(field).unwrap().push((clock::now(), value));
        });
    }
}

/// A cleaner deletes succeeded pods, once the status has recorded them.
fn collect_succeeded(state: &mut State) {
    let Some(job) = state.get("mxjobs", "digits").cloned() else { return };
    let noted = job["status"]["completedIndexes"].as_object().cloned().unwrap_or_default();
    let all: Vec<Value> = state.all("pods").cloned().collect();
    for pod in all.iter().filter(|pod| pod["status"]["phase"] == "Succeeded") {
        let labels = &pod["metadata"]["labels"];
        let role = labels["training.kubeflow.org/replica-type"].as_str().unwrap();
        let index = labels["training.kubeflow.org/replica-index"].as_str().unwrap();
        let is_noted = noted.iter().any(|(key, indexes)| {
            key.to_lowercase() == role
                && indexes.as_str().unwrap().split(['-', ',']).any(|one| one == index)
        });
        if is_noted && condition(&job["status"], "Suspended") != Some(true) {
            let name = name(pod);
            state.history.note(&format!("a cleaner deletes {name}"));
            state.remove("pods", &name);
        }
    }
}

fn running(state: &State) -> Vec<Value> {
    let ours = state.all("pods").filter(|pod| pod["metadata"]["ownerReferences"].is_array());
    ours.filter(|pod| pod["status"]["phase"] == "Running").cloned().collect()
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

fn role(pod: &Value) -> &str {
    pod["metadata"]["labels"]["training.kubeflow.org/replica-type"].as_str().unwrap_or_default()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

/// The node of a pod.
fn node(uid: &str) -> u64 {
    uid.bytes().map(u64::from).sum::<u64>() % 2
}
