//! Claims and volumes, with the controller that binds them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use mxjob_manager::volumes::{self, Folders};
use serde_json::{Value, json};

use crate::server::Server;

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";
const PODS: &str = "/api/v1/namespaces/default/pods";
const EVENTS: &str = "/api/v1/namespaces/default/events";

/// Folders in a temporary folder.
struct Temporary(PathBuf);

impl Folders for Temporary {
    fn create(&self, volume: &str) -> io::Result<PathBuf> {
        let path = self.0.join(volume);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn remove(&self, volume: &str) -> io::Result<()> {
        match std::fs::remove_dir_all(self.0.join(volume)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}

async fn start() -> (Server, tempfile::TempDir) {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let folders = Arc::new(Temporary(dir.path().to_owned()));
    let client = server.client(volumes::ACCOUNT);
    tokio::spawn(volumes::run(client, folders, std::future::pending()));
    let class = "/apis/storage.k8s.io/v1/storageclasses/directory";
    server.until(class, "created", |code, _| code == 200).await;
    (server, dir)
}

fn claim(name: &str, spec: &Value) -> Value {
    let mut claim = json!({
        "metadata": { "name": name },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
    });
    for (field, value) in spec.as_object().unwrap() {
        claim["spec"][field] = value.clone();
    }
    claim
}

fn is_bound(_: u16, claim: &Value) -> bool {
    claim["status"]["phase"] == "Bound"
}

#[tokio::test]
async fn a_claim_gets_a_folder_which_stays_while_a_pod_uses_it() {
    let (server, _dir) = start().await;
    let made = server.make(CLAIMS, &claim("c", &json!({}))).await;
    assert_eq!(made["spec"]["storageClassName"], "directory");
    assert_eq!(made["status"], json!({ "phase": "Pending" }));
    let item = format!("{CLAIMS}/c");
    let bound = server.until(&item, "bound", is_bound).await;
    assert_eq!(bound["status"]["capacity"]["storage"], "1Gi");
    let volume_path = format!("{VOLUMES}/{}", bound["spec"]["volumeName"].as_str().unwrap());
    let volume = server.until(&volume_path, "bound", is_bound).await;
    assert_eq!(volume["spec"]["claimRef"]["uid"], bound["metadata"]["uid"]);
    let folder = PathBuf::from(volume["spec"]["hostPath"]["path"].as_str().unwrap());
    assert!(folder.is_dir());

    let grown = json!({ "spec": { "resources": { "requests": { "storage": "2Gi" } } } });
    assert_eq!(server.patch(&item, &grown).await.0, 200);
    server.until(&item, "grown", |_, it| it["status"]["capacity"]["storage"] == "2Gi").await;

    let pod = json!({
        "metadata": { "name": "p" },
        "spec": {
            "containers": [{ "name": "c", "image": "i", "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }],
            "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }],
        },
    });
    server.make(PODS, &pod).await;
    let (code, deleted) = server.delete(&item).await;
    assert_eq!((code, &deleted["kind"]), (200, &json!("PersistentVolumeClaim")));
    assert!(deleted["metadata"]["deletionTimestamp"].is_string());
    // The volume stays bound while the pod is there; a second delete changes nothing.
    assert_eq!(server.delete(&item).await.0, 200);
    assert_eq!(server.get(&item).await.0, 200);
    assert!(folder.is_dir());
    server.delete(&format!("{PODS}/p")).await;
    server.until(&item, "deleted", |code, _| code == 404).await;
    server.until(&volume_path, "deleted", |code, _| code == 404).await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_volume_that_is_retained_is_released_and_serves_no_other_claim() {
    let (server, _dir) = start().await;
    let volume = json!({
        "metadata": { "name": "v" },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": { "storage": "5Gi" },
            "hostPath": { "path": "/srv/v" }, "storageClassName": "manual",
        },
    });
    server.make(VOLUMES, &volume).await;
    let path = format!("{VOLUMES}/v");
    server.until(&path, "available", |_, it| it["status"]["phase"] == "Available").await;
    let manual = json!({ "storageClassName": "manual" });
    server.make(CLAIMS, &claim("a", &manual)).await;
    let a = format!("{CLAIMS}/a");
    let bound = server.until(&a, "bound", is_bound).await;
    assert_eq!(bound["spec"]["volumeName"], "v");
    assert_eq!(bound["status"]["capacity"]["storage"], "5Gi");
    server.delete(&a).await;
    server.until(&a, "deleted", |code, _| code == 404).await;
    server.until(&path, "released", |_, it| it["status"]["phase"] == "Released").await;
    server.make(CLAIMS, &claim("b", &manual)).await;
    let reported = |_, events: &Value| {
        let of = |event: &Value| {
            event["involvedObject"]["name"] == "b" && event["reason"] == "ProvisioningFailed"
        };
        events["items"].as_array().unwrap().iter().any(of)
    };
    server.until(EVENTS, "reported", reported).await;
    assert_eq!(server.get(&format!("{CLAIMS}/b")).await.1["status"]["phase"], "Pending");
    server.delete(&path).await;
    server.until(&path, "deleted", |code, _| code == 404).await;
}

#[tokio::test]
async fn quotas_and_limit_ranges_hold_for_claims() {
    let server = Server::start().await;
    let quota =
        json!({ "metadata": { "name": "q" }, "spec": { "hard": { "requests.storage": "3Gi" } } });
    server.make("/api/v1/namespaces/default/resourcequotas", &quota).await;
    let range = json!({ "metadata": { "name": "r" }, "spec": { "limits": [
        { "type": "PersistentVolumeClaim", "max": { "storage": "2Gi" } },
    ] } });
    server.make("/api/v1/namespaces/default/limitranges", &range).await;
    let sized = |name, size: &str| {
        claim(name, &json!({ "resources": { "requests": { "storage": size } } }))
    };
    let (code, answer) = server.post(CLAIMS, &sized("a", "3Gi")).await;
    assert_eq!(code, 403);
    assert!(
        answer["message"].as_str().unwrap().ends_with(
            "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
        ),
        "{answer:#}"
    );
    server.make(CLAIMS, &sized("a", "2Gi")).await;
    let (code, answer) = server.post(CLAIMS, &sized("b", "2Gi")).await;
    assert_eq!(code, 403);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("exceeded quota: q, requested: requests.storage=2Gi"),
        "{answer:#}"
    );
}
