//! Volumes that change or end while their pod runs, and volumes that are waited for.

use std::{fs, path::Path, time::Duration};

use mxjob_node::runtime::IsolationMode;
use serde_json::{Value, json};

use crate::{
    site::{Site, block_on, folders_removed, pid_of, shell, terminated},
    volumes::{log_of, mounting},
};

crate::tests!("live_volumes":
    files_follow_their_objects_and_the_pod,
    files_follow_their_objects_after_a_restart_of_the_agent,
    a_missing_key_is_waited_for,
    optional_objects_may_be_missing,
    secrets_are_in_memory_until_the_pod_ends,
    a_memory_volume_has_its_limit_and_ends_with_the_pod,
    stopping_all_pods_frees_their_memory,
    a_volume_over_its_limit_evicts_the_pod,
    a_claim_is_waited_for_and_keeps_its_files,
    an_ephemeral_volume_needs_a_claim_of_its_pod,
    a_host_path_of_another_type_is_waited_for,
    variables_show_resources,
);

/// A pod with one container that mounts one volume at `/opt`.
fn with_volume(script: &str, volume: Value) -> Value {
    let mut volume = volume;
    volume["name"] = "v".into();
    let script = script.replace("$$", "$$$$");
    let mounts = json!([{ "name": "v", "mountPath": "/opt" }]);
    json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "volumes": [volume],
        "containers": [mounting("mxnet", &script, mounts)],
    })
}

/// A site, unless nothing can be mounted here.
fn site() -> Option<Site> {
    let site = Site::new(IsolationMode::Auto);
    site.is_isolated().then_some(site)
}

/// Waits until the pod's container waits for a volume. Returns its message.
async fn waiting_message(site: &Site, name: &str) -> String {
    let state = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"].clone();
    let pod = site.until(name, |pod| state(pod)["message"].is_string()).await;
    assert_eq!(state(&pod)["reason"], "ContainerCreating");
    let event = site.event("FailedMount").await;
    assert_eq!(event["message"], state(&pod)["message"]);
    state(&pod)["message"].as_str().unwrap().to_owned()
}

/// Waits until the first file has another content, and then until the second has.
const WAIT_FOR_CHANGES: &str = "echo $$; cat /opt/a; until grep -q new /opt/a; do sleep 0.02; done; cat /opt/a /opt/b; \
    until grep -q changed /opt/labels; do sleep 0.02; done; cat /opt/labels";

fn changing() -> Value {
    let labels = json!([{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels['l']" } }]);
    json!({ "projected": { "sources": [
        { "configMap": { "name": "files" } }, { "downwardAPI": { "items": labels } },
    ] } })
}

fn set_data(site: &Site, data: Value) {
    site.server.change("configmaps", "files", |map| map["data"] = data);
}

fn files_follow_their_objects_and_the_pod() {
    block_on(async {
        let Some(site) = site() else { return };
        site.create_config_map("files", json!({ "a": "old\n" }));
        let name = site.create("p", with_volume(WAIT_FOR_CHANGES, changing()));
        pid_of(&site, &name).await;
        set_data(&site, json!({ "a": "new\n", "b": "b\n" }));
        site.server
            .change("pods", &name, |pod| pod["metadata"]["labels"] = json!({ "l": "changed" }));
        site.phase(&name, "Succeeded").await;
        let log = log_of(&site, "p", "mxnet").await;
        assert!(log.ends_with("\nold\nnew\nb\nchanged"), "{log}");
    });
}

fn files_follow_their_objects_after_a_restart_of_the_agent() {
    block_on(async {
        let Some(mut site) = site() else { return };
        site.create_config_map("files", json!({ "a": "old\n" }));
        let name = site.create("p", with_volume(WAIT_FOR_CHANGES, changing()));
        pid_of(&site, &name).await;
        site.stop().await;
        set_data(&site, json!({ "a": "new\n", "b": "b\n" }));
        site.start();
        site.server
            .change("pods", &name, |pod| pod["metadata"]["labels"] = json!({ "l": "changed" }));
        site.phase(&name, "Succeeded").await;
        let log = log_of(&site, "p", "mxnet").await;
        assert!(log.ends_with("\nold\nnew\nb\nchanged"), "{log}");
    });
}

fn a_missing_key_is_waited_for() {
    block_on(async {
        let Some(site) = site() else { return };
        site.create_config_map("files", json!({ "a": "1" }));
        let items = json!([{ "key": "b", "path": "b" }]);
        let volume = json!({ "configMap": { "name": "files", "items": items } });
        let name = site.create("p", with_volume("cat /opt/b", volume));
        assert_eq!(
            waiting_message(&site, &name).await,
            "MountVolume.SetUp failed for volume \"v\" : configmap references non-existent config key: b"
        );
        set_data(&site, json!({ "b": "2" }));
        site.phase(&name, "Succeeded").await;
        assert_eq!(log_of(&site, "p", "mxnet").await, "2");
    });
}

fn optional_objects_may_be_missing() {
    block_on(async {
        let Some(site) = site() else { return };
        let secret = json!({ "secret": { "secretName": "none", "optional": true } });
        let name = site.create("p", with_volume("ls /opt; echo end", secret));
        site.phase(&name, "Succeeded").await;
        assert_eq!(log_of(&site, "p", "mxnet").await, "end\n");
    });
}

fn secrets_are_in_memory_until_the_pod_ends() {
    block_on(async {
        let Some(site) = site() else { return };
        let secret = json!({ "metadata": { "name": "s" }, "stringData": { "password": "secret" } });
        site.server.create("secrets", &secret);
        let script = "echo $$; stat -f -c %T /opt/; cat /opt/password; sleep 1000";
        let spec =
            with_volume(script, json!({ "secret": { "secretName": "s", "defaultMode": 0o400 } }));
        let name = site.create("p", spec);
        let pid = pid_of(&site, &name).await;
        let pod = site.pod(&name);
        let folder = Path::new("/dev/shm")
            .join(format!("mxjob-{}", pod["metadata"]["uid"].as_str().unwrap()));
        assert_eq!(fs::read_to_string(folder.join("v/password")).unwrap(), "secret");
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
        site.phase(&name, "Failed").await;
        let log = log_of(&site, "p", "mxnet").await;
        assert!(log.ends_with("\ntmpfs\nsecret"), "{log}");
        gone(&folder).await;
    });
}

/// Waits until a folder is gone.
async fn gone(path: &Path) {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        crate::node::eventually("the removal of a folder", || (!path.exists()).then_some(()));
    })
    .await
    .unwrap();
}

fn mounts_below(path: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(path.to_str().unwrap())).count()
}

fn memory(limit: &str) -> Value {
    json!({ "emptyDir": { "medium": "Memory", "sizeLimit": limit } })
}

fn a_memory_volume_has_its_limit_and_ends_with_the_pod() {
    block_on(async {
        let Some(mut site) = site() else { return };
        let script = "echo $$; head -c 500000 /dev/zero > /opt/small && ! head -c 2000000 /dev/zero > /opt/large; \
            stat -f -c %T /opt/; until test -e /opt/end; do sleep 0.02; done";
        let name = site.create("p", with_volume(script, memory("1Mi")));
        let pid = pid_of(&site, &name).await;
        assert_eq!(mounts_below(site.dir.path()), 1);
        // The next agent finds the mount.
        site.stop().await;
        site.start();
        fs::write(format!("/proc/{pid}/root/opt/end"), "").unwrap_or_else(|_| {
            let uid = site.pod(&name)["metadata"]["uid"].as_str().unwrap().to_owned();
            fs::write(site.dir.path().join("pods").join(uid).join(".volumes/v/end"), "").unwrap();
        });
        site.phase(&name, "Succeeded").await;
        let log = log_of(&site, "p", "mxnet").await;
        assert!(log.contains("No space left on device") && log.contains("\ntmpfs\n"), "{log}");
        site.delete(&name, 0);
        folders_removed(&site).await;
        assert_eq!(mounts_below(site.dir.path()), 0);
    });
}

fn stopping_all_pods_frees_their_memory() {
    block_on(async {
        let Some(mut site) = site() else { return };
        let name = site.create("p", with_volume("echo $$; sleep 1000", memory("1Gi")));
        pid_of(&site, &name).await;
        assert_eq!(mounts_below(site.dir.path()), 1);
        // Like an agent that was killed: the pod keeps running.
        site.stop().await;
        mxjob_node::stop_all(site.dir.path(), Duration::ZERO).unwrap();
        assert_eq!(mounts_below(site.dir.path()), 0);
        site.start();
        site.delete(&name, 0);
        folders_removed(&site).await;
    });
}

fn a_volume_over_its_limit_evicts_the_pod() {
    block_on(async {
        let Some(site) = site() else { return };
        let script = "head -c 3000000 /dev/zero > /opt/x; sleep 1000";
        let volume = json!({ "emptyDir": { "sizeLimit": "2Mi" } });
        let mut spec = with_volume(script, volume);
        spec["terminationGracePeriodSeconds"] = 1000.into();
        spec["restartPolicy"] = "Always".into();
        let pod = site.phase(&site.create("p", spec), "Failed").await;
        assert_eq!(pod["status"]["reason"], "Evicted");
        let message = "Usage of EmptyDir volume \"v\" exceeds the limit \"2Mi\". ";
        assert_eq!(pod["status"]["message"], message);
        assert_eq!(site.event("Evicted").await["message"], message);
        assert_eq!(terminated(&pod)["exitCode"], 137);
    });
}

fn store_claim(site: &Site, status: Value) {
    site.server.store(
        "persistentvolumeclaims",
        &json!({
            "metadata": { "name": "c", "uid": "claim-uid" },
            "spec": { "volumeName": "pv" }, "status": status,
        }),
    );
}

fn a_claim_is_waited_for_and_keeps_its_files() {
    block_on(async {
        let Some(site) = site() else { return };
        let folder = site.dir.path().join("volume");
        fs::create_dir(&folder).unwrap();
        let claim = json!({ "persistentVolumeClaim": { "claimName": "c" } });
        let name = site.create("p", with_volume("echo data > /opt/file", claim.clone()));
        let message = waiting_message(&site, &name).await;
        assert!(message.ends_with("persistentvolumeclaim \"c\" not found"), "{message}");
        store_claim(&site, json!({ "phase": "Pending" }));
        let waits =
            |pod: &Value| pod.to_string().contains("is not bound to a volume: it is Pending");
        site.until(&name, waits).await;
        let source = json!({ "path": folder, "type": "Directory" });
        site.server.store(
            "persistentvolumes",
            &json!({
                "metadata": { "name": "pv" },
                "spec": { "claimRef": { "uid": "claim-uid" }, "hostPath": source },
            }),
        );
        store_claim(&site, json!({ "phase": "Bound" }));
        site.phase(&name, "Succeeded").await;
        site.delete(&name, 0);
        folders_removed(&site).await;
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "data\n");
        let mut read_only = claim;
        read_only["persistentVolumeClaim"]["readOnly"] = true.into();
        let second = site.create("q", with_volume("cat /opt/file; ! touch /opt/new", read_only));
        site.phase(&second, "Succeeded").await;
        assert!(log_of(&site, "q", "mxnet").await.starts_with("data\n"));
    });
}

fn an_ephemeral_volume_needs_a_claim_of_its_pod() {
    block_on(async {
        let Some(site) = site() else { return };
        site.server.store(
            "persistentvolumeclaims",
            &json!({ "metadata": { "name": "p-v" }, "status": { "phase": "Bound" } }),
        );
        let template = json!({ "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } },
        } });
        let volume = json!({ "ephemeral": { "volumeClaimTemplate": template } });
        let name = site.create("p", with_volume("true", volume));
        let message = waiting_message(&site, &name).await;
        assert!(message.ends_with("was not created for pod \"p\" (pod is not owner)"), "{message}");
    });
}

fn a_host_path_of_another_type_is_waited_for() {
    block_on(async {
        let Some(site) = site() else { return };
        let path = site.dir.path().join("data");
        let volume = json!({ "hostPath": { "path": path, "type": "Directory" } });
        let name = site.create("p", with_volume("true", volume));
        let message = waiting_message(&site, &name).await;
        assert!(message.ends_with("does not exist"), "{message}");
        fs::write(&path, "").unwrap();
        site.until(&name, |pod| pod.to_string().contains("is not a directory")).await;
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        site.phase(&name, "Succeeded").await;
    });
}

fn variables_show_resources() {
    block_on(async {
        let site = Site::new(IsolationMode::Plain);
        let mut spec = shell("echo $CPU $MEM; test $ALL -ge 1");
        let of = |resource: &str, divisor: &str| json!({ "resourceFieldRef": { "resource": resource, "divisor": divisor } });
        spec["containers"][0]["resources"] = json!({ "limits": { "memory": "1Gi" }, "requests": { "cpu": "20m", "memory": "10Mi" } });
        spec["containers"][0]["env"] = json!([
            { "name": "CPU", "valueFrom": of("requests.cpu", "1m") },
            { "name": "MEM", "valueFrom": of("limits.memory", "1Mi") },
            { "name": "ALL", "valueFrom": of("limits.cpu", "0") },
        ]);
        site.phase(&site.create("p", spec), "Succeeded").await;
        assert_eq!(site.log("p").await, "20 1024\n");
    });
}
