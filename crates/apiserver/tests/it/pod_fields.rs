//! Fields of pods that the server's own node does not honour: refused, or accepted with a warning.

use http::header;
use mxjob_apiserver::{Extensions, validation};
use serde_json::{Value, json};

use crate::server::{Answer, JOBS, Server, job};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A server with a node of processes.
async fn with_node() -> Server {
    Server::start().await.again(Extensions { process_node: true, ..Extensions::default() }).await
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

fn job_with(name: &str, spec: &Value) -> Value {
    let mut job = job(name);
    let template = &mut job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"];
    template.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    job
}

async fn send(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let headers = [("authorization", "Bearer good"), ("content-type", kind)];
    server.raw(method, path, &headers, body.to_string().as_bytes()).await
}

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all(header::WARNING).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn fields_that_would_change_a_run_are_refused_with_their_paths() {
    let server = with_node().await;
    let spec = json!({
        "hostUsers": false,
        "volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}],
    });
    let (code, answer) = server.post(PODS, &pod("p", &spec)).await;
    assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")), "{answer:#}");
    let causes: Vec<_> = answer["details"]["causes"].as_array().unwrap().iter().collect();
    let fields: Vec<_> = causes.iter().map(|cause| cause["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.hostUsers", "spec.volumes[0].nfs"]);
    assert!(causes.iter().all(|cause| cause["reason"] == "FieldValueForbidden"), "{causes:#?}");
    assert_eq!(server.get(&format!("{PODS}/p")).await.0, 404);

    let (code, answer) = server.post(JOBS, &job_with("j", &json!({"hostUsers": false}))).await;
    let field = &answer["details"]["causes"][0]["field"];
    assert_eq!(code, 422, "{answer:#}");
    assert_eq!(field, "spec.mxReplicaSpecs.Worker.template.spec.hostUsers");
}

#[tokio::test]
async fn fields_without_effect_are_answered_with_a_warning() {
    let server = with_node().await;
    let spec = json!({"schedulerName": "volcano"});
    let answer = send(&server, "POST", PODS, &pod("p", &spec)).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    let found = warnings(&answer);
    let expected = "299 - \"spec.schedulerName: not honoured by this node: ";
    assert!(matches!(found[..], [one] if one.starts_with(expected)), "{found:?}");

    let answer = send(&server, "POST", JOBS, &job_with("j", &spec)).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    let found = warnings(&answer);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("spec.mxReplicaSpecs.Worker.template.spec.schedulerName: "));

    // A change of something else does not repeat it.
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    let answer = send(&server, "PATCH", &format!("{PODS}/p"), &patch).await;
    assert_eq!((answer.code, warnings(&answer).len()), (200, 0), "{}", answer.text);
    let answer = send(&server, "POST", PODS, &pod("plain", &json!({}))).await;
    assert_eq!((answer.code, warnings(&answer).len()), (201, 0), "{}", answer.text);
}

#[tokio::test]
async fn warnings_about_many_fields_are_bounded() {
    let server = with_node().await;
    let ports: Vec<Value> = (1..=1_000)
        .map(|port| json!({"containerPort": port, "hostPort": port + 1_000, "hostIP": "10.0.0.1"}))
        .collect();
    let spec = json!({"containers": [{"name": "c", "image": "i", "ports": ports}]});
    let answer = send(&server, "POST", PODS, &pod("p", &spec)).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    let found = warnings(&answer);
    let bytes: usize = found.iter().map(|text| text.len()).sum();
    assert!(found.len() > 10 && bytes <= 5 << 10, "{} {bytes}", found.len());
}

#[tokio::test]
async fn a_server_without_such_a_node_accepts_all_fields_silently() {
    let server = Server::start().await;
    let spec = json!({"hostUsers": false, "schedulerName": "volcano"});
    for (path, object) in [(PODS, pod("p", &spec)), (JOBS, job_with("j", &spec))] {
        let answer = send(&server, "POST", path, &object).await;
        assert_eq!((answer.code, warnings(&answer).len()), (201, 0), "{}", answer.text);
    }
}

#[tokio::test]
async fn objects_of_an_earlier_release_can_be_changed() {
    let before = Server::start().await;
    let spec = json!({"hostUsers": false});
    before.make(PODS, &pod("p", &spec)).await;
    before.make(JOBS, &job_with("j", &spec)).await;
    let server = before.again(Extensions { process_node: true, ..Extensions::default() }).await;
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    for path in [format!("{PODS}/p"), format!("{JOBS}/j")] {
        let (code, answer) = server.patch(&path, &labels).await;
        assert_eq!(code, 200, "{answer:#}");
        // A replace of the whole object with another label.
        let mut object = answer;
        object["metadata"]["labels"]["a"] = "c".into();
        let (code, answer) = server.put(&path, &object).await;
        assert_eq!((code, &answer["metadata"]["labels"]["a"]), (200, &json!("c")), "{answer:#}");
    }
    // The spec of the job, too.
    let suspend = json!({"spec": {"ttlSecondsAfterFinished": 7}});
    let (code, answer) = server.patch(&format!("{JOBS}/j"), &suspend).await;
    assert_eq!(code, 200, "{answer:#}");
    let (code, answer) =
        server.patch(&format!("{PODS}/p/status"), &json!({"status": {"phase": "Running"}})).await;
    assert_eq!(code, 200, "{answer:#}");
}

#[tokio::test]
async fn a_file_is_validated_as_the_server_validates_it() {
    let server = with_node().await;
    for (path, version, kind, object) in [
        (PODS, "v1", "Pod", pod("p", &json!({"hostUsers": false, "restartPolicy": "Maybe"}))),
        (PODS, "v1", "Pod", pod("P", &json!({"schedulerName": "other"}))),
        (JOBS, "kubeflow.org/v1", "MXJob", job_with("j", &json!({"hostUsers": false}))),
        (JOBS, "kubeflow.org/v1", "MXJob", job_with("ok", &json!({}))),
        ("/api/v1/namespaces", "v1", "Namespace", json!({"metadata": {"name": "N"}})),
    ] {
        let mut object = object;
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        let (code, answer) = server.post(path, &object).await;
        let mut report = validation::check(&object).unwrap();
        report.errors.append(report.fields.refused);
        let expected: Vec<Value> = report
            .errors
            .iter()
            .map(|error| json!({"reason": error.cause().reason, "message": error.body(), "field": error.path.as_str()}))
            .collect();
        let causes = answer["details"]["causes"].as_array().cloned().unwrap_or_default();
        assert_eq!(causes, expected, "{answer:#}");
        assert_eq!(code == 201, expected.is_empty(), "{answer:#}");
    }
    assert!(validation::check(&json!({"apiVersion": "v2", "kind": "Pod"})).is_none());
    let wrong = validation::check(&json!({"apiVersion": "v1", "kind": "Pod", "spec": 1})).unwrap();
    assert!(wrong.problem.is_some());
}
