//! Jobs of simple commands, from `kubectl create` to their end.

use serde_json::{Value, json};

use crate::support::{Place, Server, Text as _, until, wait_until};

const PATH: &str = "/apis/kubeflow.org/v1/namespaces/default/mxjobs";

#[test]
fn job_runs_all_replicas_and_succeeds() {
    let place = Place::new();
    let server = Server::up(&place);
    // The replicas wait, because a very short job may never be observed as running.
    let print = format!(
        "echo \"$DMLC_ROLE $DMLC_NUM_SERVER $DMLC_NUM_WORKER $DMLC_PS_ROOT_URI\"; {}",
        until("go")
    );
    let worker = format!("{print}; echo \"id $DMLC_WORKER_ID\"; pwd");
    server.create(&place.job("simple", &print, &print, &worker));
    server.wait_for("simple", "Running");
    place.write("go", "");
    server.wait_for("simple", "Succeeded");
    assert_eq!(server.kubectl(&["logs", "simple-server-0"]), "server 1 2 simple-scheduler-0\n");
    // Pods without a working directory run in the one of the server.
    let here = place.path().canonicalize().unwrap();
    assert_eq!(
        server.kubectl(&["logs", "simple-worker-1"]),
        format!("worker 1 2 simple-scheduler-0\nid 1\n{}\n", here.display())
    );
    let job = server.get("mxjob", "simple");
    assert_eq!(job["status"]["replicaStatuses"]["Worker"], json!({"succeeded": 2}));
    let kinds: Vec<_> = job["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["type"].clone())
        .collect();
    assert_eq!(kinds, ["Created", "Running", "Succeeded"]);
    let events = server.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
    for reason in
        ["SuccessfulCreatePod", "SuccessfulCreateService", "MXJobRunning", "MXJobSucceeded"]
    {
        events.must_contain(reason);
    }
    // One for all services, and at most five for each pod and five for the job.
    let count = |reason: &str| events.split(' ').filter(|other| *other == reason).count();
    assert_eq!(count("SuccessfulCreateService"), 1, "{events}");
    assert_eq!(count("SuccessfulCreatePod"), 4, "{events}");
    assert!(events.split(' ').count() <= 4 * 5 + 5, "{events}");
    // The controller counts after the write of the status, which clients may see earlier.
    let counted =
        "training_operator_jobs_successful_total{job_namespace=\"default\",framework=\"mxnet\"} 1";
    wait_until("the success is counted", || {
        server.kubectl(&["get", "--raw", "/metrics"]).contains(counted).then_some(())
    });
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn failed_worker_fails_the_job_and_the_other_processes_are_stopped() {
    let place = Place::new();
    let server = Server::up(&place);
    let wait = "sleep 1000";
    let mut job = place.job(
        "failing",
        wait,
        wait,
        "[ $DMLC_WORKER_ID = 1 ] || sleep 1000; echo no data here; exit 3",
    );
    job["spec"]["cleanPodPolicy"] = json!("Running");
    server.create(&job);
    server.wait_for("failing", "Failed");
    let job = server.get("mxjob", "failing");
    let failed = &job["status"]["conditions"].as_array().unwrap().last().unwrap()["message"];
    let message = failed.as_str().unwrap();
    for part in ["worker-1", "exit code 3", "no data here"] {
        message.must_contain(part);
    }
    place.wait_until_only_the_server_runs(&server);
    wait_until("the running pods are removed", || {
        (server.kubectl(&["get", "pods", "-o", "name"]) == "pod/failing-worker-1\n").then_some(())
    });
}

#[test]
fn replicas_connect_by_name_while_two_jobs_use_the_same_port() {
    let place = Place::new();
    let server = Server::up(&place);
    // The scheduler listens at the port of ps-lite and sends its name. A worker connects to it by
    // the name in its environment.
    let listen = "exec python3 -c 'import os, socket\n\
        server = socket.create_server((\"0.0.0.0\", int(os.environ[\"DMLC_PS_ROOT_PORT\"])))\n\
        for _ in range(2):\n    peer = server.accept()[0]; peer.sendall(os.environ[\"DMLC_PS_ROOT_URI\"].encode()); peer.close()'";
    let ask = "exec python3 -c 'import os, socket, time\n\
        address = (os.environ[\"DMLC_PS_ROOT_URI\"], int(os.environ[\"DMLC_PS_ROOT_PORT\"]))\n\
        for _ in range(1500):\n    \
            try:\n        print(socket.create_connection(address).recv(99).decode()); break\n    \
            except OSError: time.sleep(0.02)\n\
        else: raise SystemExit(4)'";
    for name in ["one", "two"] {
        server.create(&place.job(name, listen, "true", ask));
    }
    for name in ["one", "two"] {
        server.wait_for(name, "Succeeded");
        for worker in 0..2 {
            let log = server.kubectl(&["logs", &format!("{name}-worker-{worker}")]);
            assert_eq!(log, format!("{name}-scheduler-0\n"));
        }
    }
}

#[test]
fn replace_changes_the_ttl_of_a_running_job_as_documented() {
    let place = Place::new();
    let server = Server::up(&place);
    let wait = until("go");
    let mut job = place.job("documented", &wait, &wait, &wait);
    job["spec"]["ttlSecondsAfterFinished"] = json!(3600);
    server.create(&job);
    server.wait_for("documented", "Running");
    let path = format!("{PATH}/documented");
    let put = |object: &Value| server.kubectl_with(&["replace", "--raw", &path, "-f", "-"], object);

    // Immutable fields: one cause for each, and nothing is written, not even the mutable fields.
    let before = server.get("mxjob", "documented");
    let mut changed = before.clone();
    changed["spec"]["ttlSecondsAfterFinished"] = json!(5);
    changed["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = json!(3);
    let rejected = put(&changed);
    assert_ne!(rejected.code(), Some(0));
    assert!(
        rejected.stderr.contains("spec.mxReplicaSpecs")
            && rejected.stderr.contains("ttlSecondsAfterFinished"),
        "{rejected:?}"
    );
    let spec = |object: &Value| object["spec"].clone();
    assert_eq!(spec(&server.get("mxjob", "documented")), spec(&before));

    // Mutable fields: everything else stays as it was written.
    let mut changed = server.get("mxjob", "documented");
    changed["spec"]["ttlSecondsAfterFinished"] = json!(0);
    changed["metadata"]["labels"] = json!({"team": "digits"});
    changed["metadata"]["annotations"] = json!({"note": "a test"});
    let answer = put(&changed);
    let answer: Value =
        serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    assert_eq!(answer["spec"], changed["spec"]);
    assert_eq!(answer["metadata"]["labels"]["team"], "digits");
    assert_eq!(answer["metadata"]["generation"], 2);
    assert_ne!(answer["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);

    // A stale object is a conflict.
    let stale = put(&before);
    assert!(stale.stderr.contains("the object has been modified"), "{stale:?}");

    // The new TTL takes effect: the job is deleted when it has finished.
    place.write("go", "");
    server.kubectl(&["wait", "mxjob/documented", "--for=delete", "--timeout=60s"]);
    wait_until("its pods and services are deleted", || {
        (server.kubectl(&["get", "pods,services", "-o", "name"]) == "service/kubernetes\n")
            .then_some(())
    });
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn deleting_a_job_ends_its_processes() {
    let place = Place::new();
    let server = Server::up(&place);
    server.create(&place.job("short-lived", "sleep 1000", "sleep 1000", "sleep 1000 & wait"));
    server.wait_for("short-lived", "Running");
    server.kubectl(&["delete", "mxjob", "short-lived"]);
    wait_until("its pods and services are deleted", || {
        (server.kubectl(&["get", "pods,services", "-o", "name"]) == "service/kubernetes\n")
            .then_some(())
    });
    place.wait_until_only_the_server_runs(&server);
}
