//! Other systems that use a job: Kueue, which suspends and resumes it, and Katib and Argo, which
//! wait for its end.

use mxjob_controller::Options;
use mxjob_testkit::Server;
use serde_json::{Value, json};

use crate::cluster::{Cluster, condition, counts, job, name};

const ROLES: [(&str, u64); 3] = [("Scheduler", 1), ("Server", 1), ("Worker", 2)];

/// Submits the job of the tests in a queue of Kueue.
fn submit(cluster: &Cluster, suspend: bool) {
    let mut job = job("digits", &ROLES);
    job["metadata"]["labels"] = json!({ "kueue.x-k8s.io/queue-name": "team" });
    job["spec"]["jobMode"] = json!("MXTrain");
    job["spec"]["runPolicy"] = json!({ "suspend": suspend });
    cluster.submit(&job);
}

/// Kueue admits the job to a flavor: one write resumes it and changes its templates for the flavor.
fn admit(cluster: &Cluster, flavor: &str) {
    cluster.server.change("mxjobs", "digits", |job| {
        job["spec"]["runPolicy"]["suspend"] = json!(false);
        for (role, _) in ROLES {
            let template = &mut job["spec"]["mxReplicaSpecs"][role]["template"];
            template["metadata"] = json!({
                "labels": { "kueue.x-k8s.io/podset": role.to_lowercase() },
                "annotations": { "kueue.x-k8s.io/workload": format!("mxjob-digits-{flavor}") },
            });
            template["spec"]["nodeSelector"] = json!({ "flavor": flavor });
            template["spec"]["tolerations"] = json!([{ "key": flavor, "operator": "Exists" }]);
        }
    });
}

/// Kueue evicts the job: one write suspends it and restores its templates.
fn evict(cluster: &Cluster) {
    cluster.server.change("mxjobs", "digits", |job| {
        job["spec"]["runPolicy"]["suspend"] = json!(true);
        for (role, _) in ROLES {
            let template = &mut job["spec"]["mxReplicaSpecs"][role]["template"];
            template.as_object_mut().unwrap().remove("metadata");
            for field in ["nodeSelector", "tolerations"] {
                template["spec"].as_object_mut().unwrap().remove(field);
            }
        }
    });
}

/// Kueue finds pods by these two labels.
fn pods(server: &Server) -> Vec<Value> {
    let is_found = |pod: &Value| {
        let labels = &pod["metadata"]["labels"];
        labels["training.kubeflow.org/job-name"] == "digits"
            && labels["training.kubeflow.org/operator-name"] == "mxjob-controller"
    };
    server.all("pods").into_iter().filter(is_found).collect()
}

fn flavors(server: &Server) -> Vec<String> {
    let flavor = |pod: &Value| pod["spec"]["nodeSelector"]["flavor"].as_str().unwrap().to_owned();
    pods(server).iter().map(flavor).collect()
}

/// Kueue's check whether the job is active.
fn is_active(server: &Server) -> bool {
    let job = server.get("mxjobs", "digits").unwrap();
    let roles = job["status"]["replicaStatuses"].as_object().unwrap();
    roles.values().any(|counts| counts["active"].as_u64().unwrap_or(0) != 0)
}

#[tokio::test]
async fn kueue_admits_evicts_and_admits_again() {
    let mut cluster = Cluster::new(Options::default());
    let server = cluster.server.clone();
    let running = || condition(&server, "digits", "Running")["status"].clone();
    submit(&cluster, true);
    cluster.condition("digits", "Suspended", "True").await;
    assert!(server.all("pods").is_empty() && server.all("services").is_empty());
    assert!(!is_active(&server));
    let mut places = Vec::new();
    for flavor in ["spot", "reserved"] {
        admit(&cluster, flavor);
        cluster.pods(4).await;
        assert_eq!(running(), if places.is_empty() { Value::Null } else { json!("False") });
        for pod in pods(&server) {
            let metadata = &pod["metadata"];
            let role = &metadata["labels"]["training.kubeflow.org/replica-type"];
            assert_eq!(&metadata["labels"]["kueue.x-k8s.io/podset"], role);
            let workload = &metadata["annotations"]["kueue.x-k8s.io/workload"];
            assert_eq!(*workload, format!("mxjob-digits-{flavor}"));
            let toleration = json!([{ "key": flavor, "operator": "Exists" }]);
            // The server adds those for a lost node.
            assert_eq!(pod["spec"]["tolerations"][0], toleration[0]);
        }
        places.extend(flavors(&server));
        cluster.condition("digits", "Suspended", "False").await;
        // Its pods are ready when the job is running.
        cluster.run_pods("");
        cluster.condition("digits", "Running", "True").await;
        assert!(is_active(&server));
        evict(&cluster);
        cluster.condition("digits", "Suspended", "True").await;
        assert_eq!(running(), "False");
        assert!(!is_active(&server));
        cluster.reap("").await;
        cluster.pods(0).await;
    }
    assert_eq!(places, [["spot"; 4], ["reserved"; 4]].concat());
    admit(&cluster, "spot");
    cluster.pods(4).await;
    cluster.run_pods("");
    cluster.condition("digits", "Running", "True").await;
    for pod in pods(&server) {
        cluster.phase(name(&pod), "Succeeded");
    }
    cluster.condition("digits", "Succeeded", "True").await;
    assert_eq!(running(), "False");
    cluster.stop().await;
}

#[tokio::test]
async fn pods_of_another_flavor_are_not_created_while_the_previous_ones_terminate() {
    let mut cluster = Cluster::new(Options::default());
    submit(&cluster, true);
    cluster.condition("digits", "Suspended", "True").await;
    admit(&cluster, "spot");
    cluster.pods(4).await;
    cluster.run_pods("");
    evict(&cluster);
    cluster.condition("digits", "Suspended", "True").await;
    admit(&cluster, "reserved");
    cluster.condition("digits", "Suspended", "False").await;
    assert_eq!(flavors(&cluster.server), ["spot"; 4]);
    cluster.reap("").await;
    let are_new = |server: &Server| flavors(server) == ["reserved"; 4];
    cluster.server.wait_for("the new pods", are_new).await;
    cluster.stop().await;
}

#[tokio::test]
async fn katib_and_argo_read_the_end_of_a_job() {
    for (code, end, other) in [(0, "Succeeded", "Failed"), (1, "Failed", "Succeeded")] {
        let mut cluster = Cluster::new(Options::default());
        let server = cluster.server.clone();
        submit(&cluster, false);
        cluster.pods(4).await;
        // Katib finds the pod whose log it reads by these.
        let worker = server.get("pods", "digits-worker-0").unwrap();
        assert_eq!(worker["metadata"]["labels"]["training.kubeflow.org/replica-type"], "worker");
        assert_eq!(worker["spec"]["containers"][0]["name"], "mxnet");
        cluster.run_pods("");
        cluster.condition("digits", "Running", "True").await;
        assert_eq!(condition(&server, "digits", "Created")["status"], "True");
        for pod in pods(&server) {
            cluster.end(name(&pod), code, "");
        }
        cluster.condition("digits", end, "True").await;
        assert_eq!(condition(&server, "digits", other), Value::Null);
        // Argo's `successCondition: status.replicaStatuses.Worker.succeeded == 2`, and
        // `failureCondition` likewise.
        let key = end.to_lowercase();
        let is_counted = |server: &Server| counts(server, "Worker")[&key] == 2;
        server.wait_for("the count", is_counted).await;
        let job = server.get("mxjobs", "digits").unwrap();
        assert_eq!(job["status"]["replicaStatuses"], job["status"]["mxReplicaStatuses"]);
        let last = job["status"]["conditions"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["type"], &last["status"]), (&json!(end), &json!("True")));
        assert_eq!(last["reason"], format!("MXJob{end}"));
        cluster.stop().await;
    }
}
