//! Pods with names that lead to other folders, as an API server without our checks may store them.

use std::fs;

use mxjob_node::{
    exec,
    log::read::{Error, Request},
    runtime::IsolationMode,
};
use serde_json::{Value, json};

use crate::{
    node::lives,
    site::{Site, block_on, pid_of, shell},
};

crate::tests!("names":
    a_container_name_that_leads_to_another_pod_is_rejected,
    requests_with_names_that_lead_to_other_folders_fail,
    a_volume_name_that_leads_to_another_folder_is_rejected,
    duplicate_container_names_are_rejected,
    a_uid_that_leads_to_another_folder_is_rejected,
);

const MODES: [IsolationMode; 2] = [IsolationMode::Auto, IsolationMode::Plain];

/// A running pod that the others must not affect.
struct Victim {
    uid: String,
    pid: i32,
}

impl Victim {
    async fn start(site: &Site) -> Self {
        let name = site.create("victim", shell("echo secret $$; exec sleep 1000"));
        let pid = pid_of(site, "victim").await;
        let pod = site.pod(&name);
        Self { uid: pod["metadata"]["uid"].as_str().unwrap().to_owned(), pid }
    }

    /// Asserts that it is unchanged.
    fn check(&self, site: &Site) {
        assert!(lives(self.pid));
        let pod = site.dir.path().join("pods").join(&self.uid);
        let mut found: Vec<_> = fs::read_dir(pod.join("mxnet"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, ["0"]);
        let log = fs::read_to_string(pod.join("mxnet/0/log")).unwrap();
        assert!(log.lines().count() == 1 && log.contains(&format!("secret {}", self.pid)), "{log}");
        let status = &site.pod("victim")["status"];
        assert_eq!(status["phase"], "Running");
    }
}

/// Waits until the pod has failed because of its names. Returns its message.
async fn refused(site: &Site, name: &str) -> String {
    let pod = site.phase(name, "Failed").await;
    assert_eq!(pod["status"]["reason"], "InvalidPodSpec");
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!("InvalidPodSpec"), &json!(127)));
    let event = site.event("InvalidPodSpec").await;
    assert_eq!(event["type"], "Warning");
    pod["status"]["message"].as_str().unwrap().to_owned()
}

fn a_container_name_that_leads_to_another_pod_is_rejected() {
    for mode in MODES {
        block_on(async {
            let site = Site::new(mode);
            let victim = Victim::start(&site).await;
            let evil = format!("../{}/mxnet", victim.uid);
            for (number, (list, grace)) in
                [("initContainers", 0), ("initContainers", 30), ("containers", 30)]
                    .iter()
                    .enumerate()
            {
                let (name, mut spec) = (format!("evil-{number}"), shell("sleep 1000"));
                let container =
                    json!({ "name": evil, "image": "any", "command": ["sh", "-c", "echo evil"] });
                spec[list] = json!([container]);
                site.store(&name, json!({}), spec);
                let message = refused(&site, &name).await;
                assert!(message.starts_with(&format!(
                    "this node cannot run pod {name}: spec.{list}[0].name: Invalid value: \"{evil}\": a lowercase RFC 1123 label"
                )), "{message}");
                victim.check(&site);
                site.delete(&name, *grace);
                site.gone(&name).await;
                victim.check(&site);
            }
        });
    }
}

fn requests_with_names_that_lead_to_other_folders_fail() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let victim = Victim::start(&site).await;
        let own = site.create("own", shell("sleep 1000"));
        let own = site.phase(&own, "Running").await;
        let own = own["metadata"]["uid"].as_str().unwrap();
        let handle = site.handle.as_ref().unwrap();
        let elsewhere = format!("../{}/mxnet", victim.uid);
        let long = format!("../pods/{}", victim.uid);
        for (uid, container) in [
            (own, elsewhere.as_str()),
            (own, ".."),
            (own, ""),
            (own, "a\0b"),
            (&long, "mxnet"),
            ("", "mxnet"),
            (".", "mxnet"),
        ] {
            let request = Request {
                namespace: "default".to_owned(),
                pod: "own".to_owned(),
                uid: Some(uid.to_owned()),
                container: Some(container.to_owned()),
                ..Request::default()
            };
            let error = handle.logs(&request).err().unwrap();
            if uid == own {
                let expect = format!("container {container:?} is not valid for pod \"own\"");
                assert_eq!(error.to_string(), expect);
            } else {
                assert!(matches!(error, Error::NoPod { .. }), "{uid}: {error}");
                assert_eq!(handle.address_of(uid), None);
            }
            let request = exec::Request {
                uid: uid.to_owned(),
                container: container.to_owned(),
                command: vec!["true".to_owned()],
                ..exec::Request::default()
            };
            let error = handle.exec(&request).err().unwrap();
            let expect = format!("container {container:?} does not run on this node");
            assert_eq!(error.to_string(), expect);
        }
        victim.check(&site);
    });
}

fn a_volume_name_that_leads_to_another_folder_is_rejected() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let outside = site.dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        for (name, volume, source) in [
            ("a", "../../../made", json!({ "emptyDir": {} })),
            ("b", "../../made", json!({ "emptyDir": { "medium": "Memory" } })),
            ("c", "../../../made", json!({ "configMap": { "name": "none", "optional": true } })),
        ] {
            let mut spec = shell("touch /opt/x");
            spec["volumes"] = json!([source]);
            spec["volumes"][0]["name"] = volume.into();
            spec["containers"][0]["volumeMounts"] =
                json!([{ "name": volume, "mountPath": "/opt" }]);
            site.store(name, json!({}), spec);
            let message = refused(&site, name).await;
            let expect = format!("spec.volumes[0].name: Invalid value: \"{volume}\"");
            assert!(message.contains(&expect), "{message}");
        }
        let mut found: Vec<_> = fs::read_dir(site.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.contains('.'))
            .collect();
        found.sort();
        assert_eq!(found, ["outside"], "no other folder was created");
    });
}

fn duplicate_container_names_are_rejected() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("true");
        let again: Value = spec["containers"][0].clone();
        spec["initContainers"] = json!([again]);
        site.store("p", json!({}), spec);
        let message = refused(&site, "p").await;
        assert!(
            message.contains("spec.initContainers[0].name: Duplicate value: \"mxnet\""),
            "{message}"
        );
    });
}

fn a_uid_that_leads_to_another_folder_is_rejected() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let victim = Victim::start(&site).await;
        for (name, uid) in [("a", format!("../pods/{}", victim.uid)), ("b", "..".to_owned())] {
            let metadata = json!({ "name": name, "uid": uid });
            let pod = json!({ "metadata": metadata, "spec": shell("echo evil") });
            site.server.store("pods", &pod);
            let message = refused(&site, name).await;
            assert!(message.contains("is not a valid pod uid"), "{message}");
            site.delete(name, 0);
            site.gone(name).await;
        }
        victim.check(&site);
    });
}
