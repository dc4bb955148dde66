//! Many random jobs from a seed, while everything between the operator and its API server fails.
//!
//! For a while replicas fail, nodes evict them, users delete pods and suspend jobs, requests are
//! refused and lost, watches break, and processes are killed. Then the faults end, and the life of
//! each job is checked against what its replicas did.
//!
//! `MXJOB_SEEDS=20` runs this number of seeds one after the other instead of one; `MXJOB_SEED=7`
//! begins with that one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mxjob_testkit::life::{Circumstances, Life, role, terminal};
use mxjob_testkit::{Faults, Random, oracle};
use serde_json::{Value, json};

use super::cluster::{Cluster, Operator, job};
use super::nodes::{Behavior, End};
use crate::support::{LIMIT, Place, wait_until};

/// Jobs of one seed.
const JOBS: usize = 30;
/// How long faults happen.
const FAULT_PERIOD: Duration = Duration::from_secs(4);

/// What the processes of jobs do.
#[derive(Clone, Debug)]
struct Script {
    seed: u64,
    /// Whether nothing fails any more.
    is_calm: Arc<AtomicBool>,
    /// How many pods of each name have existed.
    pods: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Uids of pods that a user deletes.
    deleted: Arc<Mutex<BTreeSet<String>>>,
}

impl Script {
    fn behavior(&self, pod: &Value) -> Behavior {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap();
        let (name, uid) = (text("name"), text("uid"));
        let ordinal = {
            let mut pods = self.pods.lock().unwrap();
            let ordinal = pods.entry(name.to_owned()).or_default();
            *ordinal += 1;
            *ordinal
        };
        let random = &mut Random::named(self.seed, &format!("{name}#{ordinal}"));
        let job = pod["metadata"]["labels"]["training.kubeflow.org/job-name"].as_str().unwrap();
        let failures = Random::named(self.seed, job).pick(&[0, 0, 150, 400]);
        let ms = |random: &mut Random, most| Duration::from_millis(random.between(0, most));
        let mut behavior =
            Behavior { pending: ms(random, 60), grace: ms(random, 60), ..Behavior::default() };
        let fails = !self.is_calm.load(Ordering::Relaxed) && random.chance(failures);
        let serves = matches!(role(pod), "server" | "tunerserver" | "tunertracker");
        let after = ms(random, 400);
        if fails {
            let by_process = match pod["spec"]["restartPolicy"].as_str() {
                // Its node restarts it.
                Some("OnFailure") => {
                    behavior.restarts = vec![after];
                    None
                }
                _ => Some([1, 2, 127, 128, 137, 143, 255].map(End::Code)),
            };
            let mut ends = vec![End::Evicted, End::NodeLost, End::Deleted];
            ends.extend(by_process.into_iter().flatten());
            let end = random.pick(&ends);
            if end == End::Deleted {
                self.deleted.lock().unwrap().insert(uid.to_owned());
            }
            behavior.end = Some((after, end));
        } else if !(serves && random.chance(800)) {
            behavior.end = Some((after, End::Code(0)));
        }
        behavior
    }
}

/// A random job.
fn random_job(seed: u64, name: &str) -> Value {
    let random = &mut Random::named(seed, &format!("{name}!"));
    let (mode, roles) = random.pick(&[
        ("MXTrain", &[("Scheduler", 1), ("Server", 1), ("Worker", 2)][..]),
        ("MXTrain", &[("Scheduler", 1), ("Server", 2), ("Worker", 3)]),
        ("MXTrain", &[("Worker", 1)]),
        ("MXTrain", &[("Worker", 3)]),
        ("MXTune", &[("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)]),
    ]);
    let mut job = job(name, roles);
    let scope = random.pick(&[None, None, Some("Job"), Some("Replica")]);
    let spec = &mut job["spec"];
    spec["jobMode"] = json!(mode);
    if let Some(scope) = scope {
        spec["restartScope"] = json!(scope);
    }
    for (role, _) in roles {
        spec["mxReplicaSpecs"][*role]["restartPolicy"] =
            json!(random.pick(&["Never", "OnFailure", "ExitCode", "ExitCode"]));
    }
    let mut maybe = |field: &str, per_mille: u64, values: &[Value]| {
        if random.chance(per_mille) {
            spec[field] = random.pick(values);
        }
    };
    maybe("successPolicy", 300, &[json!("AllWorkers")]);
    maybe("backoffLimit", 400, &[json!(0), json!(1), json!(2)]);
    maybe("activeDeadlineSeconds", 200, &[json!(1), json!(3), json!(600)]);
    maybe("ttlSecondsAfterFinished", 150, &[json!(0), json!(1)]);
    maybe("cleanPodPolicy", 700, &[json!("All"), json!("Running"), json!("None")]);
    maybe("suspend", 150, &[json!(true)]);
    job
}

/// A disruption besides failed requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disruption {
    /// All watches break, or expire.
    Watches,
    /// All connections are cut for a moment.
    Outage,
    /// The operator is killed and restarted.
    Operator,
    /// The API server is killed and restarted.
    Server,
}

async fn run(seed: u64, faults: Faults, disruptions: &[Disruption]) {
    let place = Place::new();
    let script =
        Script { seed, is_calm: Arc::default(), pods: Arc::default(), deleted: Arc::default() };
    let behaviors = script.clone();
    let mut cluster = Cluster::with_behavior(&place, move |pod| behaviors.behavior(pod)).await;
    let random = &mut Random::new(seed);
    let mut operators = vec![cluster.operator("operator-0").await];
    operators[0].proxy.set_faults(faults);
    let start = (tokio::time::Instant::now(), jiff::Timestamp::now());
    let began = Instant::now();
    let names: Vec<String> = (0..JOBS).map(|number| format!("job{number}")).collect();
    for name in &names {
        cluster.create(&random_job(seed, name)).await;
    }
    let mut suspended = BTreeSet::new();
    while began.elapsed() < FAULT_PERIOD {
        tokio::time::sleep(Duration::from_millis(random.between(50, 400))).await;
        let name = random.pick(&names);
        if cluster
            .history
            .get("mxjobs", &name)
            .is_some_and(|job| terminal(&job["status"]).is_none())
        {
            let is_suspended = suspended.contains(&name);
            cluster.set(&name, &json!({ "suspend": !is_suspended })).await;
            suspended.insert(name);
        }
        let disruption = random.pick(disruptions);
        let count = operators.len();
        let operator = operators.last_mut().unwrap();
        match disruption {
            Disruption::Watches => operator.proxy.break_watches(random.chance(500)),
            Disruption::Outage => {
                operator.proxy.set_down(true);
                tokio::time::sleep(Duration::from_millis(random.between(10, 600))).await;
                operator.proxy.set_down(false);
            }
            Disruption::Operator if count < 3 => {
                operator.kill();
                let name = format!("operator-{count}");
                let next = cluster.operator(&name).await;
                next.proxy.set_faults(faults);
                operators.push(next);
            }
            Disruption::Server if random.chance(150) => cluster.restart_server(),
            Disruption::Operator | Disruption::Server => {}
        }
    }
    script.is_calm.store(true, Ordering::Relaxed);
    operators.last().unwrap().proxy.set_faults(Faults::default());
    for name in &names {
        cluster.set(name, &json!({ "suspend": false })).await;
    }
    let lives = Lives { cluster: &cluster, operators: &operators, script: &script, start };
    lives.wait_until_finished(&names);
    lives.check(&names);
}

/// The jobs of a seed, their operators and what happened to them.
struct Lives<'a> {
    cluster: &'a Cluster<'a>,
    operators: &'a [Operator],
    script: &'a Script,
    start: (tokio::time::Instant, jiff::Timestamp),
}

impl Lives<'_> {
    /// Waits until all jobs have ended and are cleaned up.
    fn wait_until_finished(&self, names: &[String]) {
        let began = Instant::now();
        let history = &self.cluster.history;
        wait_until("every job has ended and is cleaned up", || {
            let is_unfinished = |name: &&String| oracle::unfinished(history, name).is_some();
            let unfinished: Vec<&String> = names.iter().filter(is_unfinished).collect();
            if began.elapsed() + Duration::from_secs(1) > LIMIT {
                let lines: Vec<String> =
                    unfinished.iter().map(|name| self.describe(name)).collect();
                let (seed, count) = (self.script.seed, unfinished.len());
                panic!("seed {seed}: {count} jobs are unfinished: {}", lines.join("\n"));
            }
            unfinished.is_empty().then_some(())
        });
    }

    fn life(&self, name: &str) -> Life {
        let circumstances = Circumstances {
            start: self.start,
            deleted_by_others: self.script.deleted.lock().unwrap().clone(),
            has_group: false,
            absences: Vec::new(),
        };
        Life::replay(name, &self.cluster.history.log(), circumstances)
    }

    /// Everything that is known of one job, for a failed test's output.
    fn describe(&self, name: &str) -> String {
        let mut lines = self.life(name).describe(&[]);
        lines.extend(oracle::unfinished(&self.cluster.history, name));
        for (number, operator) in self.operators.iter().enumerate() {
            let requests = operator.proxy.describe(name);
            lines.extend(requests.iter().map(|request| format!("operator {number}: {request}")));
        }
        lines.join("\n  ")
    }

    fn check(&self, names: &[String]) {
        let mut violations = Vec::new();
        for name in names {
            let found = oracle::check(&self.life(name), None);
            violations.extend(found.iter().map(|violation| format!("{name}: {violation}")));
        }
        // An operator created each object by exactly one request.
        let mut created = BTreeMap::<String, usize>::new();
        for record in self.operators.iter().flat_map(|operator| operator.proxy.records()) {
            let is_ours = matches!(record.request.resource.as_str(), "pods" | "services");
            if is_ours && record.request.verb == "create" && record.is_done() {
                *created.entry(record.request.text()).or_default() += 1;
            }
        }
        for resource in ["pods", "services"] {
            for (name, uids) in self.cluster.history.uids(resource) {
                let text = format!("create {resource} {name}");
                // A request whose response the proxy did not see is in no record.
                let requests = created.get(&text).copied().unwrap_or(0);
                if requests > uids.len() {
                    let count = uids.len();
                    violations
                        .push(format!("{text} was done {requests} times for {count} objects"));
                }
            }
        }
        assert!(violations.is_empty(), "seed {}: {violations:#?}", self.script.seed);
    }
}

/// Runs one seed, or those that the environment selects.
async fn run_seeds(first: u64, faults: Faults, disruptions: &[Disruption]) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MXJOB_SEED").unwrap_or(first);
    for seed in first..first + number("MXJOB_SEEDS").unwrap_or(1) {
        run(seed, faults, disruptions).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_follows_the_contract_while_requests_are_refused_and_watches_break() {
    let faults = Faults {
        refused_writes: 200,
        refused_reads: 200,
        expired: 300,
        broken_watches: 30,
        latency: 30,
        ..Faults::default()
    };
    run_seeds(1, faults, &[Disruption::Watches]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_follows_the_contract_while_connections_are_cut_and_responses_are_lost() {
    let faults = Faults { cuts: 100, lost_responses: 150, latency: 60, ..Faults::default() };
    run_seeds(2, faults, &[Disruption::Outage, Disruption::Watches]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_follows_the_contract_while_operators_and_servers_are_killed() {
    let faults = Faults { refused_writes: 30, lost_responses: 30, ..Faults::default() };
    run_seeds(3, faults, &[Disruption::Operator, Disruption::Server]).await;
}
