//! Volumes of pods: their content, their mounts, and links that lead out of them.

use std::{fs, path::Path};

use futures_util::TryStreamExt as _;
use mxjob_node::{log::read::Request, runtime::IsolationMode};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use serde_json::{Value, json};

use crate::site::{Site, block_on, folders_removed, shell, terminated};

crate::tests!("volumes":
    volumes_are_mounted,
    a_pod_with_deep_folders_is_removed,
    an_item_without_a_file_name_fails_the_container,
    an_expression_gives_every_pod_its_own_folder,
    an_expression_without_a_value_waits_and_names_the_variable,
    a_sub_path_does_not_follow_a_link_out_of_its_volume,
    a_sub_path_follows_a_link_inside_its_volume,
    a_sub_path_out_of_its_volume_fails_the_container,
    files_of_objects_are_read_only,
    keys_out_of_a_volume_fail_the_container,
);

pub(crate) async fn log_of(site: &Site, pod: &str, container: &str) -> String {
    let request = Request {
        namespace: "default".to_owned(),
        pod: pod.to_owned(),
        container: Some(container.to_owned()),
        ..Request::default()
    };
    let stream = site.handle.as_ref().unwrap().logs(&request).unwrap();
    let parts: Vec<_> = stream.try_collect().await.unwrap();
    String::from_utf8(parts.concat()).unwrap()
}

fn volumes_are_mounted() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        site.create_config_map("files", json!({ "a.txt": "content\n" }));
        // Existing mount points, so that no folders remain on the machine.
        let spec = json!({
            "restartPolicy": "Never",
            "volumes": [
                { "name": "config", "configMap": { "name": "files" } },
                { "name": "scratch", "emptyDir": {} },
                { "name": "memory", "emptyDir": { "medium": "Memory" } },
            ],
            "initContainers": [{
                "name": "fill", "image": "any", "command": ["sh", "-c", "echo shared > /opt/x; echo memory > /dev/shm/y"],
                "volumeMounts": [{ "name": "scratch", "mountPath": "/opt" }, { "name": "memory", "mountPath": "/dev/shm" }],
            }],
            "containers": [{
                "name": "mxnet", "image": "any", "command": ["sh", "-c", "cat /srv/a.txt /opt/x /dev/shm/y"],
                "volumeMounts": [
                    { "name": "config", "mountPath": "/srv" }, { "name": "scratch", "mountPath": "/opt" },
                    { "name": "memory", "mountPath": "/dev/shm" },
                ],
            }],
        });
        let name = site.create("p", spec);
        site.phase(&name, "Succeeded").await;
        assert_eq!(log_of(&site, "p", "mxnet").await, "content\nshared\nmemory\n");
        assert!(!Path::new("/opt/x").exists() && !Path::new("/dev/shm/y").exists());
        site.delete(&name, 0);
        folders_removed(&site).await;
    });
}

fn an_item_without_a_file_name_fails_the_container() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        site.create_config_map("c", json!({ "k": "x" }));
        let mut spec = shell("true");
        spec["volumes"] = json!([{ "name": "v", "configMap": { "name": "c", "items": [{ "key": "k", "path": "." }] } }]);
        spec["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/opt" }]);
        let pod = site.phase(&site.create("p", spec), "Failed").await;
        let message = terminated(&pod)["message"].as_str().unwrap();
        assert_eq!(message, "volume \"v\": \".\" is not a valid path: must name a file");
    });
}

fn a_pod_with_deep_folders_is_removed() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let name = site.create("p", shell("true"));
        let pod = site.phase(&name, "Succeeded").await;
        // As a container creates them in an emptyDir.
        let uid = pod["metadata"]["uid"].as_str().unwrap();
        let volume = site.dir.path().join("pods").join(uid).join(".volumes/scratch");
        fs::create_dir_all(&volume).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut folder = openat(CWD, &volume, flags, Mode::empty()).unwrap();
        for _ in 0..30_000 {
            mkdirat(&folder, "d", Mode::RWXU).unwrap();
            folder = openat(&folder, "d", flags, Mode::empty()).unwrap();
        }
        site.delete(&name, 0);
        folders_removed(&site).await;
    });
}

/// A container that runs a script with these mounts.
pub(crate) fn mounting(name: &str, script: &str, mounts: Value) -> Value {
    json!({ "name": name, "image": "any", "command": ["sh", "-c", script], "volumeMounts": mounts })
}

/// A pod that writes its name to `/opt/who`, where a shared folder is mounted.
fn sharing(folder: &Path, expression: &str) -> Value {
    let mounts = json!([{ "name": "v", "mountPath": "/opt", "subPathExpr": expression }]);
    let mut container = mounting("mxnet", "echo $POD > /opt/who", mounts);
    container["env"] =
        json!([{ "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }]);
    json!({
        "restartPolicy": "Never",
        "volumes": [{ "name": "v", "hostPath": { "path": folder } }],
        "containers": [container],
    })
}

fn an_expression_gives_every_pod_its_own_folder() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let folder = site.dir.path().join("shared");
        fs::create_dir(&folder).unwrap();
        let names = ["a", "b"].map(|name| site.create(name, sharing(&folder, "logs/$(POD)")));
        for name in names {
            site.phase(&name, "Succeeded").await;
        }
        for name in ["a", "b"] {
            let who = fs::read_to_string(folder.join("logs").join(name).join("who")).unwrap();
            assert_eq!(who, format!("{name}\n"));
        }
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            1,
            "nothing in the shared folder itself"
        );
    });
}

fn an_expression_without_a_value_waits_and_names_the_variable() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let folder = site.dir.path().join("shared");
        fs::create_dir(&folder).unwrap();
        let waits = async |name: &str, expression: &str| {
            site.store(name, json!({}), sharing(&folder, expression));
            let waits = |pod: &Value| {
                let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
                waiting["reason"] == "CreateContainerConfigError"
            };
            let pod = site.until(name, waits).await;
            assert_eq!(pod["status"]["phase"], "Pending");
            let message = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
            message.as_str().unwrap().to_owned()
        };
        let message = waits("p", "$(POD)/$(NONE)").await;
        assert!(message.ends_with("missing value for NONE"), "{message}");
        let event = site.event("Failed").await;
        assert_eq!(event["message"], format!("Error: {message}"));
        assert_eq!(event["involvedObject"]["name"], "p");
        let message = waits("q", "$(POD)/$$/../../x").await;
        assert!(message.ends_with("must not contain '..'"), "{message}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    });
}

/// A pod whose init container mounts a whole `emptyDir` volume, and whose main container mounts a
/// part of it.
fn two_steps(first: &str, sub_path: &str, second: &str) -> Value {
    let whole = json!([{ "name": "v", "mountPath": "/opt" }]);
    let part = json!([{ "name": "v", "mountPath": "/opt", "subPath": sub_path }]);
    json!({
        "restartPolicy": "Never",
        "volumes": [{ "name": "v", "emptyDir": {} }],
        "initContainers": [mounting("first", first, whole)],
        "containers": [mounting("mxnet", second, part)],
    })
}

fn a_sub_path_does_not_follow_a_link_out_of_its_volume() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let outside = site.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "secret").unwrap();
        let plant = format!("ln -s {} /opt/link", outside.display());
        for (name, sub_path) in [("p", "link"), ("q", "link/file"), ("r", "link/new")] {
            let spec = two_steps(&plant, sub_path, "cat /opt; touch /opt/made");
            let pod = site.phase(&site.create(name, spec), "Failed").await;
            let message = terminated(&pod)["message"].as_str().unwrap();
            assert!(message.ends_with("is a link that leads out of the volume"), "{message}");
            assert_eq!(terminated(&pod)["reason"], "StartError");
            assert_eq!(log_of(&site, name, "mxnet").await, "");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "nothing was made outside");
    });
}

fn a_sub_path_follows_a_link_inside_its_volume() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let first = "mkdir /opt/v2; echo two > /opt/v2/data; ln -s v2 /opt/current";
        let pod = two_steps(first, "current", "cat /opt/data");
        site.phase(&site.create("p", pod), "Succeeded").await;
        assert_eq!(log_of(&site, "p", "mxnet").await, "two\n");
    });
}

fn a_sub_path_out_of_its_volume_fails_the_container() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        for (name, sub_path, rule) in [
            ("p", "../../../../made", "must not contain '..'"),
            ("q", "/made", "must be a relative path"),
        ] {
            let pod = site.store(name, json!({}), two_steps("true", sub_path, "true"));
            let pod = site.phase(&pod, "Failed").await;
            let message = terminated(&pod)["message"].as_str().unwrap();
            assert!(message.ends_with(rule), "{message}");
        }
        assert!(!site.dir.path().join("made").exists() && !Path::new("/made").exists());
    });
}

fn files_of_objects_are_read_only() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        site.create_config_map("files", json!({ "a.txt": "content\n" }));
        let mounts = json!([{ "name": "v", "mountPath": "/opt" }]);
        let script =
            "! touch /opt/new && ! rm /opt/a.txt && ! sh -c '>/opt/a.txt' && cat /opt/a.txt";
        let name = site.create(
            "p",
            json!({
                "restartPolicy": "Never",
                "volumes": [{ "name": "v", "configMap": { "name": "files" } }],
                "containers": [mounting("mxnet", script, mounts)],
            }),
        );
        site.phase(&name, "Succeeded").await;
        let log = log_of(&site, "p", "mxnet").await;
        // The order of the two streams is not known.
        assert!(log.lines().any(|line| line == "content"), "{log}");
        assert_eq!(log.matches("Read-only file system").count(), 3, "{log}");
    });
}

fn keys_out_of_a_volume_fail_the_container() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        if !site.is_isolated() {
            return;
        }
        let data = json!({ "../../../../made": "x", "good": "x" });
        let map = json!({ "metadata": { "name": "evil" }, "data": data });
        site.server.store("configmaps", &map);
        let sources = [
            json!({ "name": "evil" }),
            json!({ "name": "evil", "items": [{ "key": "good", "path": "../../../../made" }] }),
        ];
        for (name, source) in ["p", "q"].into_iter().zip(sources) {
            let mut spec = shell("true");
            spec["volumes"] = json!([{ "name": "v", "configMap": source }]);
            spec["containers"][0]["volumeMounts"] = json!([{ "name": "v", "mountPath": "/opt" }]);
            let pod = site.phase(&site.store(name, json!({}), spec), "Failed").await;
            let message = terminated(&pod)["message"].as_str().unwrap();
            assert!(message.contains("\"../../../../made\" is not a valid"), "{message}");
        }
        assert!(!site.dir.path().join("made").exists());
    });
}
