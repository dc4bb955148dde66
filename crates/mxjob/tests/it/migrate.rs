//! `mxjob migrate`: reports and adopts the jobs, pods and services of the Go operators.

mod definition;
mod files;
mod refused;

use serde_json::{Value, json};

use crate::support::{Done, Place, Server, Text as _, until};

/// The labels that each operator put on objects of a replica, and the counts that it wrote into a
/// job's status.
pub(super) struct Older {
    name: &'static str,
    labels: fn(&str, &str, &str) -> Value,
    counts: &'static str,
    nested: bool,
}

pub(super) const OLDER: [Older; 3] = [
    Older {
        name: "mxnet-operator 1.0",
        labels: |job, role, index| {
            json!({
                "group-name": "kubeflow.org", "mxnet-job-name": job,
                "mxnet-replica-type": role, "mxnet-replica-index": index,
            })
        },
        counts: "mxReplicaStatuses",
        nested: false,
    },
    Older {
        name: "mxnet-operator 1.1",
        labels: |job, role, index| json!({"group-name": "kubeflow.org", "job-name": job, "replica-type": role, "replica-index": index}),
        counts: "replicaStatuses",
        nested: false,
    },
    Older {
        name: "training-operator 1.8",
        labels: |job, role, index| {
            json!({
                "training.kubeflow.org/operator-name": "mxjob-controller",
                "training.kubeflow.org/job-name": job,
                "training.kubeflow.org/replica-type": role,
                "training.kubeflow.org/replica-index": index,
            })
        },
        counts: "replicaStatuses",
        nested: true,
    },
];

/// A job in the form of its operator.
fn job(place: &Place, older: &Older, name: &str) -> Value {
    let wait = until("go");
    let mut job = place.job(name, &wait, &wait, &wait);
    let spec = job["spec"].as_object_mut().unwrap();
    let policy = json!({"cleanPodPolicy": spec.remove("cleanPodPolicy").unwrap()});
    match older.nested {
        true => job["spec"]["runPolicy"] = policy,
        false => job["spec"]["cleanPodPolicy"] = policy["cleanPodPolicy"].clone(),
    }
    job["spec"]["jobMode"] = "MXTrain".into();
    job
}

/// Creates a running job of an older operator with its pods and services.
fn create_job_of(place: &Place, server: &Server<'_>, older: &Older, name: &str) {
    let job = job(place, older, name);
    server.create(&job);
    let uid = server.get("mxjob", name)["metadata"]["uid"].clone();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": format!("MXJob{kind}"), "message": "m", "lastTransitionTime": "2024-09-10T08:00:00Z"});
    let status = json!({"status": {
        "conditions": [condition("Created"), condition("Running")], "startTime": "2024-09-10T08:00:00Z",
        (older.counts): {"Scheduler": {"active": 1}, "Server": {"active": 1}, "Worker": {"active": 2}},
    }});
    server.kubectl(&[
        "patch",
        "mxjob",
        name,
        "--subresource",
        "status",
        "--type",
        "merge",
        "-p",
        &status.to_string(),
    ]);
    for (role, key, count) in
        [("scheduler", "Scheduler", 1), ("server", "Server", 1), ("worker", "Worker", 2)]
    {
        for index in 0..count {
            let labels = (older.labels)(name, role, &index.to_string());
            let meta = json!({
                "name": format!("{name}-{role}-{index}"), "labels": labels,
                "ownerReferences": [{
                    "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "name": name, "uid": uid,
                    "controller": true, "blockOwnerDeletion": true,
                }],
            });
            let template = &job["spec"]["mxReplicaSpecs"][key]["template"]["spec"];
            let mut spec = template.clone();
            spec["restartPolicy"] = "Never".into();
            server.create(
                &json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}),
            );
            let spec = json!({"clusterIP": "None", "selector": labels, "ports": [{"name": "mxjob-port", "port": 9091}]});
            server.create(
                &json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}),
            );
        }
    }
}

fn migrate(place: &Place, args: &[&str]) -> Done {
    let kubeconfig = place.data().join("kubeconfig").display().to_string();
    place.mxjob(&[&["migrate", "--kubeconfig", &kubeconfig], args].concat())
}

fn uids(server: &Server<'_>) -> String {
    server.kubectl(&[
        "get",
        "pods",
        "--sort-by",
        ".metadata.name",
        "-o",
        "custom-columns=A:.metadata.name,B:.metadata.uid",
    ])
}

#[test]
fn running_jobs_of_every_operator_are_adopted_without_a_restart() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let names = ["first", "second", "third"];
    for (older, name) in OLDER.iter().zip(names) {
        create_job_of(&place, &server, older, name);
    }
    let before = uids(&server);
    let done = migrate(&place, &[]);
    for (older, name) in OLDER.iter().zip(names) {
        let line = format!("default/{name}  Running  {}\n", older.name);
        assert!(done.stdout.contains(&line), "{line}: {}", done.stdout);
    }
    done.stderr.must_contain("mxjob: 3 jobs, 3 of older operators (3 unfinished)");
    assert!(
        done.stderr.contains(
            "; nothing was changed; `mxjob migrate --apply` adopts the running jobs (27 patches)"
        ),
        "{}",
        done.stderr
    );
    assert!(
        server.get("pod", "first-worker-0")["metadata"]["labels"]
            .get("training.kubeflow.org/job-name")
            .is_none()
    );

    let done = migrate(&place, &["--apply"]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert!(
        done.stderr.contains("adopted 3 jobs with 27 patches; now start the operator"),
        "{}",
        done.stderr
    );
    // Again: nothing is left to patch.
    let again = migrate(&place, &["--apply"]);
    again.stderr.must_contain("adopted 0 jobs with 0 patches");
    let service = server.get("service", "first-worker-0");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    assert_eq!(service["spec"]["selector"]["training.kubeflow.org/job-name"], "first");
    assert!(server.terminate().0.success());

    // The controller adopts the pods, and the node agent runs them.
    let server = Server::up(&place);
    for name in names {
        server.kubectl(&[
            "wait",
            "pod",
            &format!("{name}-worker-1"),
            "--for=jsonpath={.status.phase}=Running",
            "--timeout=60s",
        ]);
    }
    place.write("go", "");
    for name in names {
        server.wait_for(name, "Succeeded");
        let status = &server.get("mxjob", name)["status"];
        assert_eq!(status["mxReplicaStatuses"], status["replicaStatuses"], "{status}");
    }
    assert_eq!(uids(&server), before);
    let events = server.kubectl(&["get", "events", "-o", "custom-columns=A:.reason"]);
    assert!(!events.contains("CreatePod") && !events.contains("MXJobRestarting"), "{events}");
}

#[test]
fn nothing_is_adopted_while_an_older_operator_runs() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    create_job_of(&place, &server, &OLDER[2], "digits");
    server.kubectl(&["create", "namespace", "kubeflow"]);
    let operator = |replicas: u32| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "training-operator", "namespace": "kubeflow"},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                    {"name": "training-operator", "image": "kubeflow/training-operator:v1-855e096", "command": ["/manager"]},
                ]}},
            },
        })
    };
    server.create(&operator(1));
    let done = migrate(&place, &[]);
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    done.stdout.must_contain("danger  Deployment training-operator in namespace kubeflow (kubeflow/training-operator:v1-855e096) manages MXJobs");
    let refused = migrate(&place, &["--apply"]);
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    assert_eq!(
        refused.stderr,
        "mxjob: nothing was adopted, because Deployment training-operator in namespace kubeflow still runs; --force adopts the jobs anyway\n"
    );
    let label = |server: &Server<'_>| {
        server.get("pod", "digits-worker-0")["metadata"]["labels"].get("mxnet-job-name").cloned()
    };
    assert_eq!(label(&server), None);
    // Our own operator must not run yet, either.
    let mut ours = operator(2);
    ours["metadata"]["name"] = "mxjob-operator".into();
    ours["spec"]["template"]["spec"]["containers"][0]["image"] = "mxjob:1".into();
    server.create(&ours);
    let done = migrate(&place, &[]);
    let want = "danger  Deployment mxjob-operator in namespace kubeflow is already running";
    done.stdout.must_contain(want);
    server.kubectl(&[
        "-n",
        "kubeflow",
        "delete",
        "deployment",
        "training-operator",
        "--wait=false",
    ]);
    server.create(&{
        let mut stopped = operator(0);
        stopped["metadata"]["name"] = "stopped-training-operator".into();
        stopped
    });
    let refused = migrate(&place, &["--apply"]);
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    let want = "mxjob: nothing was adopted, because Deployment mxjob-operator in namespace kubeflow is already running and may be restarting jobs";
    refused.stderr.must_start_with(want);
    assert_eq!(label(&server), None);
    let done = migrate(&place, &["--apply", "--force", "-n", "default"]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(label(&server), Some("digits".into()));
    // It may run once the jobs are adopted.
    assert!(!migrate(&place, &[]).stdout.contains("mxjob-operator"));
    let again = migrate(&place, &["--apply"]);
    assert_eq!(again.code(), Some(0), "{}", again.stderr);
}

#[test]
fn programs_read_the_report_as_json() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    create_job_of(&place, &server, &OLDER[0], "digits");
    let done = migrate(&place, &["-o", "json"]);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    let job = &report["jobs"][0];
    assert_eq!(
        (&job["name"], &job["operator"], &job["state"]),
        (&"digits".into(), &"mxnet-operator 1.0".into(), &"Running".into())
    );
    assert_eq!(job["patches"].as_array().unwrap().len(), 9);
    assert_eq!(job["patches"][0]["target"], "Pod");
    assert!(job["findings"].as_array().unwrap().iter().all(|finding| finding["text"].is_string()));
}

#[test]
fn cluster_without_jobs_has_an_empty_report() {
    let place = Place::new();
    let _server = Server::start(&place, "apiserver", &[]);
    let done = migrate(&place, &[]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(done.stderr, "mxjob: no MXJobs found; nothing was changed\n");
}

#[test]
fn forbidden_resources_are_named_and_prevent_adoption() {
    let place = Place::new();
    let tokens = place.write("tokens.csv", "secret-of-ann,ann,1\n");
    let server = Server::start(&place, "apiserver", &["--token-file", &tokens]);
    create_job_of(&place, &server, &OLDER[1], "digits");
    server.kubectl(&["create", "rolebinding", "ann", "--clusterrole", "edit", "--user", "ann"]);
    let ann = crate::submit::access::kubeconfig(&place, Some("secret-of-ann"), "default");
    let done = place.mxjob(&["migrate", "--kubeconfig", &ann, "-n", "default"]);
    done.stdout.must_contain(
        "note    Cannot read Deployments, to find older operators: deployments.apps is forbidden",
    );
    // An older operator may run without being visible.
    let apply = ["migrate", "--kubeconfig", &ann, "-n", "default", "--apply"];
    let refused = place.mxjob(&apply);
    assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
    for want in [
        "mxjob: nothing was adopted, because it is not known whether",
        "this requires the right to get customresourcedefinitions.apiextensions.k8s.io",
        "this requires the right to list deployments.apps in all namespaces",
    ] {
        refused.stderr.must_contain(want);
    }
    let label = || {
        server.get("pod", "digits-worker-0")["metadata"]["labels"].get("mxnet-job-name").cloned()
    };
    assert_eq!(label(), None);
    let forced = place.mxjob(&[&apply[..], &["--force"]].concat());
    assert_eq!(label(), Some("digits".into()), "{}", forced.stderr);
    let all = place.mxjob(&["migrate", "--kubeconfig", &ann]);
    assert_eq!(all.code(), Some(3), "{}", all.stderr);
    all.stderr.must_contain("cannot list resource \"mxjobs\"");
}
