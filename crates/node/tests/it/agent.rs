//! The whole agent with real processes, against the API server in process.

use mxjob_node::runtime::IsolationMode;
use mxjob_testkit::Server;
use serde_json::{Value, json};

use crate::{
    node::lives,
    site::{NODE, Site, block_on, folders_removed, pid_of, shell, terminated},
};

crate::tests!("agent":
    the_node_is_registered,
    a_pod_is_bound_run_and_reported,
    a_failed_container_reports_its_code_and_last_line,
    replicas_find_each_other_by_name,
    a_deleted_pod_is_terminated_and_removed,
    a_force_deleted_pod_is_killed,
    init_containers_run_first_and_in_order,
    a_container_is_restarted_in_place,
    running_pods_outlive_the_agent,
    a_container_without_a_command_fails_with_a_warning,
    a_container_waits_for_a_missing_config_map,
    unsupported_fields_fail_the_pod_with_a_reason,
    a_pod_that_does_not_fit_is_unschedulable_with_a_reason,
    without_isolation_the_scheduler_has_a_numeric_address,
);

fn the_node_is_registered() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let has_reported = |server: &Server| {
            let node = server.get("nodes", NODE);
            node.is_some_and(|node| !node["status"]["conditions"].is_null())
        };
        site.server.wait_for("the node", has_reported).await;
        let node = site.server.get("nodes", NODE).unwrap();
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/os"], "linux");
        assert_eq!(node["status"]["conditions"][0]["type"], "Ready");
        assert!(node["status"]["capacity"]["memory"].as_str().unwrap().ends_with("Ki"));
        let find = |server: &Server| server.get_in("leases", "kube-node-lease", NODE);
        site.server.wait_for("its lease", |server| find(server).is_some()).await;
        let lease = find(&site.server).unwrap();
        assert_eq!(lease["spec"]["holderIdentity"], "node-1");
    });
}

fn a_pod_is_bound_run_and_reported() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let name = site.create("p", shell("echo hello; exit 0"));
        let pod = site.phase(&name, "Succeeded").await;
        assert_eq!(pod["spec"]["nodeName"], "node-1");
        assert!(pod["status"]["podIP"].as_str().unwrap().starts_with("127."));
        assert_eq!(terminated(&pod)["reason"], "Completed");
        assert_eq!(terminated(&pod)["exitCode"], 0);
        assert_eq!(site.log("p").await, "hello\n");
        site.event("Scheduled").await;
        assert_eq!(site.event("Started").await["involvedObject"]["name"], "p");
    });
}

fn a_failed_container_reports_its_code_and_last_line() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let pod = site.phase(&site.create("p", shell("echo no data >&2; exit 3")), "Failed").await;
        assert_eq!(
            (&terminated(&pod)["exitCode"], &terminated(&pod)["message"]),
            (&json!(3), &json!("no data"))
        );
        let pod = site.phase(&site.create("q", shell("kill -9 $$")), "Failed").await;
        assert_eq!(
            (&terminated(&pod)["exitCode"], &terminated(&pod)["signal"]),
            (&json!(137), &json!(9))
        );
        let mut spec = shell("");
        spec["containers"][0]["command"] = json!(["no-such-program"]);
        let pod = site.phase(&site.create("r", spec), "Failed").await;
        assert_eq!(
            (&terminated(&pod)["exitCode"], &terminated(&pod)["reason"]),
            (&json!(127), &json!("StartError"))
        );
        site.event("Failed").await;
    });
}

fn replicas_find_each_other_by_name() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        // The worker starts before the scheduler's pod and service exist.
        let config = r#"{"cluster":{"scheduler":[{"url":"j-scheduler-0","port":9091}]}}"#;
        let mut worker = shell(
            "getent hosts j-scheduler-0 | cut -d' ' -f1; getent hosts j-scheduler-0.default.svc >/dev/null && echo long; echo $DMLC_NODE_HOST",
        );
        worker["containers"][0]["env"] = json!([{ "name": "MX_CONFIG", "value": config }, { "name": "DMLC_ROLE", "value": "worker" }]);
        let labels = json!({ "replica": "w" });
        let name = site.create_owned("j-worker-0", Some("job"), labels, worker);
        let pod = site.phase(&name, "Succeeded").await;
        let scheduler = site.create_owned("j-scheduler-0", Some("job"), json!({}), shell("true"));
        let scheduler = site.phase(&scheduler, "Succeeded").await;
        let log = site.log("j-worker-0").await;
        let ip = |pod: &Value| pod["status"]["podIP"].as_str().unwrap().to_owned();
        assert_eq!(log, format!("{}\nlong\n{}\n", ip(&scheduler), ip(&pod)));

        // A running program can resolve a service that is created later.
        site.create("late", shell("until getent hosts svc; do sleep 0.01; done"));
        let spec = json!({ "selector": { "replica": "w" }, "ports": [{ "port": 80 }] });
        site.server.create("services", &json!({ "metadata": { "name": "svc" }, "spec": spec }));
        site.phase("late", "Succeeded").await;
        assert!(site.log("late").await.starts_with(&ip(&pod)));
    });
}

fn a_deleted_pod_is_terminated_and_removed() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let name =
            site.create("p", shell("trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done"));
        let pid = pid_of(&site, "p").await;
        site.delete(&name, 30);
        site.gone(&name).await;
        assert!(!lives(pid));
        site.event("Killing").await;
        // A finished pod is removed without a signal.
        let name = site.create("q", shell("true"));
        site.phase(&name, "Succeeded").await;
        site.delete(&name, 30);
        site.gone(&name).await;
        folders_removed(&site).await;
    });
}

fn a_force_deleted_pod_is_killed() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let name = site.create("p", shell("trap '' TERM; echo $$; while :; do sleep 1000; done"));
        let pid = pid_of(&site, "p").await;
        site.delete(&name, 0);
        folders_removed(&site).await;
        assert!(!lives(pid));
    });
}

fn init_containers_run_first_and_in_order() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("order");
        let step = |word: &str| json!(["sh", "-c", format!("echo {word} >> {}", file.display())]);
        let spec = json!({
            "restartPolicy": "Never",
            "initContainers": [
                { "name": "i1", "image": "any", "command": step("one") },
                { "name": "i2", "image": "any", "command": step("two") },
            ],
            "containers": [{ "name": "mxnet", "image": "any", "command": step("main") }],
        });
        let pod = site.phase(&site.create("p", spec), "Succeeded").await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\ntwo\nmain\n");
        assert_eq!(pod["status"]["initContainerStatuses"][1]["ready"], true);
        let mut spec = shell("true");
        spec["initContainers"] = json!([{ "name": "i1", "image": "any", "command": ["false"] }]);
        let pod = site.phase(&site.create("q", spec), "Failed").await;
        assert!(pod["status"]["containerStatuses"][0]["state"]["waiting"].is_object());
    });
}

fn a_container_is_restarted_in_place() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("tried");
        let mut spec = shell(&format!(
            "[ -e {0} ] && echo again || {{ touch {0}; echo first; exit 1; }}",
            file.display()
        ));
        spec["restartPolicy"] = "OnFailure".into();
        let name = site.create("p", spec);
        let waiting = site
            .until(&name, |pod| {
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                    == "CrashLoopBackOff"
            })
            .await;
        assert_eq!(waiting["status"]["phase"], "Running");
        let pod = site.phase(&name, "Succeeded").await;
        let container = &pod["status"]["containerStatuses"][0];
        assert_eq!(container["restartCount"], 1);
        assert_eq!(container["lastState"]["terminated"]["exitCode"], 1);
        assert_eq!(site.log("p").await, "again\n");
        site.event("BackOff").await;
    });
}

fn running_pods_outlive_the_agent() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        let go = site.dir.path().join("go");
        let wait = |code: i32| {
            shell(&format!(
                "echo $$; until [ -e {} ]; do sleep 0.01; done; exit {code}",
                go.display()
            ))
        };
        let (running, ending) = (
            site.create("running", shell("echo $$; exec sleep 1000")),
            site.create("ending", wait(7)),
        );
        let pid = pid_of(&site, "running").await;
        pid_of(&site, "ending").await;
        let before = site.pod(&running);
        site.stop().await;
        assert!(lives(pid));
        std::fs::write(&go, "").unwrap();
        site.start();
        let pod = site.phase(&ending, "Failed").await;
        assert_eq!(terminated(&pod)["exitCode"], 7);
        assert!(lives(pid));
        let after = site.pod(&running);
        assert_eq!(before, after, "the status does not change");
        // The new agent can end it.
        site.delete(&running, 30);
        site.gone(&running).await;
        assert!(!lives(pid));
        // A pod that was deleted without an agent is removed at the next start.
        site.stop().await;
        site.delete(&ending, 0);
        site.start();
        folders_removed(&site).await;
    });
}

fn a_container_without_a_command_fails_with_a_warning() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let spec = json!({ "restartPolicy": "Never", "containers": [{ "name": "mxnet", "image": "training:1" }] });
        let name = site.create_owned("p", Some("job"), json!({}), spec);
        let pod = site.phase(&name, "Failed").await;
        assert_eq!(pod["status"]["reason"], "ImageNotUsed");
        let event = site.event("ImageNotUsed").await;
        assert_eq!(event["type"], "Warning");
        let is_on_job = |event: &Value| {
            event["reason"] == "ImageNotUsed" && event["involvedObject"]["kind"] == "MXJob"
        };
        let is_reported = |server: &Server| server.all("events").iter().any(is_on_job);
        site.server.wait_for("the event on the job", is_reported).await;
    });
}

fn a_container_waits_for_a_missing_config_map() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("echo $WORD");
        spec["containers"][0]["env"] = json!([
            { "name": "WORD", "valueFrom": { "configMapKeyRef": { "name": "words", "key": "one" } } },
        ]);
        let name = site.create("p", spec);
        let pod = site
            .until(&name, |pod| {
                pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
                    == "CreateContainerConfigError"
            })
            .await;
        assert_eq!(pod["status"]["phase"], "Pending");
        site.create_config_map("words", json!({ "one": "1" }));
        site.phase(&name, "Succeeded").await;
        assert_eq!(site.log("p").await, "1\n");
    });
}

fn unsupported_fields_fail_the_pod_with_a_reason() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("true");
        spec["volumes"] = json!([{ "name": "v", "nfs": { "server": "s", "path": "/p" } }]);
        spec["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/srv" }]);
        let pod = site.phase(&site.create("p", spec), "Failed").await;
        assert!(
            terminated(&pod)["message"].as_str().unwrap().contains("spec.volumes[0].nfs"),
            "{pod}"
        );
        assert_eq!(site.event("InvalidPodSpec").await["type"], "Warning");
        let mut spec = shell("true");
        spec["nodeSelector"] = json!({ "gpu": "yes" });
        let name = site.create("q", spec);
        let event = site.event("FailedScheduling").await;
        assert!(event["message"].as_str().unwrap().contains("gpu=yes"));
        assert_eq!(site.pod(&name)["spec"].get("nodeName"), None);
    });
}

fn a_pod_that_does_not_fit_is_unschedulable_with_a_reason() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let chips = |count: u32| {
            let mut spec = shell("sleep 1000");
            spec["containers"][0]["resources"] =
                json!({ "limits": { "example.com/chip": count.to_string() } });
            spec["terminationGracePeriodSeconds"] = json!(0);
            spec
        };
        let first = site.create("first", chips(2));
        site.phase(&first, "Running").await;
        let second = site.create("second", chips(1));
        let is_scheduled = |pod: &Value| pod["status"]["conditions"].is_array();
        let pod = site.until(&second, is_scheduled).await;
        let scheduled = &pod["status"]["conditions"][0];
        let expect = "0/1 nodes are available: 1 Insufficient example.com/chip.";
        assert_eq!(scheduled["message"], expect);
        assert_eq!(
            (&scheduled["type"], &scheduled["status"], &scheduled["reason"]),
            (&json!("PodScheduled"), &json!("False"), &json!("Unschedulable"))
        );
        assert_eq!(site.event("FailedScheduling").await["message"], expect);
        let small = site.create("small", shell("true"));
        site.phase(&small, "Succeeded").await;
        let node = site.server.get("nodes", NODE).unwrap();
        assert_eq!(node["status"]["allocatable"]["example.com/chip"], "2");
        site.delete(&first, 1);
        site.phase(&second, "Running").await;
        site.delete(&second, 1);
    });
}

fn without_isolation_the_scheduler_has_a_numeric_address() {
    block_on(async {
        let site = Site::new(IsolationMode::Plain);
        let config = r#"{"cluster":{"scheduler":[{"url":"j-scheduler-0","port":9091}]}}"#;
        let mut spec = shell(
            "echo $DMLC_PS_ROOT_URI; echo ${DMLC_USE_KUBERNETES-unset}; echo $DMLC_NODE_HOST",
        );
        spec["containers"][0]["env"] = json!([
            { "name": "MX_CONFIG", "value": config },
            { "name": "DMLC_PS_ROOT_URI", "value": "j-scheduler-0" },
            { "name": "DMLC_ROLE", "value": "scheduler" },
            { "name": "DMLC_USE_KUBERNETES", "value": "1" },
        ]);
        let name = site.create_owned("j-scheduler-0", Some("job"), json!({}), spec);
        let pod = site.phase(&name, "Succeeded").await;
        let ip = pod["status"]["podIP"].as_str().unwrap();
        assert_eq!(site.log("j-scheduler-0").await, format!("{ip}\nunset\n{ip}\n"));
        assert_eq!(site.event("SharedNetwork").await["involvedObject"]["kind"], "Node");
    });
}
