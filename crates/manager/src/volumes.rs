//! Binds claims to volumes, makes volumes for claims, and reclaims them.
//!
//! ```text
//! claim ─▶ a volume that fits, or a new folder ─▶ claimRef ─▶ volumeName ─▶ Bound
//! claim deleted ─▶ no pod uses it ─▶ gone ─▶ volume Released ─▶ folder and volume deleted
//! ```
//!
//! Claims of the class [`CLASS`] get a volume of their own: a folder, which [`Folders`] makes and
//! removes. This module reads and writes the API only.

mod events;
mod fit;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::Method;
use kube::Client;
use kube::runtime::reflector::Store;
use mxjob_client::Raw;
use mxjob_client::events::EventWriter;
use mxjob_client::request::{self, JSON, MERGE_PATCH};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::object;
use serde_json::{Value, json};

use crate::api::{self, Caches, Settled};
use fit::Fit;

/// The service account of this controller.
pub const ACCOUNT: &str = "persistent-volume-binder";
/// The class of volumes that are folders of this machine.
pub const CLASS: &str = "directory";
/// What makes such volumes.
pub const PROVISIONER: &str = "mxjob.dev/directory";

const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const CLAIM_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

/// The folders of volumes.
pub trait Folders: Send + Sync + 'static {
    /// Creates the folder of a volume, unless it exists, and returns its path.
    ///
    /// # Errors
    /// The system's error.
    fn create(&self, volume: &str) -> io::Result<PathBuf>;

    /// Removes the folder of a volume with everything in it; a missing one is no error.
    ///
    /// # Errors
    /// The system's error.
    fn remove(&self, volume: &str) -> io::Result<()>;
}

/// Binds, makes and reclaims volumes until `shutdown`. The class exists from then on.
pub async fn run(client: Client, folders: Arc<dyn Folders>, shutdown: impl Future<Output = ()>) {
    let mut caches = Caches::new(client.clone());
    let claims = caches.add(&api::built_in("", "PersistentVolumeClaim", "persistentvolumeclaims"));
    let volumes = caches.add(&api::built_in("", "PersistentVolume", "persistentvolumes"));
    let classes = caches.add(&api::built_in("storage.k8s.io", "StorageClass", "storageclasses"));
    let events = EventWriter::new(client.clone());
    let binder =
        Binder { client, events, folders, claims, volumes, classes, has_class: false.into() };
    let stores = [&binder.claims, &binder.volumes, &binder.classes];
    caches.run(&stores, || binder.pass(), shutdown).await;
}

struct Binder {
    client: Client,
    events: EventWriter,
    folders: Arc<dyn Folders>,
    claims: Store<Raw>,
    volumes: Store<Raw>,
    classes: Store<Raw>,
    /// Whether the class has been created in this run. One that is deleted later stays deleted
    /// until the next start.
    has_class: std::sync::atomic::AtomicBool,
}

/// Whether an annotation of an object has this value.
fn has_annotation(object: &Value, name: &str, value: &str) -> bool {
    object.pointer("/metadata/annotations").is_some_and(|all| all[name] == value)
}

fn claim_path(claim: &Value) -> String {
    let (namespace, name) = (object::meta_str(claim, "namespace"), object::meta_str(claim, "name"));
    format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
}

fn volume_path(volume: &Value) -> String {
    format!("/api/v1/persistentvolumes/{}", object::meta_str(volume, "name"))
}

/// The class itself.
fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": CLASS, "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": PROVISIONER, "reclaimPolicy": "Delete", "allowVolumeExpansion": true,
        "volumeBindingMode": "Immediate",
    })
}

// === impl Binder ===

impl Binder {
    async fn pass(&self) -> Settled {
        use std::sync::atomic::Ordering::Relaxed;
        let mut settled = true;
        if !self.has_class.load(Relaxed) {
            let path = "/apis/storage.k8s.io/v1/storageclasses";
            settled = api::write(&self.client, Method::POST, path, JSON, Some(&class())).await;
            self.has_class.store(settled, Relaxed);
        }
        let mut volumes = self.volumes.state();
        volumes.sort_by(|a, b| a.text("/metadata/name").cmp(b.text("/metadata/name")));
        let mut claims = self.claims.state();
        // The oldest claim chooses first.
        let age = |claim: &Raw| {
            let field = |name| claim.text(name).to_owned();
            (
                field("/metadata/creationTimestamp"),
                field("/metadata/namespace"),
                field("/metadata/name"),
            )
        };
        claims.sort_by_cached_key(|claim| age(claim));
        let mut taken = BTreeSet::new();
        for claim in &claims {
            settled &= self.sync_claim(&claim.value, &volumes, &mut taken).await;
        }
        for volume in &volumes {
            settled &= self.sync_volume(&volume.value).await;
        }
        settled
    }

    async fn sync_claim(
        &self,
        claim: &Value,
        volumes: &[Arc<Raw>],
        taken: &mut BTreeSet<String>,
    ) -> Settled {
        if object::is_terminating(claim) {
            return self.release_claim(claim).await;
        }
        let name = text(claim, "/spec/volumeName");
        let all = volumes.iter().map(|volume| &volume.value);
        if !name.is_empty() {
            let volume = all.clone().find(|volume| object::meta_str(volume, "name") == name);
            return match volume {
                Some(volume) if fit::may_bind(volume, claim) => self.bind(volume, claim).await,
                _ if has_annotation(claim, BIND_COMPLETED, "yes") => {
                    self.set_status(&claim_path(claim), claim, &json!({ "phase": "Lost" })).await
                }
                // It waits for the volume that it names.
                _ => true,
            };
        }
        let free = all.filter(|volume| !taken.contains(object::meta_str(volume, "name")));
        match fit::choose(claim, free) {
            Fit::Volume(volume) => {
                taken.insert(object::meta_str(volume, "name").to_owned());
                self.bind(volume, claim).await
            }
            Fit::None => self.provision(claim).await,
        }
    }

    /// Makes a volume for a claim, if its class is ours; otherwise the claim waits.
    async fn provision(&self, claim: &Value) -> Settled {
        let wanted = fit::class_of(claim);
        let classes = self.classes.state();
        let class = classes.iter().find(|class| class.text("/metadata/name") == wanted);
        let Some(class) = class.filter(|_| !wanted.is_empty()) else {
            let why = if wanted.is_empty() {
                "no persistent volumes available for this claim and no storage class is set"
                    .to_owned()
            } else {
                format!("storageclass.storage.k8s.io \"{wanted}\" not found")
            };
            events::warn(&self.events, claim, "ProvisioningFailed", &why).await;
            return true;
        };
        let provisioner = class.text("/provisioner");
        if provisioner != PROVISIONER {
            let why = format!(
                "waiting for a volume to be created by the external provisioner '{provisioner}'"
            );
            events::warn(&self.events, claim, "ExternalProvisioning", &why).await;
            return true;
        }
        if let Some(why) = fit::unprovisionable(claim) {
            events::warn(&self.events, claim, "ProvisioningFailed", why).await;
            return true;
        }
        let name = format!("pvc-{}", object::meta_str(claim, "uid"));
        let (folders, volume) = (Arc::clone(&self.folders), name.clone());
        let created = tokio::task::spawn_blocking(move || folders.create(&volume)).await;
        let path = match created.map_err(io::Error::other).and_then(|created| created) {
            Ok(path) => path,
            Err(error) => {
                tracing::warn!(volume = name, %error, "could not create the folder of a volume; will retry");
                let why = format!("could not create the folder of the volume: {error}");
                events::warn(&self.events, claim, "ProvisioningFailed", &why).await;
                return false;
            }
        };
        let volume = fit::volume(claim, &class.value, &name, &path.to_string_lossy());
        // The watch delivers the volume, which is bound then.
        api::write(&self.client, Method::POST, "/api/v1/persistentvolumes", JSON, Some(&volume))
            .await
    }

    /// Binds a claim and a volume. Each step is skipped where it has been done.
    async fn bind(&self, volume: &Value, claim: &Value) -> Settled {
        let uid = object::meta_str(claim, "uid");
        let path = volume_path(volume);
        let mut settled = true;
        if text(volume, "/spec/claimRef/uid") != uid {
            let patch = json!({
                "metadata": {
                    "resourceVersion": object::meta_str(volume, "resourceVersion"),
                    "annotations": { BOUND_BY_CONTROLLER: "yes" },
                },
                "spec": { "claimRef": fit::reference(claim) },
            });
            // Only the next pass, with what was stored, goes on: the volume could have changed.
            return api::write(&self.client, Method::PATCH, &path, MERGE_PATCH, Some(&patch)).await;
        }
        if let Some(size) = fit::larger_size(volume, claim) {
            let patch = json!({ "spec": { "capacity": { "storage": size } } });
            return api::write(&self.client, Method::PATCH, &path, MERGE_PATCH, Some(&patch)).await;
        }
        settled &= self.set_status(&path, volume, &json!({ "phase": "Bound" })).await;
        let name = object::meta_str(volume, "name");
        if text(claim, "/spec/volumeName") != name || !has_annotation(claim, BIND_COMPLETED, "yes")
        {
            let mut annotations = json!({ BIND_COMPLETED: "yes" });
            if text(claim, "/spec/volumeName").is_empty() {
                annotations[BOUND_BY_CONTROLLER] = "yes".into();
            }
            if has_annotation(volume, PROVISIONED_BY, PROVISIONER) {
                annotations[CLAIM_PROVISIONER] = PROVISIONER.into();
            }
            let patch = json!({
                "metadata": {
                    "resourceVersion": object::meta_str(claim, "resourceVersion"),
                    "annotations": annotations,
                },
                "spec": { "volumeName": name },
            });
            return api::write(
                &self.client,
                Method::PATCH,
                &claim_path(claim),
                MERGE_PATCH,
                Some(&patch),
            )
            .await;
        }
        let status = json!({
            "phase": "Bound",
            "accessModes": volume["spec"]["accessModes"],
            "capacity": volume["spec"]["capacity"],
        });
        settled & self.set_status(&claim_path(claim), claim, &status).await
    }

    /// Lets go of a claim that is being deleted when no pod uses it.
    async fn release_claim(&self, claim: &Value) -> Settled {
        if !holds(claim, CLAIM_PROTECTION) {
            return true;
        }
        let namespace = object::meta_str(claim, "namespace");
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        match request::get_opt(&self.client, &path).await {
            Err(error) => {
                tracing::warn!(path, %error, "could not list pods; will retry");
                false
            }
            // A pod that starts or ends is no change that this controller sees.
            Ok(Some(pods)) if list(&pods, "/items").iter().any(|pod| fit::uses(pod, claim)) => {
                false
            }
            Ok(_) => self.drop_finalizer(&claim_path(claim), claim, CLAIM_PROTECTION).await,
        }
    }

    async fn sync_volume(&self, volume: &Value) -> Settled {
        let path = volume_path(volume);
        let uid = text(volume, "/spec/claimRef/uid");
        if uid.is_empty() {
            if object::is_terminating(volume) {
                return self.drop_finalizer(&path, volume, VOLUME_PROTECTION).await;
            }
            return self.set_status(&path, volume, &json!({ "phase": "Available" })).await;
        }
        let known = self.claims.state();
        if known.iter().any(|claim| claim.text("/metadata/uid") == uid) {
            return true;
        }
        // The watches are not ordered: the claim may be newer than what is known.
        let claim = format!(
            "/api/v1/namespaces/{}/persistentvolumeclaims/{}",
            text(volume, "/spec/claimRef/namespace"),
            text(volume, "/spec/claimRef/name"),
        );
        match request::get_opt(&self.client, &claim).await {
            Ok(Some(claim)) if object::meta_str(&claim, "uid") == uid => true,
            Ok(_) => self.reclaim(volume).await,
            Err(error) => {
                tracing::warn!(path = claim, %error, "could not read a claim; will retry");
                false
            }
        }
    }

    /// Does with a volume whose claim is gone what its policy says.
    async fn reclaim(&self, volume: &Value) -> Settled {
        let path = volume_path(volume);
        let is_ours = has_annotation(volume, PROVISIONED_BY, PROVISIONER);
        match text(volume, "/spec/persistentVolumeReclaimPolicy") {
            "Delete" if is_ours => {
                let released = json!({ "phase": "Released" });
                if !self.set_status(&path, volume, &released).await {
                    return false;
                }
                let (folders, name) =
                    (Arc::clone(&self.folders), object::meta_str(volume, "name").to_owned());
                let removed = tokio::task::spawn_blocking(move || folders.remove(&name)).await;
                if let Err(error) = removed.map_err(io::Error::other).and_then(|removed| removed) {
                    tracing::warn!(path, %error, "could not remove the folder of a volume; will retry");
                    let message = format!("could not remove the folder of the volume: {error}");
                    let status = json!({ "phase": "Failed", "message": message });
                    self.set_status(&path, volume, &status).await;
                    return false;
                }
                let deleted = api::write(&self.client, Method::DELETE, &path, JSON, None).await;
                deleted & self.drop_finalizer(&path, volume, VOLUME_PROTECTION).await
            }
            _ if object::is_terminating(volume) => {
                self.drop_finalizer(&path, volume, VOLUME_PROTECTION).await
            }
            "Retain" | "" => self.set_status(&path, volume, &json!({ "phase": "Released" })).await,
            policy => {
                let message = format!(
                    "this server reclaims only volumes of {PROVISIONER}; the policy {policy} has no effect"
                );
                let status = json!({ "phase": "Failed", "message": message });
                self.set_status(&path, volume, &status).await
            }
        }
    }

    /// Removes a finalizer; the object may have changed meanwhile, which is followed by a change.
    async fn drop_finalizer(&self, path: &str, object: &Value, name: &str) -> Settled {
        if !holds(object, name) {
            return true;
        }
        let kept: Vec<String> =
            object::finalizers(object).into_iter().filter(|held| held != name).collect();
        let of = |field: &str| object::meta_str(object, field);
        // Finalizers that others added since are kept: the patch is for the object as it was read.
        let patch = json!({ "metadata": {
            "uid": of("uid"), "resourceVersion": of("resourceVersion"), "finalizers": kept,
        } });
        api::write(&self.client, Method::PATCH, path, MERGE_PATCH, Some(&patch)).await
    }

    /// Writes fields of the status that differ.
    async fn set_status(&self, path: &str, object: &Value, status: &Value) -> Settled {
        let differs =
            |(field, value): (&String, &Value)| object["status"].get(field) != Some(value);
        if !status.as_object().into_iter().flatten().any(differs) {
            return true;
        }
        let path = format!("{path}/status");
        let patch = json!({ "status": status });
        api::write(&self.client, Method::PATCH, &path, MERGE_PATCH, Some(&patch)).await
    }
}

fn holds(object: &Value, finalizer: &str) -> bool {
    object::finalizers(object).iter().any(|held| held == finalizer)
}
