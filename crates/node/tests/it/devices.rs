//! GPUs that are handed out, and where pods are placed.

use std::collections::BTreeMap;

use mxjob_node::{agent::DeviceSource, runtime::IsolationMode};
use serde_json::{Value, json};

use crate::site::{Site, block_on};

crate::tests!("devices":
    each_pod_gets_its_own_gpu_also_after_a_restart_of_the_agent,
    required_node_affinity_decides,
    a_pod_of_another_scheduler_is_left_alone,
    ephemeral_storage_can_be_requested,
    the_use_of_running_pods_is_measured,
);

const GPU: &str = "nvidia.com/gpu";

/// GPUs that this machine does not have.
#[derive(Debug)]
pub(crate) struct Gpus(pub(crate) usize);

impl DeviceSource for Gpus {
    fn find(&self) -> BTreeMap<String, Vec<String>> {
        [(GPU.to_owned(), (0..self.0).map(|index| format!("GPU-{index}")).collect())].into()
    }
}

fn pod(script: &str, gpus: u32) -> Value {
    json!({ "restartPolicy": "Never", "containers": [{
        "name": "mxnet", "image": "any", "command": ["sh", "-c", script],
        "resources": { "limits": if gpus > 0 { json!({ GPU: gpus }) } else { json!({}) } },
    }] })
}

/// The devices of a running pod, in its status.
fn devices(pod: &Value) -> Vec<String> {
    let resources = &pod["status"]["containerStatuses"][0]["allocatedResourcesStatus"][0];
    let of_gpus = resources["resources"].as_array().into_iter().flatten();
    of_gpus.map(|one| one["resourceID"].as_str().unwrap().to_owned()).collect()
}

fn each_pod_gets_its_own_gpu_also_after_a_restart_of_the_agent() {
    const SHOW: &str = "echo \"[$CUDA_VISIBLE_DEVICES]\"";
    block_on(async {
        let mut site = Site::with_gpus(IsolationMode::Auto, 2);
        let long = format!("{SHOW}; exec sleep 1000");
        for name in ["a", "b"] {
            site.create(name, pod(&long, 1));
        }
        let mut all = Vec::new();
        for name in ["a", "b"] {
            all.extend(devices(&site.phase(name, "Running").await));
        }
        all.sort();
        assert_eq!(all, ["GPU-0", "GPU-1"]);
        let of_a = devices(&site.pod("a"));
        site.create("none", pod(SHOW, 0));
        site.phase("none", "Succeeded").await;
        assert_eq!(site.log("none").await, "[]\n", "what requests none sees none");

        site.stop().await;
        site.start();
        site.create("c", pod(SHOW, 1));
        let waits = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|one| {
                one["message"].as_str().is_some_and(|text| text.contains("Insufficient nvidia"))
            })
        };
        site.until("c", waits).await;
        site.delete("a", 0);
        site.phase("c", "Succeeded").await;
        assert_eq!(site.log("c").await, format!("[{}]\n", of_a.join(",")));
        // Those of a pod that has ended are free while it exists.
        site.create("d", pod(SHOW, 1));
        site.phase("d", "Succeeded").await;
        assert_eq!(devices(&site.pod("d")), of_a);
    });
}

fn required_node_affinity_decides() {
    block_on(async {
        let site = Site::new(IsolationMode::Plain);
        let on = |host: &str| {
            let mut spec = pod("true", 0);
            spec["affinity"]["nodeAffinity"] = json!({
                "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [{
                    "matchExpressions": [
                        { "key": "kubernetes.io/hostname", "operator": "In", "values": [host] },
                    ],
                }] },
            });
            spec
        };
        site.create("elsewhere", on("node-2"));
        site.create("here", on("node-1"));
        site.phase("here", "Succeeded").await;
        let waits = |pod: &Value| {
            let message =
                "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
            pod["status"]["conditions"][0]["message"] == message
        };
        site.until("elsewhere", waits).await;
    });
}

fn a_pod_of_another_scheduler_is_left_alone() {
    block_on(async {
        let site = Site::new(IsolationMode::Plain);
        let mut spec = pod("true", 0);
        spec["schedulerName"] = "volcano".into();
        site.create_owned("other", Some("job-uid"), json!({}), spec);
        let event = site.event("OtherScheduler").await;
        assert_eq!(
            event["message"],
            "pod other waits for the scheduler volcano: this node takes only pods of default-scheduler"
        );
        site.create("own", pod("true", 0));
        site.phase("own", "Succeeded").await;
        assert!(site.pod("other")["spec"]["nodeName"].is_null());
    });
}

fn ephemeral_storage_can_be_requested() {
    block_on(async {
        let site = Site::new(IsolationMode::Plain);
        let mut spec = pod("true", 0);
        spec["containers"][0]["resources"] = json!({ "requests": { "ephemeral-storage": "1Mi" } });
        site.create("small", spec.clone());
        site.phase("small", "Succeeded").await;
        spec["containers"][0]["resources"]["requests"]["ephemeral-storage"] = "1Ei".into();
        site.create("large", spec);
        let waits = |pod: &Value| {
            let message = "0/1 nodes are available: 1 Insufficient ephemeral-storage.";
            pod["status"]["conditions"][0]["message"] == message
        };
        site.until("large", waits).await;
    });
}

fn the_use_of_running_pods_is_measured() {
    block_on(async {
        for mode in [IsolationMode::Auto, IsolationMode::Plain] {
            let site = Site::new(mode);
            // Ends by itself.
            let busy = "i=0; while [ $i -lt 20000000 ]; do i=$((i+1)); done";
            site.create("busy", pod(busy, 0));
            site.create("idle", pod("exec sleep 1000", 0));
            for name in ["busy", "idle"] {
                site.phase(name, "Running").await;
            }
            let usage = site.handle.as_ref().unwrap().usage().await.unwrap();
            let of = |name: &str| {
                let pod = usage.pods.iter().find(|pod| pod.name == name).unwrap();
                pod.containers.first().unwrap().1
            };
            assert!(of("busy").cpu_nanos > of("idle").cpu_nanos, "{usage:?}");
            assert!(of("idle").memory > 0 && usage.node.memory > of("idle").memory, "{usage:?}");
            assert!(usage.window.as_secs() >= 1);
            let text = site.handle.as_ref().unwrap().metrics();
            let line = "container_cpu_usage_seconds_total{container=\"mxnet\",namespace=\"default\",pod=\"busy\"}";
            assert!(text.contains(line), "{text}");
        }
    });
}
