//! A controller written with `kube`: leader election by a Lease, a finalizer, and server-side
//! apply.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ObjectMeta, Patch, PatchParams,
    PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::await_condition;
use kube::runtime::watcher;
use kube::{Api, Client, Config, Resource as _, ResourceExt as _};
use serde_json::json;

use crate::kubectl::suspended;
use crate::support::{LIMIT, Place, Server};

const MANAGER: &str = "copier";
const FINALIZER: &str = "example.com/copy";

async fn client(place: &Place) -> Client {
    let kubeconfig = Kubeconfig::read_from(place.data().join("kubeconfig")).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    assert_eq!(config.cluster_url.scheme_str(), Some("https"));
    Client::try_from(config).unwrap()
}

fn kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("kubeflow.org", "v1", "MXJob"),
        "mxjobs",
    )
}

/// Copies the team of each job into a ConfigMap.
struct Copier {
    jobs: Api<DynamicObject>,
    maps: Api<ConfigMap>,
}

impl Copier {
    fn new(client: &Client) -> Self {
        Self {
            jobs: Api::namespaced_with(client.clone(), "default", &kind()),
            maps: Api::namespaced(client.clone(), "default"),
        }
    }

    /// Applies the ConfigMap of a job, and another one when the job is deleted.
    async fn reconcile(
        job: Arc<DynamicObject>,
        copier: Arc<Self>,
    ) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
        finalizer(&copier.jobs, FINALIZER, job, |event| async {
            match event {
                Event::Apply(job) => copier.apply(&job).await,
                Event::Cleanup(job) => {
                    let name = format!("{}-deleted", job.name_any());
                    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
                    copier.put(&name, map).await
                }
            }
        })
        .await
    }

    async fn apply(&self, job: &DynamicObject) -> kube::Result<Action> {
        let name = format!("{}-team", job.name_any());
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "ownerReferences": [job.controller_owner_ref(&kind())]},
            "data": {"team": job.labels().get("team")},
        });
        self.put(&name, map).await?;
        let annotated = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": {"name": job.name_any(), "annotations": {"example.com/copy": name}},
        });
        self.jobs
            .patch(&job.name_any(), &PatchParams::apply(MANAGER), &Patch::Apply(annotated))
            .await?;
        Ok(Action::await_change())
    }

    async fn put(&self, name: &str, map: serde_json::Value) -> kube::Result<Action> {
        self.maps.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(map)).await?;
        Ok(Action::await_change())
    }
}

/// Waits until a condition holds for an object, or for its absence.
async fn until<K>(api: &Api<K>, name: &str, condition: impl Fn(Option<&K>) -> bool)
where
    K: kube::Resource + Clone + std::fmt::Debug + for<'a> serde::Deserialize<'a> + Send + 'static,
{
    let seen = await_condition(api.clone(), name, condition);
    match tokio::time::timeout(LIMIT, seen).await {
        Ok(result) => drop(result.unwrap()),
        Err(_) => panic!("timed out waiting for {name}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn controller_with_a_finalizer_applies_restores_and_cleans_up() {
    let place = Place::new();
    let server = Server::up(&place);
    let client = client(&place).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let Copier { jobs, maps } = Copier::new(&client);
    let controller = Controller::new_with(jobs.clone(), watcher::Config::default(), kind())
        .owns(maps.clone(), watcher::Config::default())
        .graceful_shutdown_on(async { drop(stopped.await) })
        .run(
            Copier::reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(100)),
            Arc::new(Copier::new(&client)),
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);

    let mut job = suspended("copied");
    job["metadata"]["labels"] = json!({"team": "digits"});
    let job: DynamicObject = serde_json::from_value(job).unwrap();
    jobs.create(&PostParams::default(), &job).await.unwrap();
    let team = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get("team").cloned());
    until(&maps, "copied-team", |map| map.and_then(team).as_deref() == Some("digits")).await;
    until(&jobs, "copied", |job| job.is_some_and(|job| !job.annotations().is_empty())).await;
    let job = jobs.get("copied").await.unwrap();
    assert_eq!(job.finalizers(), [FINALIZER]);
    let managers: Vec<_> =
        job.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
    assert!(managers.contains(&MANAGER), "{managers:?}");

    let letters = json!({"metadata": {"labels": {"team": "letters"}}});
    jobs.patch("copied", &PatchParams::default(), &Patch::Merge(letters)).await.unwrap();
    until(&maps, "copied-team", |map| map.and_then(team).as_deref() == Some("letters")).await;
    // The controller creates the deleted ConfigMap again.
    let deleted = maps.get("copied-team").await.unwrap().uid().unwrap();
    maps.delete("copied-team", &DeleteParams::default()).await.unwrap();
    until(&maps, "copied-team", |map| map.is_some_and(|map| map.uid().unwrap() != deleted)).await;

    jobs.delete("copied", &DeleteParams::default()).await.unwrap();
    until(&jobs, "copied", |job| job.is_none()).await;
    assert_eq!(maps.get("copied-deleted").await.unwrap().name_any(), "copied-deleted");
    until(&maps, "copied-team", |map| map.is_none()).await;

    stop.send(()).unwrap();
    tokio::time::timeout(LIMIT, controller).await.unwrap().unwrap();
    // Without the controller the finalizer stays.
    let mut job = suspended("held");
    job["metadata"]["finalizers"] = json!([FINALIZER]);
    jobs.create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
    jobs.delete("held", &DeleteParams::default()).await.unwrap();
    assert!(jobs.get("held").await.unwrap().meta().deletion_timestamp.is_some());
    server.kubectl(&[
        "patch",
        "mxjob",
        "held",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    assert!(jobs.get_opt("held").await.unwrap().is_none());
}

/// Tries to acquire or renew the Lease. Returns whether this candidate leads.
async fn lead(leases: &Api<Lease>, candidate: &str, now: Timestamp) -> bool {
    let spec = |transitions: i32| LeaseSpec {
        holder_identity: Some(candidate.to_owned()),
        lease_duration_seconds: Some(15),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    let written = match leases.get_opt("leader").await.unwrap() {
        None => {
            let metadata = ObjectMeta { name: Some("leader".to_owned()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec(0)) };
            leases.create(&PostParams::default(), &lease).await
        }
        Some(mut lease) => {
            let current = lease.spec.take().unwrap();
            let renewed = current.renew_time.unwrap().0;
            let is_mine = current.holder_identity.as_deref() == Some(candidate);
            let duration =
                Duration::from_secs(current.lease_duration_seconds.unwrap().try_into().unwrap());
            if !is_mine && renewed + duration > now {
                return false;
            }
            lease.spec = Some(spec(current.lease_transitions.unwrap() + i32::from(!is_mine)));
            leases.replace("leader", &PostParams::default(), &lease).await
        }
    };
    match written {
        Ok(_) => true,
        // Another candidate was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_candidate_leads_until_its_lease_expires() {
    let place = Place::new();
    let _server = Server::up(&place);
    let leases: Api<Lease> = Api::namespaced(client(&place).await, "default");
    let race = |now: Timestamp| {
        let leases = leases.clone();
        async move {
            let names: Vec<String> = (0..8).map(|number| format!("candidate-{number}")).collect();
            let tries = names.iter().map(|name| lead(&leases, name, now));
            let won = futures_util::future::join_all(tries).await;
            let leaders = names.into_iter().zip(won).filter_map(|(name, won)| won.then_some(name));
            leaders.collect::<Vec<String>>()
        }
    };
    let began = Timestamp::now();
    let leaders = race(began).await;
    let [leader] = leaders.as_slice() else { panic!("{leaders:?}") };
    let soon = began + Duration::from_secs(5);
    assert!(!lead(&leases, "late", soon).await);
    assert!(lead(&leases, leader, soon).await, "the leader may renew");
    let lease = leases.get("leader").await.unwrap();
    assert_eq!(lease.spec.unwrap().renew_time.unwrap().0.as_microsecond(), soon.as_microsecond());

    assert!(lead(&leases, "late", soon + Duration::from_secs(16)).await, "the lease has expired");
    assert!(!lead(&leases, leader, soon + Duration::from_secs(17)).await);
    let lease = leases.get("leader").await.unwrap().spec.unwrap();
    assert_eq!(
        (lease.holder_identity.as_deref(), lease.lease_transitions),
        (Some("late"), Some(1))
    );
}
