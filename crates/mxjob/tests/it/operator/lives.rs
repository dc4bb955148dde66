//! Many random lives of jobs at once, from a seed, while everything between the operator and its
//! API server goes wrong.
//!
//! For a while replicas fail, nodes throw them out, people delete pods and hold jobs back, requests
//! are refused and lost, watches break, and processes die. Then the world calms down, and what
//! became of each job is judged by what its replicas did.
//!
//! `MXJOB_LIVES=20` lives so many seeds one after the other instead of one; `MXJOB_SEED=7` begins
//! with that one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::cluster::{Cluster, Operator, job};
use super::history::{role, terminal};
use super::nodes::{End, Fate};
use super::oracle;
use super::random::Random;
use super::trouble::Trouble;
use crate::support::{LIMIT, Place, wait_until};

/// Jobs of one life.
const JOBS: usize = 30;
/// How long it storms.
const STORM: Duration = Duration::from_secs(4);

/// What the processes of jobs do.
#[derive(Clone, Debug)]
struct Script {
    seed: u64,
    /// Whether nothing fails any more.
    is_calm: Arc<AtomicBool>,
    /// How many pods of each name there were.
    pods: Arc<Mutex<BTreeMap<String, u64>>>,
    /// Uids of pods that somebody deletes.
    deleted: Arc<Mutex<BTreeSet<String>>>,
}

impl Script {
    fn fate(&self, pod: &Value) -> Fate {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap();
        let (name, uid) = (text("name"), text("uid"));
        let ordinal = {
            let mut pods = self.pods.lock().unwrap();
            let ordinal = pods.entry(name.to_owned()).or_default();
            *ordinal += 1;
            *ordinal
        };
        let random = &mut Random::of(self.seed, &format!("{name}#{ordinal}"));
        let job = pod["metadata"]["labels"]["training.kubeflow.org/job-name"].as_str().unwrap();
        let failures = Random::of(self.seed, job).pick(&[0, 0, 150, 400]);
        let ms = |random: &mut Random, most| Duration::from_millis(random.between(0, most));
        let mut fate = Fate { pending: ms(random, 60), grace: ms(random, 60), ..Fate::default() };
        let fails = !self.is_calm.load(Ordering::Relaxed) && random.chance(failures);
        let serves = matches!(role(pod), "server" | "tunerserver" | "tunertracker");
        let after = ms(random, 400);
        if fails {
            let by_process = match pod["spec"]["restartPolicy"].as_str() {
                // Its node starts it again.
                Some("OnFailure") => {
                    fate.restarts = vec![after];
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
            fate.end = Some((after, end));
        } else if !(serves && random.chance(800)) {
            fate.end = Some((after, End::Code(0)));
        }
        fate
    }
}

/// One job of a life.
fn random_job(seed: u64, name: &str) -> Value {
    let random = &mut Random::of(seed, &format!("{name}!"));
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

/// What goes wrong in a life beside its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    /// All watches break, or expire.
    Watches,
    /// The line is dead for a moment.
    Outage,
    /// The operator is killed, and started again.
    Operator,
    /// The API server is killed, and started again.
    Server,
}

async fn live(seed: u64, trouble: Trouble, mishaps: &[Mishap]) {
    let place = Place::new();
    let script =
        Script { seed, is_calm: Arc::default(), pods: Arc::default(), deleted: Arc::default() };
    let fates = script.clone();
    let mut cluster = Cluster::with_fates(&place, move |pod| fates.fate(pod)).await;
    let random = &mut Random::new(seed);
    let mut operators = vec![cluster.operator("operator-0").await];
    operators[0].proxy.trouble(trouble);
    let began = Instant::now();
    let names: Vec<String> = (0..JOBS).map(|number| format!("life{number}")).collect();
    for name in &names {
        cluster.create(&random_job(seed, name)).await;
    }
    let mut held = BTreeSet::new();
    while began.elapsed() < STORM {
        tokio::time::sleep(Duration::from_millis(random.between(50, 400))).await;
        let name = random.pick(&names);
        if cluster.history.get("mxjobs", &name).is_some_and(|job| terminal(&job).is_none()) {
            let is_held = held.contains(&name);
            cluster.set(&name, &json!({ "suspend": !is_held })).await;
            held.insert(name);
        }
        let mishap = random.pick(mishaps);
        let count = operators.len();
        let operator = operators.last_mut().unwrap();
        match mishap {
            Mishap::Watches => operator.proxy.break_watches(random.chance(500)),
            Mishap::Outage => {
                operator.proxy.set_down(true);
                tokio::time::sleep(Duration::from_millis(random.between(10, 600))).await;
                operator.proxy.set_down(false);
            }
            Mishap::Operator if count < 3 => {
                operator.kill();
                let name = format!("operator-{count}");
                let next = cluster.operator(&name).await;
                next.proxy.trouble(trouble);
                operators.push(next);
            }
            Mishap::Server if random.chance(150) => cluster.restart_server(),
            Mishap::Operator | Mishap::Server => {}
        }
    }
    script.is_calm.store(true, Ordering::Relaxed);
    operators.last().unwrap().proxy.trouble(Trouble::default());
    for name in &names {
        cluster.set(name, &json!({ "suspend": false })).await;
    }
    settle(&cluster, &operators, &names, seed);
    judge(&cluster, &operators, &script, &names);
}

/// Waits until all jobs have ended, and what is to go is gone.
fn settle(cluster: &Cluster<'_>, operators: &[Operator], names: &[String], seed: u64) {
    let began = Instant::now();
    wait_until("every job has ended and is tidied up", || {
        let is_open = |name: &&String| oracle::is_open(&cluster.history, name).is_some();
        let open: Vec<&String> = names.iter().filter(is_open).collect();
        if began.elapsed() + Duration::from_secs(1) > LIMIT {
            let stories: Vec<String> =
                open.iter().map(|name| story(cluster, operators, name)).collect();
            panic!("seed {seed}: {} jobs are not done with: {}", open.len(), stories.join("\n"));
        }
        open.is_empty().then_some(())
    });
}

/// What is known of one job, for people.
fn story(cluster: &Cluster<'_>, operators: &[Operator], name: &str) -> String {
    let mut lines = oracle::story(name, &cluster.history.log());
    lines.extend(oracle::is_open(&cluster.history, name));
    for (number, operator) in operators.iter().enumerate() {
        let requests = operator.proxy.told_of(name);
        lines.extend(requests.iter().map(|request| format!("operator {number}: {request}")));
    }
    lines.join("\n  ")
}

fn judge(cluster: &Cluster<'_>, operators: &[Operator], script: &Script, names: &[String]) {
    let log = cluster.history.log();
    let deleted = script.deleted.lock().unwrap().clone();
    let mut wrong = Vec::new();
    for name in names {
        for what in oracle::judge(name, &log, &deleted) {
            wrong.push(format!("{name}: {what}"));
        }
    }
    // Whatever there is, an operator made by exactly one request.
    let mut made = BTreeMap::<String, usize>::new();
    for record in operators.iter().flat_map(|operator| operator.proxy.records()) {
        let is_ours = matches!(record.request.resource.as_str(), "pods" | "services");
        if is_ours && record.request.verb == "create" && record.is_done() {
            *made.entry(record.request.text()).or_default() += 1;
        }
    }
    for resource in ["pods", "services"] {
        for (name, uids) in cluster.history.uids(resource) {
            let text = format!("create {resource} {name}");
            // A request whose answer the proxy did not live to see is in no record.
            let requests = made.get(&text).copied().unwrap_or(0);
            if requests > uids.len() {
                wrong.push(format!("{text} was done {requests} times for {} of them", uids.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "seed {}: {wrong:#?}", script.seed);
}

/// Lives one seed, or those that the environment asks for.
async fn live_seeds(first: u64, trouble: Trouble, mishaps: &[Mishap]) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MXJOB_SEED").unwrap_or(first);
    for seed in first..first + number("MXJOB_LIVES").unwrap_or(1) {
        live(seed, trouble, mishaps).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_ends_as_it_must_while_requests_are_refused_and_watches_break() {
    let trouble = Trouble {
        refused_writes: 200,
        refused_reads: 200,
        expired: 300,
        broken_watches: 30,
        latency: 30,
        ..Trouble::default()
    };
    live_seeds(1, trouble, &[Mishap::Watches]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_ends_as_it_must_while_the_line_is_cut_and_answers_are_lost() {
    let trouble = Trouble { cuts: 100, lost_answers: 150, latency: 60, ..Trouble::default() };
    live_seeds(2, trouble, &[Mishap::Outage, Mishap::Watches]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_ends_as_it_must_while_operators_and_servers_die() {
    let trouble = Trouble { refused_writes: 30, lost_answers: 30, ..Trouble::default() };
    live_seeds(3, trouble, &[Mishap::Operator, Mishap::Server]).await;
}
