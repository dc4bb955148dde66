//! Requests in which everything is wrong: the answer lists a bounded number of errors, whatever the
//! verb.

use serde_json::{Value, json};

use crate::definitions::{DEFINITIONS, mxjobs::definition};
use crate::server::{JOBS, JSON, MERGE, Server, job};

const AUTH: (&str, &str) = ("authorization", "Bearer good");
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const CONTAINERS: &str = "/spec/mxReplicaSpecs/Worker/template/spec/containers";
const MANAGER: &str = "fieldManager=test";
/// The most bytes of an answer.
const ANSWER_MAX: usize = 1_100_000;

/// A job whose pod template has only wrong containers.
fn wrong_containers(name: &str) -> Value {
    let mut job = job(name);
    *job.pointer_mut(CONTAINERS).unwrap() = vec![json!(0); 100_000].into();
    job
}

fn wrong_labels() -> Value {
    (0..20_000).map(|index| (format!("-{index}"), json!("!"))).collect()
}

fn with_wrong_labels(name: &str) -> Value {
    let mut job = job(name);
    job["metadata"]["labels"] = wrong_labels();
    job
}

/// Every way to write the same value into the job `digits`, which exists.
fn writes(create: &Value, put: &Value, pointer: &str) -> [(&'static str, &'static str, Value); 5] {
    let value = put.pointer(pointer).unwrap();
    let mut merge = value.clone();
    for step in pointer.split('/').skip(1).collect::<Vec<_>>().into_iter().rev() {
        merge = json!({ step: merge });
    }
    [
        ("POST", JSON, create.clone()),
        ("PUT", JSON, put.clone()),
        ("PATCH", JSON_PATCH, json!([{ "op": "add", "path": pointer, "value": value }])),
        ("PATCH", MERGE, merge),
        ("PATCH", APPLY, put.clone()),
    ]
}

async fn check(server: &Server) {
    let made = server.make(JOBS, &job("digits")).await;
    let version = &made["metadata"]["resourceVersion"];
    let containers = writes(&wrong_containers("new"), &wrong_containers("digits"), CONTAINERS);
    let labels =
        writes(&with_wrong_labels("new"), &with_wrong_labels("digits"), "/metadata/labels");
    for (method, media_type, mut body) in containers.into_iter().chain(labels) {
        let path = match method {
            "POST" => JOBS.to_owned(),
            _ => format!("{JOBS}/digits?force=true&{MANAGER}"),
        };
        let path = if media_type == APPLY { path } else { path.replace("force=true&", "") };
        if method == "PUT" {
            body["metadata"]["resourceVersion"] = version.clone();
        }
        let body = body.to_string();
        let headers = [AUTH, ("content-type", media_type)];
        let answer = server.raw(method, &path, &headers, body.as_bytes()).await;
        let start: String = answer.text.chars().take(500).collect();
        assert_eq!(answer.code, 422, "{method} {media_type}: {start}");
        assert!(answer.text.len() < ANSWER_MAX, "{method} {media_type}: {}", answer.text.len());
        let status = answer.json();
        let causes = status["details"]["causes"].as_array().unwrap();
        assert_eq!(causes.len(), 1_000, "{method} {media_type}: {start}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains(", and at least "), "{method} {media_type}: {start}");
    }
}

#[tokio::test]
async fn a_built_in_job_in_which_everything_is_wrong_gets_a_bounded_answer() {
    check(&Server::start().await).await;
}

#[tokio::test]
async fn a_defined_job_in_which_everything_is_wrong_gets_a_bounded_answer() {
    let server = Server::without_mxjobs().await;
    server.make(DEFINITIONS, &definition()).await;
    check(&server).await;
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_listed_up_to_a_hundred() {
    let server = Server::start().await;
    let mut unknown = job("digits");
    for index in 0..20_000 {
        unknown["spec"][format!("x{index}")] = 1.into();
        unknown["metadata"][format!("x{index}")] = 1.into();
    }
    let repeated = r#""name": "digits", "#.repeat(20_000);
    let duplicate =
        job("digits").to_string().replacen(r#""name":"#, &format!(r#"{repeated}"name":"#), 1);
    let long = format!(r#""{}": 1"#, "k".repeat(1_000_000));
    let long = job("digits").to_string().replacen(
        r#""jobMode""#,
        &format!(r#"{long}, {long}, "jobMode""#),
        1,
    );
    for (body, path) in [(unknown.to_string(), JOBS), (duplicate, JOBS), (long, JOBS)] {
        for (validation, code) in [("Strict", 400), ("Warn", 201)] {
            let path = format!("{path}?dryRun=All&fieldValidation={validation}");
            let headers = [AUTH, ("content-type", JSON)];
            let answer = server.raw("POST", &path, &headers, body.as_bytes()).await;
            let start: String = answer.text.chars().take(500).collect();
            assert_eq!(answer.code, code, "{start}");
            assert!(answer.text.len() < 20_000, "{}", answer.text.len());
            assert!(answer.text.matches(" field \\\"").count() <= 200, "{start}");
            let warnings = answer.headers.get_all("warning").iter();
            assert!(warnings.map(http::HeaderValue::len).sum::<usize>() < 8_000);
        }
    }
}
