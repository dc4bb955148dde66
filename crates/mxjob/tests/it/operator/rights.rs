//! The rights of the manifests: they are enough, they are all used, and what happens without one of
//! them.

use std::collections::{BTreeMap, BTreeSet};

use mxjob_testkit::Record;
use serde_json::{Value, json};

use super::cluster::{Cluster, Operator, job};
use super::history::Wait as _;
use super::nodes::{Behavior, End};
use crate::support::{Place, Server, wait_until};

const NAMESPACE: &str = "mxjob-system";

/// Group, resource and verb.
type Right = (String, String, String);

/// What `mxjob manifests` prints of some parts, or of all.
pub(crate) fn manifests(place: &Place, parts: &[&str]) -> Value {
    let mut words = vec!["manifests", "-o", "json"];
    words.extend(parts.iter().flat_map(|part| ["--only", part]));
    let done = place.mxjob(&words);
    assert!(done.status.success(), "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

/// Applies objects as the administrator.
pub(crate) fn apply(server: &Server<'_>, objects: &Value) {
    let done = server.kubectl_with(&["apply", "--server-side", "-f", "-"], objects);
    assert!(done.status.success(), "{}{}", done.stdout, done.stderr);
}

/// A token of the operator's own service account, which is there with its rights and no others.
pub(crate) fn service_account(place: &Place, server: &Server<'_>) -> String {
    apply(server, &manifests(place, &["namespace", "rbac"]));
    server.kubectl(&["create", "token", "mxjob-operator", "-n", NAMESPACE]).trim().to_owned()
}

/// What the roles in a list of objects grant.
fn granted(objects: &Value) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    let items = objects["items"].as_array().unwrap();
    for rule in items.iter().filter_map(|object| object["rules"].as_array()).flatten() {
        let words = |field: &str| {
            let words = rule[field].as_array().unwrap().iter();
            words.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for group in words("apiGroups") {
            for resource in words("resources") {
                for verb in words("verbs") {
                    rights.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rights
}

/// What an operator asked for and was allowed to do.
pub(crate) fn used(operator: &Operator) -> BTreeSet<Right> {
    let records = operator.proxy.records().into_iter();
    let allowed = records.filter(|record| record.server_code != 0 && record.server_code != 403);
    let right = |record: Record| {
        let request = record.request;
        (request.group, request.resource, request.verb.to_owned())
    };
    allowed.map(right).collect()
}

/// Rights that no request of an operator shows, and why they are there all the same.
const UNSEEN: [(&str, &str, &str, &str); 2] = [
    (
        "kubeflow.org",
        "mxjobs/finalizers",
        "update",
        "asked for by clusters that check who may make an object hold up the deletion of its owner",
    ),
    ("", "secrets", "update", "used when the first certificate is replaced, weeks later"),
];

/// Those of the webhook, which are used where it runs.
const WEBHOOK: [&str; 2] = ["secrets", "validatingwebhookconfigurations"];

/// The rights that were granted and not used.
pub(crate) fn unused(objects: &Value, used: &BTreeSet<Right>) -> Vec<Right> {
    let is_unseen = |right: &Right| {
        UNSEEN.iter().any(|(group, resource, verb, _)| {
            (*group, *resource, *verb) == (right.0.as_str(), right.1.as_str(), right.2.as_str())
        })
    };
    granted(objects)
        .into_iter()
        .filter(|right| !used.contains(right) && !is_unseen(right))
        .collect()
}

fn refused(operator: &Operator) -> Vec<String> {
    let records = operator.proxy.records().into_iter();
    records.filter(|record| record.server_code == 403).map(|record| record.request.text()).collect()
}

/// Sees jobs through that need everything an operator can do.
pub(crate) async fn use_every_right(cluster: &Cluster<'_>) {
    // A name that is taken makes it look whether what has it is its own.
    let container = json!({ "name": "other", "image": "other" });
    let spec = [
        ("Service", "digits-server-0", json!({ "ports": [{ "port": 1 }] })),
        ("Pod", "digits-worker-0", json!({ "containers": [container] })),
    ];
    for (kind, name, spec) in &spec {
        let metadata = json!({ "name": name, "namespace": "default" });
        let object =
            json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec });
        cluster.server().create(&object);
    }
    let more = json!({ "cleanPodPolicy": "All", "successPolicy": "AllWorkers" });
    cluster.submit("digits", &more).await;
    for (kind, name, _) in &spec {
        cluster.history.wait_until("the used name is reported", |history| {
            let reason = format!("FailedCreate{kind}");
            history.events_of("digits").iter().any(|event| event.starts_with(&reason))
        });
        // Its successor may be there before anybody could wait for its end.
        cluster.server().kubectl(&["delete", kind, name, "--wait=false"]);
    }
    cluster.history.wait_for_state("digits", "Running");
    for worker in ["digits-worker-0", "digits-worker-1"] {
        cluster.nodes.end(worker, End::Code(0));
    }
    cluster.history.wait_for_state("digits", "Succeeded");
    cluster.history.wait_until("it is tidied up", |history| {
        history.of_job("digits", "pods").is_empty()
            && history.of_job("digits", "services").is_empty()
    });
    cluster.change("digits", &json!({ "ttlSecondsAfterFinished": 0 })).await;
    cluster.history.wait_until("it is gone", |history| history.get("mxjobs", "digits").is_none());
    let mut crashing = job("crashing", &[("Worker", 1)]);
    crashing["spec"]["backoffLimit"] = json!(0);
    crashing["spec"]["mxReplicaSpecs"]["Worker"]["restartPolicy"] = json!("OnFailure");
    cluster.create(&crashing).await;
    cluster.history.wait_for_state("crashing", "Running");
    // The second creation of a pod is counted with the event about the first.
    cluster.delete("pods", "crashing-worker-0").await;
    cluster.history.wait_until("an event is counted", |history| {
        history.of_resource("events").iter().any(|event| {
            event["involvedObject"]["name"] == "crashing" && event["count"].as_u64() > Some(1)
        })
    });
    cluster.history.wait_until("the pod runs again", |history| {
        let pod = history.get("pods", "crashing-worker-0");
        pod.is_some_and(|pod| {
            pod["metadata"].get("deletionTimestamp").is_none()
                && pod["status"]["phase"] == "Running"
        })
    });
    cluster.nodes.end("crashing-worker-0", End::Crashed(1));
    cluster.history.wait_for_state("crashing", "Failed");
    cluster.history.wait_until("the crashing pod is stopped", |history| {
        let pod = history.get("pods", "crashing-worker-0");
        pod.is_some_and(|pod| pod["spec"]["activeDeadlineSeconds"] == 1)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_manifests_suffice_and_each_is_used() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let token = service_account(&place, cluster.server());
    let args = ["--leader-elect-namespace", NAMESPACE];
    let operator = Operator::start(&place, "operator", &token, &args).await;
    use_every_right(&cluster).await;
    wait_until("its lease is renewed", || {
        (operator.proxy.count("update leases") > 0).then_some(())
    });
    assert_eq!(refused(&operator), [""; 0]);
    let mut unused = unused(&manifests(&place, &["rbac"]), &used(&operator));
    unused.retain(|(_, resource, _)| !WEBHOOK.contains(&resource.as_str()));
    assert_eq!(unused, [], "granted and not used");
}

/// Takes a right away from the operator's cluster role, or gives all of them back.
fn grant_all_but(place: &Place, server: &Server<'_>, missing: Option<(&str, &str)>) {
    let mut objects = manifests(place, &["rbac"]);
    for object in objects["items"].as_array_mut().unwrap() {
        let Some(rules) = object["rules"].as_array().cloned() else { continue };
        let mut kept = Vec::new();
        for rule in rules {
            for resource in rule["resources"].as_array().unwrap() {
                let mut verbs = rule["verbs"].as_array().unwrap().clone();
                verbs.retain(|verb| {
                    missing.is_none_or(|missing| *resource != missing.0 || *verb != missing.1)
                });
                let mut rule = rule.clone();
                rule["resources"] = json!([resource]);
                rule["verbs"] = verbs.into();
                if rule["verbs"] != json!([]) {
                    kept.push(rule);
                }
            }
        }
        object["rules"] = kept.into();
    }
    apply(server, &objects);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_away_is_named_on_the_jobs_it_stops_and_they_go_on_when_it_is_back() {
    let place = Place::new();
    let cluster = Cluster::start(&place).await;
    let token = service_account(&place, cluster.server());
    let args = ["--leader-elect-namespace", NAMESPACE];
    let mut operator = Operator::start(&place, "operator", &token, &args).await;
    cluster.submit("first", &json!({})).await;
    cluster.history.wait_for_state("first", "Running");
    let mut sentences: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, resource, verb, sentence) in [
        ("no-pods", "pods", "create", "cannot create resource \"pods\""),
        ("no-services", "services", "create", "cannot create resource \"services\""),
        ("no-list", "pods", "list", "the controller may not list pods in all namespaces"),
        (
            "no-watch",
            "services",
            "watch",
            "the controller may not watch services in all namespaces",
        ),
        (
            "no-status",
            "mxjobs/status",
            "patch",
            "the controller may not patch mxjobs/status.kubeflow.org",
        ),
    ] {
        sentences.insert(name, sentence);
        grant_all_but(&place, cluster.server(), Some((resource, verb)));
        // What is followed already goes on until it breaks.
        operator.proxy.break_watches(true);
        if verb == "list" || verb == "watch" {
            operator.wait_for_log(sentence);
        }
        cluster.submit(name, &json!({})).await;
        cluster.history.wait_until(&format!("{name} says {sentence:?}"), |history| {
            let in_event = history.events_of(name).iter().any(|event| event.contains(sentence));
            // The condition says it wherever the job had got to by then.
            let job = history.get("mxjobs", name);
            let status = job.map(|job| job["status"].to_string().replace("\\\"", "\""));
            let in_message = status.is_some_and(|status| status.contains(sentence));
            in_event && (in_message || verb == "patch")
        });
        grant_all_but(&place, cluster.server(), None);
        cluster.history.wait_for_state(name, "Running");
    }
    // What cannot be reported on a job is reported in the log.
    grant_all_but(&place, cluster.server(), Some(("mxjobs", "list")));
    operator.proxy.break_watches(true);
    operator.wait_for_log("the controller may not list mxjobs.kubeflow.org in all namespaces");
    operator.wait_until_ready_says("the controller may not list mxjobs.kubeflow.org").await;
    grant_all_but(&place, cluster.server(), None);
    cluster.submit("last", &json!({})).await;
    cluster.history.wait_for_state("last", "Running");
    assert!(operator.is_running());
    for (name, sentence) in sentences {
        let events = cluster.history.events_of(name);
        let count = events.iter().filter(|event| event.contains(sentence)).count();
        assert!(count <= 8, "{name} has {count} such events: {events:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_at_the_start_is_said_with_the_way_to_grant_it() {
    let place = Place::new();
    let cluster = Cluster::with_behavior(&place, |_| Behavior::default()).await;
    let token = service_account(&place, cluster.server());
    let args = ["--leader-elect-namespace", NAMESPACE];
    grant_all_but(&place, cluster.server(), Some(("leases", "update")));
    let mut operator = Operator::start(&place, "operator", &token, &args).await;
    let line = operator.wait_for_log("The operator may not update leases.coordination.k8s.io");
    assert!(line.contains("mxjob manifests") && line.contains("--only rbac"), "{line}");
    cluster.submit("digits", &json!({})).await;
    grant_all_but(&place, cluster.server(), None);
    cluster.history.wait_for_state("digits", "Running");
    operator.wait_for_log("a missing right was granted");
    wait_until("nothing is missing any more", || (!operator.log().is_empty()).then_some(()));
    assert!(operator.is_running());
}
