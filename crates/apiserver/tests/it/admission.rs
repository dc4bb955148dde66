//! What namespaces and the cluster have to say: priority classes, limit ranges, quotas, namespaces
//! that stay.

use http::Method;
use mxjob_manager::garbage;
use serde_json::{Value, json};

use crate::server::{JOBS, Server, config_map, job};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const RANGES: &str = "/api/v1/namespaces/default/limitranges";
const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";

fn pod(name: &str, resources: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

fn quota(hard: &Value) -> Value {
    json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})
}

async fn refused(server: &Server, path: &str, body: &Value, want: &str) {
    let (code, answer) = server.post(path, body).await;
    assert_eq!((code, &answer["reason"]), (403, &json!("Forbidden")), "{answer:#}");
    assert_eq!(answer["message"], want);
}

#[tokio::test]
async fn the_namespaces_of_the_system_stay() {
    let server = Server::start().await;
    for name in ["default", "kube-system", "kube-public"] {
        let (code, answer) = server.delete(&format!("/api/v1/namespaces/{name}")).await;
        assert_eq!(code, 403);
        assert_eq!(
            answer["message"],
            format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted")
        );
    }
    assert_eq!(server.delete("/api/v1/namespaces/kube-node-lease").await.0, 200);
}

#[tokio::test]
async fn priority_classes_have_a_fixed_value_and_the_system_has_two() {
    let server = Server::start().await;
    for (name, value) in
        [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
    {
        assert_eq!(server.get(&format!("{CLASSES}/{name}")).await.1["value"], value);
    }
    let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value});
    let made = server.make(CLASSES, &class("high", 1000)).await;
    assert_eq!(made["preemptionPolicy"], "PreemptLowerPriority");
    let (code, answer) = server.patch(&format!("{CLASSES}/high"), &json!({"value": 7})).await;
    assert_eq!(code, 422);
    let want = "PriorityClass.scheduling.k8s.io \"high\" is invalid: value: Forbidden: may not be changed in an update.";
    assert_eq!(answer["message"], want);
    assert_eq!(server.patch(&format!("{CLASSES}/high"), &json!({"description": "d"})).await.0, 200);
    let (code, answer) = server.post(CLASSES, &class("huge", 1_000_000_001)).await;
    assert_eq!(code, 422);
    let want = "PriorityClass.scheduling.k8s.io \"huge\" is invalid: value: Forbidden: maximum allowed value of a user defined priority is 1000000000";
    assert_eq!(answer["message"], want);
    assert_eq!(server.post(CLASSES, &class("system-mine", 1)).await.0, 422);
    let global =
        |name: &str| json!({"metadata": {"name": name}, "value": 5, "globalDefault": true});
    server.make(CLASSES, &global("usual")).await;
    let want = "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass usual is already marked as default. Only one default can exist";
    refused(&server, CLASSES, &global("other"), want).await;
}

#[tokio::test]
async fn pods_get_the_priority_of_their_class() {
    let server = Server::start().await;
    let made = server.make(PODS, &pod("plain", &json!({}))).await;
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]),
        (&json!(0), &json!("PreemptLowerPriority"))
    );
    server
        .make(
            CLASSES,
            &json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"}),
        )
        .await;
    let mut high = pod("high", &json!({}));
    high["spec"]["priorityClassName"] = "high".into();
    let made = server.make(PODS, &high).await;
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["preemptionPolicy"]),
        (&json!(1000), &json!("Never"))
    );
    let mut wrong = high.clone();
    wrong["spec"]["priority"] = 7.into();
    let want = "pods \"high\" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name";
    refused(&server, PODS, &wrong, want).await;
    wrong["spec"]["priorityClassName"] = "nope".into();
    refused(
        &server,
        PODS,
        &wrong,
        "pods \"high\" is forbidden: no PriorityClass with name nope was found",
    )
    .await;
    server
        .make(CLASSES, &json!({"metadata": {"name": "usual"}, "value": 5, "globalDefault": true}))
        .await;
    let made = server.make(PODS, &pod("usual", &json!({}))).await;
    assert_eq!(
        (&made["spec"]["priority"], &made["spec"]["priorityClassName"]),
        (&json!(5), &json!("usual"))
    );
    // A client that replaces what it once wrote does not undo what admission decided.
    let mut again = pod("usual", &json!({}));
    again["metadata"]["labels"] = json!({"x": "1"});
    let (code, answer) = server.put(&format!("{PODS}/usual"), &again).await;
    assert_eq!((code, &answer["spec"]["priority"]), (200, &json!(5)), "{answer:#}");
}

#[tokio::test]
async fn limit_ranges_complete_containers_and_bound_them() {
    let server = Server::start().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}, "max": {"cpu": "2", "memory": "1Gi"}, "min": {"cpu": "100m"}},
        {"type": "Pod", "max": {"cpu": "3"}},
    ]}});
    let made = server.make(RANGES, &range).await;
    let item = &made["spec"]["limits"][0];
    assert_eq!(
        (&item["default"]["memory"], &item["defaultRequest"]["memory"]),
        (&json!("1Gi"), &json!("1Gi"))
    );
    let made = server.make(PODS, &pod("plain", &json!({}))).await;
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(
        *resources,
        json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}})
    );
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
    );
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let big = pod("big", &json!({"limits": {"cpu": 4}, "requests": {"cpu": "50m"}}));
    let want = "pods \"big\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, maximum cpu usage per Container is 2, but limit is 4, maximum cpu usage per Pod is 3, but limit is 4]";
    refused(&server, PODS, &big, want).await;
    let (code, answer) = server
        .post(
            RANGES,
            &json!({"metadata": {"name": "bad"}, "spec": {"limits": [
        {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}}),
        )
        .await;
    assert_eq!(code, 422);
    let first = answer["details"]["causes"][0].clone();
    assert_eq!(
        (&first["field"], &first["message"]),
        (
            &json!("spec.limits[0].min[cpu]"),
            &json!("Invalid value: \"2\": min value 2 is greater than max value 1")
        )
    );
}

#[tokio::test]
async fn quotas_count_objects_and_refuse_the_first_too_many() {
    let server = Server::start().await;
    server.make(MAPS, &config_map("before")).await;
    server.make(QUOTAS, &quota(&json!({"configmaps": 2, "count/mxjobs.kubeflow.org": "1"}))).await;
    server.make(MAPS, &config_map("a")).await;
    let want = "configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2";
    refused(&server, MAPS, &config_map("b"), want).await;
    assert_eq!(server.post(&format!("{MAPS}?dryRun=All"), &config_map("b")).await.0, 403);
    server.make(JOBS, &job("a")).await;
    let want = "mxjobs.kubeflow.org \"b\" is forbidden: exceeded quota: q, requested: count/mxjobs.kubeflow.org=1, used: count/mxjobs.kubeflow.org=1, limited: count/mxjobs.kubeflow.org=1";
    refused(&server, JOBS, &job("b"), want).await;
    let (_, stored) = server.get(&format!("{QUOTAS}/q")).await;
    let all = json!({"configmaps": "2", "count/mxjobs.kubeflow.org": "1"});
    assert_eq!(stored["status"], json!({"hard": all, "used": all}));
    server.delete(&format!("{MAPS}/a")).await;
    server.make(MAPS, &config_map("b")).await;
    // Another namespace has its own.
    server.make("/api/v1/namespaces/kube-public/configmaps", &config_map("c")).await;
}

#[tokio::test]
async fn quotas_sum_what_pods_ask_for_and_let_go_of_pods_that_ended() {
    let server = Server::start().await;
    server
        .make(QUOTAS, &quota(&json!({"requests.cpu": "1", "limits.memory": "2Gi", "pods": 5})))
        .await;
    let want = "pods \"bare\" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c";
    refused(&server, PODS, &pod("bare", &json!({})), want).await;
    let sized = |name: &str, cpu: &str| {
        pod(name, &json!({"requests": {"cpu": cpu}, "limits": {"memory": "1Gi"}}))
    };
    server.make(PODS, &sized("a", "600m")).await;
    let want = "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1";
    refused(&server, PODS, &sized("b", "600m"), want).await;
    let (_, mut ended) = server.get(&format!("{PODS}/a")).await;
    ended["status"]["phase"] = "Succeeded".into();
    assert_eq!(server.put(&format!("{PODS}/a/status"), &ended).await.0, 200);
    server.make(PODS, &sized("b", "600m")).await;
    let (_, stored) = server.get(&format!("{QUOTAS}/q")).await;
    assert_eq!(
        stored["status"]["used"],
        json!({"limits.memory": "1Gi", "pods": "1", "requests.cpu": "600m"})
    );
}

#[tokio::test]
async fn of_creates_side_by_side_no_more_pass_than_the_quota_allows() {
    let server = Server::start().await;
    server.make(QUOTAS, &quota(&json!({"configmaps": 3}))).await;
    let bodies: Vec<Value> = (0..16).map(|index| config_map(&format!("m{index}"))).collect();
    let answers =
        futures_util::future::join_all(bodies.iter().map(|body| server.post(MAPS, body))).await;
    let made = answers.iter().filter(|(code, _)| *code == 201).count();
    assert_eq!(made, 3, "{answers:?}");
    assert!(answers.iter().all(|(code, _)| matches!(code, 201 | 403)));
    assert_eq!(server.get(&format!("{QUOTAS}/q")).await.1["status"]["used"]["configmaps"], "3");
}

#[tokio::test]
async fn the_status_of_a_quota_follows_what_goes_and_what_it_says() {
    let server = Server::start().await;
    server.make(MAPS, &config_map("a")).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let client = server.client(garbage::ACCOUNT);
    let collector = tokio::spawn(garbage::run(client, None, shutdown));
    server.make(QUOTAS, &quota(&json!({"configmaps": 3}))).await;
    let item = format!("{QUOTAS}/q");
    let used = |count: &str| {
        let count = count.to_owned();
        move |_: u16, quota: &Value| quota["status"]["used"]["configmaps"] == count
    };
    server.until(&item, "counted", used("1")).await;
    server.make(MAPS, &config_map("b")).await;
    server.until(&item, "counted up", used("2")).await;
    server.call(Method::DELETE, MAPS, &Value::Null).await;
    server.until(&item, "counted down", used("0")).await;
    server.patch(&item, &json!({"spec": {"hard": {"configmaps": 9}}})).await;
    server.until(&item, "changed", |_, quota| quota["status"]["hard"]["configmaps"] == "9").await;
    let _ = stop.send(());
    collector.await.unwrap();
}

#[tokio::test]
async fn what_is_no_quota_is_refused() {
    let server = Server::start().await;
    let (code, answer) = server
        .post(QUOTAS, &quota(&json!({"pods": "-1", "widgets": 1, "services": "1500m"})))
        .await;
    assert_eq!(code, 422, "{answer:#}");
    let causes = answer["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.hard[pods]", "spec.hard[services]", "spec.hard[widgets]"]);
}

#[tokio::test]
async fn a_quota_that_fits_many_lets_them_in_side_by_side_and_counts_each_once() {
    let server = Server::start().await;
    server.make(QUOTAS, &quota(&json!({"pods": 1000, "requests.cpu": "1000"}))).await;
    let bodies: Vec<Value> = (0..100)
        .map(|index| pod(&format!("p{index}"), &json!({"requests": {"cpu": "10m"}})))
        .collect();
    let answers =
        futures_util::future::join_all(bodies.iter().map(|body| server.post(PODS, body))).await;
    assert!(answers.iter().all(|(code, _)| *code == 201), "{answers:?}");
    let (_, stored) = server.get(&format!("{QUOTAS}/q")).await;
    assert_eq!(stored["status"]["used"], json!({"pods": "100", "requests.cpu": "1"}));
}
