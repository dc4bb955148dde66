//! Jobs from creation to their end, looked after by an operator across the network.

use mxjob_testkit::life::{attempt, terminal};
use mxjob_testkit::{Fault, Record};
use serde_json::{Value, json};

use super::cluster::{Cluster, Operator, job};
use super::history::Wait as _;
use super::nodes::End;
use crate::support::Place;

const REPLICAS: [&str; 4] = ["scheduler-0", "server-0", "worker-0", "worker-1"];

impl Cluster<'_> {
    fn end(&self, job: &str, replica: &str, end: End) {
        self.nodes.end(&format!("{job}-{replica}"), end);
    }

    fn end_all(&self, job: &str, code: i32) {
        for replica in REPLICAS {
            self.end(job, replica, End::Code(code));
        }
    }

    async fn running(&self, name: &str, more: &Value) {
        self.submit(name, more).await;
        self.history.wait_for_state(name, "Running");
    }

    fn message(&self, job: &str) -> String {
        self.history.last_condition(job).unwrap()["message"].as_str().unwrap().to_owned()
    }

    /// The names of what there is of a job, without the job's own.
    fn left(&self, job: &str, resource: &str) -> Vec<String> {
        let name = |object: &Value| {
            let name = object["metadata"]["name"].as_str().unwrap();
            name.trim_start_matches(&format!("{job}-")).to_owned()
        };
        self.history.of_job(job, resource).iter().map(|object| name(object)).collect()
    }

    fn wait_until_left(&self, job: &str, resource: &str, names: &[&str]) {
        self.history.wait_until(&format!("{names:?} are the {resource} of {job}"), |_| {
            self.left(job, resource) == names
        });
    }
}

/// All roles of a job with one restart policy.
fn policy(name: &str, policy: &str, more: &Value) -> Value {
    let mut job = job(name, &[("Scheduler", 1), ("Server", 1), ("Worker", 2)]);
    for role in ["Scheduler", "Server", "Worker"] {
        job["spec"]["mxReplicaSpecs"][role]["restartPolicy"] = json!(policy);
    }
    for (key, value) in more.as_object().unwrap() {
        job["spec"][key] = value.clone();
    }
    job
}

fn restarts(cluster: &Cluster<'_>, job: &str) -> Value {
    cluster.history.get("mxjobs", job).unwrap()["status"]["mxReplicaStatuses"]["Worker"]["restarts"]
        .clone()
}

/// Where among the requests that were done one is.
fn place(operator: &Operator, text: &str) -> usize {
    let records = operator.proxy.records();
    let is_it = |record: &Record| record.request.text() == text && record.is_done();
    records.iter().position(is_it).unwrap_or_else(|| panic!("{text} was not done"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_seen_through_to_its_end_with_no_request_too_many() {
    let folder = Place::new();
    let cluster = Cluster::start(&folder).await;
    let operator = cluster.operator("operator").await;
    operator.wait_until_ready_is(200).await;
    cluster.running("digits", &json!({ "cleanPodPolicy": "None" })).await;
    for service in REPLICAS {
        let service = place(&operator, &format!("create services digits-{service}"));
        for pod in REPLICAS {
            assert!(service < place(&operator, &format!("create pods digits-{pod}")));
        }
    }
    cluster.end_all("digits", 0);
    cluster.history.wait_for_state("digits", "Succeeded");
    cluster.history.wait_until("the end is recorded", |history| {
        history.events_of("digits").iter().any(|event| event.starts_with("MXJobSucceeded"))
    });
    let events = cluster.history.events_of("digits");
    assert!(events.contains(&"SuccessfulCreatePod: Created pod: digits-worker-0".to_owned()));
    // One for each pod, one for all services, two of the job.
    assert_eq!(events.len(), 4 + 1 + 2, "{events:#?}");
    for (request, most) in [
        ("create pods", 4),
        ("create services", 4),
        ("create events", 7),
        ("delete", 0),
        ("get pods", 0),
        ("get services", 0),
        ("list mxjobs", 1),
        ("list pods", 1),
        ("list services", 1),
        ("watch mxjobs", 1),
        ("watch pods", 1),
        ("watch services", 1),
    ] {
        assert!(operator.proxy.count(request) <= most, "{request}");
    }
    // Created, Running, Succeeded, and what the counts of replicas do between them.
    assert!(operator.proxy.count("patch mxjobs/status") <= 3 + 8);
    let (_, metrics) = operator.ask("metrics", "/metrics").await;
    assert!(metrics.contains("mxjob_reconcile_duration_seconds_count"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_end_as_their_replicas_do() {
    let folder = Place::new();
    let cluster = Cluster::start(&folder).await;
    let _operator = cluster.operator("operator").await;
    let forever = json!({});
    for (name, role_policy, more, ends, state, message) in [
        (
            "by-code",
            "Never",
            &forever,
            vec![("worker-1", End::Code(3))],
            "Failed",
            "worker-1 exited with exit code 3",
        ),
        (
            "by-code-kept",
            "ExitCode",
            &forever,
            vec![("worker-0", End::Code(1))],
            "Failed",
            "worker-0 exited with exit code 1",
        ),
        ("by-node", "Never", &forever, vec![("server-0", End::Evicted)], "Failed", "server-0"),
        (
            "by-limit",
            "OnFailure",
            &json!({ "backoffLimit": 0 }),
            vec![("worker-0", End::Code(137))],
            "Failed",
            "backoff limit",
        ),
        (
            "by-workers",
            "Never",
            &json!({ "successPolicy": "AllWorkers" }),
            vec![("worker-0", End::Code(0)), ("worker-1", End::Code(0))],
            "Succeeded",
            "successfully completed",
        ),
        (
            "by-deadline",
            "Never",
            &json!({ "activeDeadlineSeconds": 1 }),
            vec![],
            "Failed",
            "longer than its deadline",
        ),
    ] {
        let job = policy(name, role_policy, more);
        cluster.create(&job).await;
        cluster.history.wait_until(&format!("the pods of {name} are there"), |history| {
            history.of_job(name, "pods").len() == 4
                || history.last_condition(name).is_some_and(|last| last["type"] == "Failed")
        });
        for (replica, end) in ends {
            cluster.end(name, replica, end);
        }
        cluster.history.wait_for_state(name, state);
        assert!(cluster.message(name).contains(message), "{name}: {}", cluster.message(name));
        // Who has ended stays under the default policy, and nobody waits for a dead rendezvous.
        cluster.history.wait_until(&format!("the rest of {name} is stopped"), |history| {
            history
                .of_job(name, "pods")
                .iter()
                .all(|pod| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")))
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_finished_job_is_what_its_policy_says() {
    let folder = Place::new();
    let cluster = Cluster::start(&folder).await;
    let operator = cluster.operator("operator").await;
    let workers = json!({ "successPolicy": "AllWorkers" });
    for (name, clean, left) in [
        ("clean-all", "All", &[][..]),
        ("clean-running", "Running", &["worker-0", "worker-1"]),
        ("clean-none", "None", &REPLICAS),
    ] {
        let mut more = workers.clone();
        more["cleanPodPolicy"] = json!(clean);
        cluster.running(name, &more).await;
        cluster.end(name, "worker-0", End::Code(0));
        cluster.end(name, "worker-1", End::Code(0));
        cluster.history.wait_for_state(name, "Succeeded");
        cluster.wait_until_left(name, "pods", left);
        cluster.wait_until_left(name, "services", left);
    }
    assert_eq!(operator.proxy.count("delete pods clean-none"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_lost_restarts_the_whole_job_once() {
    let folder = Place::new();
    let cluster = Cluster::start(&folder).await;
    let operator = cluster.operator("operator").await;
    cluster.create(&policy("digits", "OnFailure", &json!({}))).await;
    cluster.history.wait_for_state("digits", "Running");
    operator.proxy.add_rule("patch mxjobs/status digits", Fault::Refuse(409), 1);
    cluster.end("digits", "worker-0", End::Code(137));
    cluster.history.wait_for_state("digits", "Restarting");
    cluster.history.wait_until("all pods are of the next attempt", |history| {
        let pods = history.of_job("digits", "pods");
        pods.len() == 4 && pods.iter().all(|pod| attempt(pod) == 1)
    });
    assert_eq!(restarts(&cluster, "digits"), 1);
    cluster.history.wait_for_state("digits", "Running");
    cluster.end_all("digits", 0);
    cluster.history.wait_for_state("digits", "Succeeded");
    assert_eq!(restarts(&cluster, "digits"), 1);
    for (name, uids) in cluster.history.uids("pods") {
        assert_eq!(uids.len(), 2, "{name}");
    }
    let events = cluster.history.events_of("digits");
    let restarting = events.iter().filter(|event| event.starts_with("MXJobRestarting")).count();
    assert_eq!(restarting, 1, "{events:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_may_come_back_alone_does() {
    let folder = Place::new();
    let cluster = Cluster::start(&folder).await;
    let _operator = cluster.operator("operator").await;
    let more = json!({ "restartScope": "Replica", "successPolicy": "AllWorkers" });
    cluster.create(&policy("digits", "ExitCode", &more)).await;
    cluster.history.wait_for_state("digits", "Running");
    cluster.end("digits", "worker-1", End::Code(0));
    cluster.history.wait_until("worker-1 has succeeded", |history| {
        history.get("mxjobs", "digits").unwrap()["status"]["mxReplicaStatuses"]["Worker"]["succeeded"] == 1
    });
    cluster.end("digits", "worker-0", End::NodeLost);
    cluster.history.wait_until("worker-0 is back", |history| {
        history.uids("pods")["digits-worker-0"].len() == 2
            && history
                .get("pods", "digits-worker-0")
                .is_some_and(|pod| pod["status"]["phase"] == "Running")
    });
    cluster.end("digits", "worker-0", End::Code(0));
    cluster.history.wait_for_state("digits", "Succeeded");
    assert_eq!(restarts(&cluster, "digits"), 1);
    for replica in ["scheduler-0", "server-0", "worker-1"] {
        assert_eq!(
            cluster.history.uids("pods")[&format!("digits-{replica}")].len(),
            1,
            "{replica}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_held_back_let_go_and_deleted_when_its_time_is_up() {
    let folder = Place::new();
    let cluster = Cluster::start(&folder).await;
    let _operator = cluster.operator("operator").await;
    cluster.running("digits", &json!({})).await;
    cluster.change("digits", &json!({ "suspend": true })).await;
    cluster.history.wait_for_state("digits", "Suspended");
    cluster.wait_until_left("digits", "pods", &[]);
    cluster.wait_until_left("digits", "services", &[]);
    cluster.change("digits", &json!({ "suspend": false })).await;
    cluster.history.wait_for_state("digits", "Running");
    cluster.end_all("digits", 0);
    cluster.history.wait_for_state("digits", "Succeeded");
    assert_eq!(
        terminal(&cluster.history.get("mxjobs", "digits").unwrap()["status"]),
        Some("Succeeded")
    );
    cluster.change("digits", &json!({ "ttlSecondsAfterFinished": 0 })).await;
    cluster.history.wait_until("it is gone with all it had", |history| {
        history.get("mxjobs", "digits").is_none()
            && history.of_job("digits", "pods").is_empty()
            && history.of_job("digits", "services").is_empty()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tuning_succeeds_with_its_tuner() {
    let folder = Place::new();
    let cluster = Cluster::start(&folder).await;
    let _operator = cluster.operator("operator").await;
    let mut job = job("tune", &[("TunerTracker", 1), ("TunerServer", 2), ("Tuner", 1)]);
    job["spec"]["jobMode"] = json!("MXTune");
    cluster.create(&job).await;
    cluster.history.wait_for_state("tune", "Running");
    cluster.end("tune", "tuner-0", End::Code(0));
    cluster.history.wait_for_state("tune", "Succeeded");
    cluster.wait_until_left("tune", "pods", &["tuner-0"]);
}
