//! Jobs that are larger than a job may be, on a cluster that stored them all the same: it has no
//! webhook, and had another definition.

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::cluster::{Cluster, job};
use super::history::{Wait as _, kind};
use super::nodes::{Behavior, End};
use crate::support::{Place, Server};

/// Ours.
const DEFINITION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/mxjobs.kubeflow.org.yaml");
/// What the operator may have taken at its peak, in KiB. It takes about 30 MiB without any job.
const MOST_MEMORY: u64 = 256 * 1024;

fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("x-kubernetes-validations");
            members.values_mut().for_each(without_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(without_rules),
        _ => {}
    }
}

fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_too_large_is_refused_and_stops_no_other_job() {
    const JOBS: [&str; 3] = ["new", "begun", "held"];
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &["--builtin-mxjobs=false"]);
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", DEFINITION];
    server.kubectl(&apply);
    server.kubectl(&["wait", "--for=condition=Established", "crd/mxjobs.kubeflow.org"]);
    let cluster = Cluster::of(&place, server, |_| Behavior::default()).await;

    let mut large = job("new", &[("Worker", 2_147_483_647)]);
    let refused = cluster.server().kubectl_with(&["create", "-f", "-"], &large);
    assert!(
        refused.stderr.contains("a job has at most 10000 replicas in all"),
        "{}",
        refused.stderr
    );

    let mut definition = cluster.server().get("crd", "mxjobs.kubeflow.org");
    without_rules(&mut definition["spec"]);
    let loosened = cluster.server().kubectl_with(&["replace", "-f", "-"], &definition);
    assert!(loosened.status.success(), "{}", loosened.stderr);
    for name in JOBS {
        large["metadata"]["name"] = name.into();
        large["spec"]["suspend"] = (name == "held").into();
        cluster.create(&large).await;
    }
    cluster.server().kubectl(&apply);
    let jobs: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), "default", &kind("mxjobs"));
    let begun = json!({ "status": {
        "conditions": [{ "type": "Created", "status": "True", "reason": "MXJobCreated", "message": "" }],
        "completedIndexes": { "Worker": "0-2147483647" },
    } });
    jobs.patch_status("begun", &PatchParams::default(), &Patch::Merge(&begun)).await.unwrap();

    let mut operator = cluster.operator("operator").await;
    for name in JOBS {
        cluster.history.wait_for_state(name, "Failed");
        let state = cluster.history.last_condition(name).unwrap();
        assert_eq!(state["reason"], "MXJobFailedValidation", "{name}: {state}");
        assert!(state["message"].as_str().unwrap().contains("10000"), "{name}: {state}");
        assert!(cluster.history.of_job(name, "pods").is_empty(), "{name}");
    }
    cluster.submit("digits", &json!({})).await;
    cluster.history.wait_for_state("digits", "Running");

    // So it is after a restart, when all of them are finished.
    operator.kill();
    let operator = cluster.operator("other").await;
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        cluster.nodes.end(&format!("digits-{replica}"), End::Code(0));
    }
    cluster.history.wait_for_state("digits", "Succeeded");
    // And what may be changed of them can be.
    cluster.change("begun", &json!({ "ttlSecondsAfterFinished": 0 })).await;
    cluster
        .history
        .wait_until("the job is deleted", |history| history.get("mxjobs", "begun").is_none());
    let memory = peak_memory(operator.id());
    assert!(memory < MOST_MEMORY, "{memory} KiB");
}
