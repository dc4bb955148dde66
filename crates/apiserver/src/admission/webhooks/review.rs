//! The answer of a webhook: an `AdmissionReview` with a response.

use mxjob_machinery::status::Status;
use serde_json::{Value, json};

pub(super) const API_VERSION: &str = "admission.k8s.io/v1";

/// Why a webhook could not be asked, or what it said was not understood.
#[derive(Debug)]
pub(super) struct CallError(pub(super) String);

/// The answer of a webhook.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    pub(super) status: Option<Box<Status>>,
    pub(super) warnings: Vec<String>,
}

/// Reads an answer to a question.
pub(super) fn read(answer: &Value, question: &Value) -> Result<Answer, CallError> {
    let said = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (said("apiVersion"), said("kind"));
    if version != API_VERSION || kind != "AdmissionReview" {
        return Err(CallError(format!(
            "received invalid webhook response: expected webhook response of {API_VERSION}, Kind=AdmissionReview, got {version}, Kind={kind}"
        )));
    }
    let Some(response) = answer.get("response").filter(|response| response.is_object()) else {
        return Err(CallError(
            "received invalid webhook response: webhook response was absent".to_owned(),
        ));
    };
    let uid = |value: &Value| value["uid"].as_str().unwrap_or_default().to_owned();
    let (expected, found) = (uid(&question["request"]), uid(response));
    if expected != found {
        return Err(CallError(format!(
            "received invalid webhook response: expected response.uid={expected:?}, got {found:?}"
        )));
    }
    let warnings = response["warnings"].as_array().into_iter().flatten();
    Ok(Answer {
        allowed: response["allowed"] == true,
        status: status(&response["status"]),
        warnings: warnings.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// The status of a refusal; webhooks leave out what is always the same.
fn status(given: &Value) -> Option<Box<Status>> {
    let mut whole =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure" });
    let (whole_members, given) = (whole.as_object_mut()?, given.as_object()?);
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        // The status of a rejection is always a failure.
        if !matches!(name.as_str(), "kind" | "apiVersion" | "metadata" | "status") {
            whole_members.insert(name.clone(), value.clone());
        }
    }
    serde_json::from_value(whole).ok().map(Box::new)
}
