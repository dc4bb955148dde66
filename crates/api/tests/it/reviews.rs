//! AdmissionReviews as an API server of 1.32 sends them, and the responses.

use mxjob_api::{admission, review};
use serde_json::{Value, json};

macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../data/reviews/", $name, ".json")))
            .unwrap()
    };
}

/// The response to a request, which must echo its uid; the status of a refusal.
fn refusal(review: &Value) -> Option<Value> {
    let answer = review::respond(review).unwrap();
    assert_eq!(answer, review::answer(review));
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&review["apiVersion"], &review["kind"]));
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    let status = answer["response"].get("status").cloned();
    assert_eq!(answer["response"]["allowed"], status.is_none());
    status
}

/// The request with its object changed at a pointer.
fn with(mut review: Value, pointer: &str, value: Value) -> Value {
    *review["request"].pointer_mut(pointer).unwrap() = value;
    review
}

#[test]
fn valid_requests_are_allowed() {
    let requests = [
        recorded!("create"),
        recorded!("apply"),
        recorded!("update"),
        recorded!("status"),
        recorded!("finalizer"),
        recorded!("garbage-collector"),
        recorded!("queue"),
        recorded!("delete"),
    ];
    for review in requests {
        assert_eq!(refusal(&review), None, "{}", review["request"]["uid"]);
    }
}

#[test]
fn a_change_of_fixed_fields_is_refused_with_the_status_of_the_embedded_server() {
    let causes = ["spec.mxReplicaSpecs.Worker.replicas", "spec.runPolicy.backoffLimit"].map(|field| {
        json!({
            "reason": "FieldValueForbidden", "field": field,
            "message": "Forbidden: only metadata.labels, metadata.annotations, spec.activeDeadlineSeconds, \
                spec.ttlSecondsAfterFinished, spec.cleanPodPolicy and spec.suspend may be changed",
        })
    });
    assert_eq!(
        refusal(&recorded!("update-of-fixed-fields")).unwrap(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid", "code": 422,
            "message": "MXJob.kubeflow.org \"mxnet-job\" is invalid: [spec.mxReplicaSpecs.Worker.replicas: Forbidden, \
                spec.runPolicy.backoffLimit: Forbidden]: only metadata.labels, metadata.annotations, spec.activeDeadlineSeconds, \
                spec.ttlSecondsAfterFinished, spec.cleanPodPolicy and spec.suspend may be changed",
            "details": { "name": "mxnet-job", "group": "kubeflow.org", "kind": "MXJob", "causes": causes },
        })
    );
    let apply = refusal(&recorded!("apply-again")).unwrap();
    let field = "spec.mxReplicaSpecs.Worker.template.spec.containers[0].image";
    assert_eq!(apply["details"]["causes"][0]["field"], field);
}

#[test]
fn an_invalid_job_is_refused_with_one_cause_for_each_error() {
    let pointer = "/object/spec/mxReplicaSpecs/Scheduler/replicas";
    let review =
        with(with(recorded!("create"), pointer, json!(3)), "/object/spec/jobMode", json!("MXTalk"));
    let status = refusal(&review).unwrap();
    let errors = admission::create(&review["request"]["object"]);
    assert_eq!(status, serde_json::to_value(admission::refusal("mxnet-job", &errors)).unwrap());
    assert_eq!(status["details"]["causes"].as_array().unwrap().len(), 2);
    let message = status["message"].as_str().unwrap();
    assert!(message.starts_with("MXJob.kubeflow.org \"mxnet-job\" is invalid: [spec.jobMode: Unsupported value: \"MXTalk\""), "{message}");
}

#[test]
fn the_name_of_a_generated_job_is_in_its_object() {
    let mut review = with(recorded!("create"), "/object/metadata/name", json!("mxnet-job-x7k2p"));
    review["request"]["object"]["metadata"]["generateName"] = json!("mxnet-job-");
    review["request"]["name"] = json!("");
    review["request"]["object"]["spec"]["cleanPodPolicy"] = json!("Some");
    assert_eq!(refusal(&review).unwrap()["details"]["name"], "mxnet-job-x7k2p");
}

#[test]
fn a_status_update_must_match_the_schema() {
    let pointer = "/object/status/conditions/0/status";
    let status = refusal(&with(recorded!("status"), pointer, json!("Perhaps"))).unwrap();
    assert_eq!(status["details"]["causes"][0]["field"], "status.conditions[0].status");
    // A request for the status does not change the spec.
    let review = with(recorded!("status"), "/object/spec/runPolicy/backoffLimit", json!(9));
    assert_eq!(refusal(&review), None);
}

#[test]
fn other_kinds_and_operations_are_allowed() {
    for (pointer, value) in [
        ("/resource/resource", "tfjobs"),
        ("/resource/group", "batch"),
        ("/resource/version", "v1beta1"),
        ("/operation", "CONNECT"),
        ("/operation", "DELETE"),
    ] {
        let review = with(recorded!("update-of-fixed-fields"), pointer, json!(value));
        assert_eq!(refusal(&review), None, "{pointer} {value}");
    }
}

#[test]
fn a_subresource_that_no_mxjob_has_cannot_be_written() {
    let mut review = recorded!("status");
    for field in ["subResource", "requestSubResource"] {
        review["request"][field] = json!("scale");
    }
    let status = refusal(&review).unwrap();
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
}

#[test]
fn invalid_reviews_are_refused_with_a_message() {
    let mut cases = vec![
        (json!(null), "the body is no AdmissionReview of admission.k8s.io/v1"),
        (json!([]), "the body is no AdmissionReview of admission.k8s.io/v1"),
        (
            json!({ "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1" }),
            "the AdmissionReview has no request",
        ),
    ];
    let mut beta = recorded!("create");
    beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
    cases.push((beta, "the body is no AdmissionReview of admission.k8s.io/v1"));
    for (pointer, value, message) in [
        ("/uid", json!(""), "the AdmissionReview has no request.uid"),
        ("/operation", json!(null), "the AdmissionReview has no request.operation"),
        ("/operation", json!("PATCH"), "the AdmissionReview is of the unknown operation \"PATCH\""),
        ("/resource", json!(null), "the AdmissionReview has no request.resource"),
        ("/object", json!(null), "the AdmissionReview has no request.object"),
        ("/oldObject", json!(1), "the AdmissionReview has no request.oldObject"),
    ] {
        cases.push((with(recorded!("update"), pointer, value), message));
    }
    for (review, message) in cases {
        assert_eq!(review::respond(&review).unwrap_err().to_string(), message, "{review}");
        let answer = review::answer(&review);
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["allowed"], false);
        assert_eq!(answer["response"]["status"]["code"], 400);
        assert_eq!(answer["response"]["status"]["message"], message);
    }
}
