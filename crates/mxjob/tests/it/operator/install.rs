//! The whole way that a cluster goes: a server that knows no MXJobs, the manifests, the operator's
//! own account, its webhook.

use std::net::SocketAddr;
use std::process::Stdio;

use kube::api::{DynamicObject, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::cluster::{Cluster, Operator, client, job};
use super::history::{Wait as _, kind};
use super::nodes::{Behavior, End};
use super::rights::{manifests, service_account, unused, use_every_right, used};
use crate::support::{Done, Place, Server, wait_until};

/// The service that the webhook has on a cluster: an address that is there before the operator is.
struct Service {
    address: SocketAddr,
    operator: watch::Sender<Option<String>>,
}

impl Service {
    async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (operator, mut target) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let (caller, _) = listener.accept().await.unwrap();
                let operator: Option<String> = target.borrow_and_update().clone();
                if let Some(operator) = operator {
                    tokio::spawn(join(caller, operator, target.clone()));
                }
            }
        });
        Self { address, operator }
    }

    /// Leads to that address from now on, or nowhere.
    fn lead_to(&self, operator: Option<String>) {
        self.operator.send_replace(operator);
    }
}

/// Passes everything on until one side hangs up or the service leads elsewhere.
async fn join(
    mut caller: TcpStream,
    operator: String,
    mut target: watch::Receiver<Option<String>>,
) {
    let Ok(mut operator) = TcpStream::connect(operator).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut caller, &mut operator) => {}
        _ = target.changed() => {}
    }
}

/// `mxjob manifests | kubectl apply --server-side -f -`.
fn install(place: &Place, server: &Server<'_>) {
    let mut manifests = place.command(&["manifests"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut kubectl = server.kubectl_command(&["apply", "--server-side", "-f", "-"]);
    kubectl.stdin(manifests.stdout.take().unwrap());
    let done = Done::of(kubectl.output().unwrap());
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
    assert!(manifests.wait().unwrap().success());
}

fn jobs(client: &Client) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), "default", &kind("mxjobs"))
}

/// Code and causes of a refusal: field, reason and message of each.
type Refusal = (u16, Vec<[String; 3]>);

fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> Refusal {
    let Err(kube::Error::Api(status)) = result else { panic!("not refused: {result:?}") };
    let causes = status.details.as_ref().map(|details| details.causes.clone()).unwrap_or_default();
    let mut causes: Vec<[String; 3]> =
        causes.into_iter().map(|cause| [cause.field, cause.reason, cause.message]).collect();
    causes.sort();
    (status.code, causes)
}

async fn refused_create(client: &Client, job: &Value) -> Refusal {
    let job = serde_json::from_value(job.clone()).unwrap();
    refusal(jobs(client).create(&PostParams::default(), &job).await)
}

/// A job whose faults neither the schema nor the rules of the definition know.
fn faulty() -> Value {
    let mut faulty = job("faulty", &[("Scheduler", 1), ("Server", 1), ("Worker", 1)]);
    for role in ["Server", "Worker"] {
        let template = &mut faulty["spec"]["mxReplicaSpecs"][role]["template"];
        template["spec"]["containers"][0]["name"] = json!("trainer");
    }
    faulty
}

/// Replaces a field of a job as `kubectl replace` does.
async fn replace(client: &Client, name: &str, pointer: &str, value: Value) -> kube::Result<()> {
    let mut job = serde_json::to_value(jobs(client).get(name).await.unwrap()).unwrap();
    *job.pointer_mut(pointer).unwrap() = value;
    let job = serde_json::from_value(job).unwrap();
    jobs(client).replace(name, &PostParams::default(), &job).await.map(drop)
}

const IMAGE: &str = "/spec/mxReplicaSpecs/Worker/template/spec/containers/0/image";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manifests_install_the_definition_and_the_webhook_enforces_the_rules() {
    let place = Place::new();
    let service = Service::listen().await;
    let hook = format!("mxjob-system/mxjob-webhook={}", service.address);
    let args = ["--builtin-mxjobs=false", "--webhook-service", &hook];
    let server = Server::start(&place, "apiserver", &args);
    let token = service_account(&place, &server);
    let args = [
        "--leader-elect-namespace",
        "mxjob-system",
        "--webhook",
        "--webhook-listen",
        "127.0.0.1:0",
    ];
    let mut operator = Operator::start(&place, "operator", &token, &args).await;
    let line = operator.wait_for_log("The cluster does not serve MXJobs");
    assert!(line.contains("mxjob manifests --only crd | kubectl apply --server-side"), "{line}");

    service.lead_to(Some(operator.address("webhook")));
    install(&place, &server);
    operator.wait_for_log("found the MXJob CustomResourceDefinition");
    wait_until("the webhook is trusted", || {
        let read = ["get", "validatingwebhookconfiguration", "mxjob", "-o", "json"];
        let configuration: Value = serde_json::from_str(&server.kubectl(&read)).unwrap();
        configuration.pointer("/webhooks/0/clientConfig/caBundle").is_some().then_some(())
    });
    operator.wait_until_ready_is(200).await;
    let cluster = Cluster::of(&place, server, |_| Behavior::default()).await;

    // The rules are those of a server that has MXJobs of its own.
    let other_place = Place::new();
    let _embedded = Server::start(&other_place, "apiserver", &[]);
    let embedded = client(&other_place).await;
    let (code, causes) = refused_create(&cluster.client, &faulty()).await;
    assert_eq!((code, causes.len()), (422, 2), "{causes:#?}");
    assert_eq!((code, causes), refused_create(&embedded, &faulty()).await);
    let good = job("digits", &[("Scheduler", 1), ("Server", 1), ("Worker", 2)]);
    for client in [&cluster.client, &embedded] {
        let good = serde_json::from_value(good.clone()).unwrap();
        jobs(client).create(&PostParams::default(), &good).await.unwrap();
    }
    cluster.history.wait_for_state("digits", "Running");
    let mut refusals = Vec::new();
    for client in [&cluster.client, &embedded] {
        refusals.push(refusal(replace(client, "digits", IMAGE, json!("mxnet:2")).await));
    }
    let [(code, causes), embedded_refusal] = refusals.try_into().unwrap();
    assert_eq!((code, causes.len()), (422, 1), "{causes:#?}");
    assert_eq!((code, causes), embedded_refusal);
    cluster.change("digits", &json!({ "activeDeadlineSeconds": 600 })).await;

    // The job is seen to its end, also while nobody can ask the webhook.
    service.lead_to(None);
    operator.proxy.wait_until_idle();
    for replica in ["scheduler-0", "server-0", "worker-0", "worker-1"] {
        cluster.nodes.end(&format!("digits-{replica}"), End::Code(0));
    }
    cluster.history.wait_for_state("digits", "Succeeded");
    let closed = refused_create(&cluster.client, &job("closed", &[("Worker", 1)])).await;
    assert_eq!(closed.0, 500, "{closed:?}");
    service.lead_to(Some(operator.address("webhook")));
    cluster.delete("mxjobs", "digits").await;
    cluster.history.wait_until("it is gone", |history| {
        history.get("mxjobs", "digits").is_none() && history.of_job("digits", "pods").is_empty()
    });
    use_every_right(&cluster).await;
    wait_until("its lease is renewed", || {
        (operator.proxy.count("update leases") > 0).then_some(())
    });
    assert_eq!(unused(&manifests(&place, &["rbac"]), &used(&operator)), [], "granted and not used");
    assert!(operator.is_running());
}
