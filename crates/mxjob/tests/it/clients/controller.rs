//! A controller as people write them with `kube`: it leads by a lease, holds jobs by a finalizer,
//! and applies from the server's side.

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

use crate::kubectl::held;
use crate::support::{LIMIT, Place, Server};

const MANAGER: &str = "shadows";
const FINALIZER: &str = "example.com/shadow";

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

/// What one instance of the controller works with.
struct Shadows {
    jobs: Api<DynamicObject>,
    maps: Api<ConfigMap>,
}

impl Shadows {
    fn new(client: &Client) -> Self {
        Self {
            jobs: Api::namespaced_with(client.clone(), "default", &kind()),
            maps: Api::namespaced(client.clone(), "default"),
        }
    }

    /// A map beside each job that has its team, and a note when the job goes.
    async fn reconcile(
        job: Arc<DynamicObject>,
        shadows: Arc<Self>,
    ) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
        finalizer(&shadows.jobs, FINALIZER, job, |event| async {
            match event {
                Event::Apply(job) => shadows.apply(&job).await,
                Event::Cleanup(job) => {
                    let name = format!("{}-farewell", job.name_any());
                    let note = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
                    shadows.put(&name, note).await
                }
            }
        })
        .await
    }

    async fn apply(&self, job: &DynamicObject) -> kube::Result<Action> {
        let name = format!("{}-shadow", job.name_any());
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "ownerReferences": [job.controller_owner_ref(&kind())]},
            "data": {"team": job.labels().get("team")},
        });
        self.put(&name, map).await?;
        let note = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob",
            "metadata": {"name": job.name_any(), "annotations": {"example.com/shadow": name}},
        });
        self.jobs.patch(&job.name_any(), &PatchParams::apply(MANAGER), &Patch::Apply(note)).await?;
        Ok(Action::await_change())
    }

    async fn put(&self, name: &str, map: serde_json::Value) -> kube::Result<Action> {
        self.maps.patch(name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(map)).await?;
        Ok(Action::await_change())
    }
}

/// Waits until the object, or its absence, is as wanted.
async fn until<K>(api: &Api<K>, name: &str, wanted: impl Fn(Option<&K>) -> bool)
where
    K: kube::Resource + Clone + std::fmt::Debug + for<'a> serde::Deserialize<'a> + Send + 'static,
{
    let seen = await_condition(api.clone(), name, wanted);
    match tokio::time::timeout(LIMIT, seen).await {
        Ok(result) => drop(result.unwrap()),
        Err(_) => panic!("{name} never was as wanted"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_with_a_finalizer_applies_restores_and_cleans_up() {
    let place = Place::new();
    let server = Server::up(&place);
    let client = client(&place).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let Shadows { jobs, maps } = Shadows::new(&client);
    let controller = Controller::new_with(jobs.clone(), watcher::Config::default(), kind())
        .owns(maps.clone(), watcher::Config::default())
        .graceful_shutdown_on(async { drop(stopped.await) })
        .run(
            Shadows::reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(100)),
            Arc::new(Shadows::new(&client)),
        )
        .for_each(|_| async {});
    let controller = tokio::spawn(controller);

    let mut job = held("lit");
    job["metadata"]["labels"] = json!({"team": "digits"});
    let job: DynamicObject = serde_json::from_value(job).unwrap();
    jobs.create(&PostParams::default(), &job).await.unwrap();
    let team = |map: &ConfigMap| map.data.as_ref().and_then(|data| data.get("team").cloned());
    until(&maps, "lit-shadow", |map| map.and_then(team).as_deref() == Some("digits")).await;
    until(&jobs, "lit", |job| job.is_some_and(|job| !job.annotations().is_empty())).await;
    let job = jobs.get("lit").await.unwrap();
    assert_eq!(job.finalizers(), [FINALIZER]);
    let managers: Vec<_> =
        job.managed_fields().iter().filter_map(|entry| entry.manager.as_deref()).collect();
    assert!(managers.contains(&MANAGER), "{managers:?}");

    let letters = json!({"metadata": {"labels": {"team": "letters"}}});
    jobs.patch("lit", &PatchParams::default(), &Patch::Merge(letters)).await.unwrap();
    until(&maps, "lit-shadow", |map| map.and_then(team).as_deref() == Some("letters")).await;
    // The map that it owns comes back.
    let gone = maps.get("lit-shadow").await.unwrap().uid().unwrap();
    maps.delete("lit-shadow", &DeleteParams::default()).await.unwrap();
    until(&maps, "lit-shadow", |map| map.is_some_and(|map| map.uid().unwrap() != gone)).await;

    jobs.delete("lit", &DeleteParams::default()).await.unwrap();
    until(&jobs, "lit", |job| job.is_none()).await;
    assert_eq!(maps.get("lit-farewell").await.unwrap().name_any(), "lit-farewell");
    until(&maps, "lit-shadow", |map| map.is_none()).await;

    stop.send(()).unwrap();
    tokio::time::timeout(LIMIT, controller).await.unwrap().unwrap();
    // Without it, nobody takes the finalizer off.
    let mut job = held("dark");
    job["metadata"]["finalizers"] = json!([FINALIZER]);
    jobs.create(&PostParams::default(), &serde_json::from_value(job).unwrap()).await.unwrap();
    jobs.delete("dark", &DeleteParams::default()).await.unwrap();
    assert!(jobs.get("dark").await.unwrap().meta().deletion_timestamp.is_some());
    server.kubectl(&[
        "patch",
        "mxjob",
        "dark",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    assert!(jobs.get_opt("dark").await.unwrap().is_none());
}

/// One try of `me` to lead or to go on leading; whether it leads.
async fn lead(leases: &Api<Lease>, me: &str, now: Timestamp) -> bool {
    let spec = |transitions: i32| LeaseSpec {
        holder_identity: Some(me.to_owned()),
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
            let held = lease.spec.take().unwrap();
            let renewed = held.renew_time.unwrap().0;
            let is_mine = held.holder_identity.as_deref() == Some(me);
            let lasts =
                Duration::from_secs(held.lease_duration_seconds.unwrap().try_into().unwrap());
            if !is_mine && renewed + lasts > now {
                return false;
            }
            lease.spec = Some(spec(held.lease_transitions.unwrap() + i32::from(!is_mine)));
            leases.replace("leader", &PostParams::default(), &lease).await
        }
    };
    match written {
        Ok(_) => true,
        // Somebody else was faster.
        Err(kube::Error::Api(status)) if status.code == 409 => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_leads_by_a_lease_until_it_runs_out() {
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
    assert!(lead(&leases, leader, soon).await, "it goes on");
    let lease = leases.get("leader").await.unwrap();
    assert_eq!(lease.spec.unwrap().renew_time.unwrap().0.as_microsecond(), soon.as_microsecond());

    assert!(lead(&leases, "late", soon + Duration::from_secs(16)).await, "it has run out");
    assert!(!lead(&leases, leader, soon + Duration::from_secs(17)).await);
    let lease = leases.get("leader").await.unwrap().spec.unwrap();
    assert_eq!(
        (lease.holder_identity.as_deref(), lease.lease_transitions),
        (Some("late"), Some(1))
    );
}
