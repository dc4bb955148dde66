//! Asks the API server which of the needed rights are missing.

use futures_util::{StreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};
use tracing::debug;

use super::{CRD, Need, Preflight, Scope};

/// Questions at once: enough to be done in a moment, few enough to be no burden.
const PARALLEL: usize = 8;

/// Whether a need is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Review {
    /// As far as anybody can tell.
    Met,
    /// It is not, in a sentence.
    Lacking(String),
    /// The server could not be asked this time.
    Unknown,
}

/// What the server says to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allowed,
    Refused,
    Unknown,
}

/// For each need, in their order, whether it is met. A server that has no such API, or keeps it from us, counts as one that grants
/// everything: what is refused is said again when it is used.
pub(super) async fn reviews(preflight: &Preflight) -> Vec<Review> {
    let Preflight { client, needs, jobs, own, lease, .. } = preflight;
    let places: Vec<Option<&str>> = needs
        .iter()
        .map(|need| match need.scope {
            Scope::Cluster => None,
            Scope::Jobs => Some(jobs.as_deref().unwrap_or_default()),
            Scope::Own if need.resource == "leases" => Some(lease.as_deref().unwrap_or(own)),
            Scope::Own => Some(own.as_str()),
        })
        .collect();
    let mut asked = Vec::new();
    for (number, (need, place)) in needs.iter().zip(&places).enumerate() {
        for verb in need.verbs {
            asked.push(ask(client.clone(), number, verb, question(need, *place, verb)));
        }
    }
    let answers: Vec<(usize, &'static str, Answer)> =
        stream::iter(asked).buffered(PARALLEL).collect().await;
    needs
        .iter()
        .zip(&places)
        .enumerate()
        .map(|(number, (need, place))| {
            let verbs = |want: Answer| -> Vec<&str> {
                let ours = answers.iter().filter(|(asked, _, is)| *asked == number && *is == want);
                ours.map(|(_, verb, _)| *verb).collect()
            };
            match verbs(Answer::Refused).as_slice() {
                [] if verbs(Answer::Unknown).is_empty() => Review::Met,
                [] => Review::Unknown,
                refused if is_optional(need, jobs.as_deref()) => {
                    debug!(verbs = ?refused, resource = need.resource, "not granted, and not needed");
                    Review::Met
                }
                refused => Review::Lacking(sentence(need, *place, refused, preflight.advice(need))),
            }
        })
        .collect()
}

/// Whether all goes on without it. An operator for one namespace may have a Role there and nothing else; whether its server knows the
/// jobs is then judged by what it serves.
fn is_optional(need: &Need, jobs: Option<&str>) -> bool {
    jobs.is_some() && need.name.as_deref() == Some(CRD)
}

fn question(need: &Need, place: Option<&str>, verb: &str) -> Value {
    let (resource, subresource) = need.resource.split_once('/').unwrap_or((need.resource, ""));
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "group": need.group, "resource": resource, "subresource": subresource, "verb": verb,
            "namespace": place.unwrap_or_default(), "name": need.name.as_deref().unwrap_or_default(),
        } },
    })
}

/// Asks one question; `number` and `verb` come back with the answer.
async fn ask(
    client: Client,
    number: usize,
    verb: &'static str,
    question: Value,
) -> (usize, &'static str, Answer) {
    let request = http::Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(question.to_string().into_bytes());
    let Ok(request) = request else { return (number, verb, Answer::Allowed) };
    let answer = match client.request::<Value>(request).await {
        Ok(answer) => match answer.pointer("/status/allowed").and_then(Value::as_bool) {
            Some(false) => Answer::Refused,
            Some(true) | None => Answer::Allowed,
        },
        Err(error) => {
            debug!(%error, "cannot ask for a right");
            if is_final(&error) { Answer::Allowed } else { Answer::Unknown }
        }
    };
    (number, verb, answer)
}

/// Whether the answer would be the same again: there is no such API, or we may not use it.
fn is_final(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    (400..500).contains(&status.code) && ![401, 408, 409, 429].contains(&status.code)
}

/// What is missing, and what to do about it.
pub(super) fn sentence(need: &Need, place: Option<&str>, verbs: &[&str], advice: &str) -> String {
    let verbs = match verbs {
        [] => String::new(),
        [verb] => (*verb).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    };
    let (resource, subresource) = need.resource.split_once('/').unwrap_or((need.resource, ""));
    let mut what = resource.to_owned();
    if !need.group.is_empty() {
        what = format!("{what}.{}", need.group);
    }
    if !subresource.is_empty() {
        what = format!("{what}/{subresource}");
    }
    if let Some(name) = &need.name {
        what = format!("{what} {name:?}");
    }
    let place = match place {
        None => String::new(),
        Some("") => " in all namespaces".to_owned(),
        Some(place) => format!(" in the namespace {place}"),
    };
    format!("The operator may not {verbs} {what}{place}; {advice}")
}
