//! Limits of memory, CPU and processes, with real cgroups. Everything that these tests start is
//! bounded by itself, too.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mxjob_node::{
    runtime::{Command, IsolationMode, Sandbox},
    state::{ExitReason, Groups, PodRecord, ResourceLimits},
};
use serde_json::json;

use crate::{
    node::{Node, address, block_on, eventually, lines, log, run, shell, start},
    site::{Site, block_on as block_on_all, terminated},
};

crate::tests!("limits":
    a_memory_eater_is_killed_at_its_limit_and_the_reason_is_named,
    a_pod_of_the_api_is_killed_at_its_memory_limit,
    the_processes_of_a_pod_are_limited,
    a_cpu_quota_is_enforced,
    the_cgroups_of_a_removed_pod_are_removed,
    cgroups_of_pods_without_a_record_are_swept,
    a_node_says_whether_limits_are_enforced,
);

const MIB: u64 = 1 << 20;

/// Uses 300 MB of memory in one process, and no more.
const EATER: &str = "exec dd if=/dev/zero of=/dev/null bs=300M count=1";

/// The folder of a controller; `None`, with a message, where this machine has none.
fn folder(groups: &Groups, controller: &str) -> Option<PathBuf> {
    let groups = serde_json::to_value(groups).unwrap();
    let found = groups[controller]["folder"].as_str().map(PathBuf::from);
    if found.is_none() {
        println!("skipped: the {controller} controller cannot be used here");
    }
    found
}

fn pod(node: &Node, name: &str, limits: ResourceLimits) -> Sandbox {
    let record = PodRecord { limits, ..node.record(name, address()) };
    node.runtime().prepare(record, "127.0.0.1 localhost\n").unwrap()
}

fn limited(script: &str, limits: ResourceLimits) -> Command {
    Command { limits, ..shell(script) }
}

fn a_memory_eater_is_killed_at_its_limit_and_the_reason_is_named() {
    let node = Node::new(IsolationMode::Auto);
    for (name, limit, reason, code) in
        [("small", 64, ExitReason::OOMKilled, 137), ("large", 600, ExitReason::Completed, 0)]
    {
        let pod = pod(&node, name, ResourceLimits::default());
        if folder(&pod.record().groups, "memory").is_none() {
            return;
        }
        let limits = ResourceLimits { memory: Some(limit * MIB), ..ResourceLimits::default() };
        let exit = run(&pod, limited(EATER, limits));
        assert_eq!((exit.reason, exit.exit_code()), (reason, Some(code)), "{name}");
    }
}

fn a_pod_of_the_api_is_killed_at_its_memory_limit() {
    block_on_all(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.enforces_limits() {
            return;
        }
        site.create(
            "eater",
            json!({ "restartPolicy": "Never", "containers": [{
                "name": "mxnet", "image": "any", "command": ["sh", "-c", EATER],
                "resources": { "limits": { "memory": "64Mi", "cpu": "1" } },
            }] }),
        );
        let pod = site.phase("eater", "Failed").await;
        let end = terminated(&pod);
        assert_eq!((&end["reason"], &end["exitCode"]), (&json!("OOMKilled"), &json!(137)));
    });
}

fn the_processes_of_a_pod_are_limited() {
    let node = Node::new(IsolationMode::Auto);
    let limits = ResourceLimits { pids: Some(20), ..ResourceLimits::default() };
    let pod = pod(&node, "forks", limits);
    if folder(&pod.record().groups, "pids").is_none() {
        return;
    }
    let exit = run(&pod, shell("for i in $(seq 60); do sleep 5 & done; echo all"));
    assert!(!exit.succeeded() && !lines(&pod).contains(&"all".to_owned()), "{}", log(&pod));
    assert!(log(&pod).contains("fork"), "{}", log(&pod));
}

fn a_cpu_quota_is_enforced() {
    let node = Node::new(IsolationMode::Auto);
    let pod = pod(&node, "busy", ResourceLimits::of_amounts(10, 10, 0));
    let limits = ResourceLimits::of_amounts(10, 10, 0);
    block_on(async {
        // Ends by itself after some seconds of CPU time.
        let script = "i=0; while [ $i -lt 5000000 ]; do i=$((i+1)); done";
        let running = start(&pod, limited(script, limits));
        let groups = running.dir().spec().unwrap().groups;
        if let Some(folder) = folder(&groups, "cpu") {
            eventually("a period without CPU time", || {
                let stat = fs::read_to_string(folder.join("cpu.stat")).unwrap();
                (count(&stat, "nr_throttled") > 0).then_some(())
            });
        }
        running.terminate(0).unwrap();
        running.wait().await.unwrap();
    });
}

fn the_cgroups_of_a_removed_pod_are_removed() {
    let node = Node::new(IsolationMode::Auto);
    let pod = pod(&node, "gone", ResourceLimits::of_amounts(100, 500, 1 << 27));
    let folders: Vec<PathBuf> = ["cpu", "memory", "pids"]
        .iter()
        .filter_map(|controller| folder(&pod.record().groups, controller))
        .collect();
    block_on(async {
        drop(start(&pod, limited("sleep 1000", ResourceLimits::of_amounts(100, 500, 1 << 27))));
    });
    assert!(folders.iter().all(|folder| folder.join("main.0").exists()));
    pod.remove().unwrap();
    assert!(!folders.iter().any(|folder| folder.exists()));
}

fn cgroups_of_pods_without_a_record_are_swept() {
    let mut node = Node::new(IsolationMode::Auto);
    let pod = pod(&node, "known", ResourceLimits::default());
    let groups = pod.record().groups.clone();
    // An agent that is killed before it has recorded the pod leaves these.
    let left: Vec<PathBuf> = ["cpu", "memory", "pids"]
        .iter()
        .filter_map(|controller| folder(&groups, controller))
        .map(|folder| folder.with_file_name("left"))
        .collect();
    for folder in &left {
        fs::create_dir_all(folder.join("main.0")).unwrap();
    }
    drop(pod);
    node.restart();
    assert!(!left.iter().any(|folder| folder.exists()));
    let known = folder(&groups, "cpu");
    assert!(known.is_none_or(|folder| Path::new(&folder).exists()));
}

fn a_node_says_whether_limits_are_enforced() {
    block_on_all(async {
        for (mode, status) in [(IsolationMode::Auto, "True"), (IsolationMode::Plain, "False")] {
            let site = Site::new(mode);
            if mode == IsolationMode::Auto && !site.enforces_limits() {
                continue;
            }
            let says = |node: &serde_json::Value| {
                let conditions = node["status"]["conditions"].as_array()?;
                let found =
                    conditions.iter().find(|one| one["type"] == "ResourceLimitsEnforced")?;
                Some(found["status"].clone())
            };
            let node = || site.server.get("nodes", crate::site::NODE);
            site.server
                .wait_for("the node's conditions", |_| node().as_ref().and_then(says).is_some())
                .await;
            assert_eq!(node().as_ref().and_then(says), Some(json!(status)));
        }
    });
}

/// The number of a key in lines `key number`.
fn count(text: &str, key: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    found.unwrap_or_default()
}
