//! Asks the API server which of the needed rights are missing.

use futures_util::{StreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};

use super::{Need, Preflight, Scope};

/// Questions at once: enough to be done in a moment, few enough to be no burden.
const PARALLEL: usize = 8;

/// For each need, in their order, a sentence if it is not met. A server that cannot be asked (it may have no such API)
/// counts as one that grants everything: what is refused is said again when it is used.
pub(super) async fn lacking(preflight: &Preflight) -> Vec<Option<String>> {
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
    let answers: Vec<(usize, &'static str, bool)> =
        stream::iter(asked).buffered(PARALLEL).collect().await;
    let refused: Vec<_> = answers.into_iter().filter(|(_, _, allowed)| !allowed).collect();
    needs
        .iter()
        .zip(&places)
        .enumerate()
        .map(|(number, (need, place))| {
            let verbs: Vec<&str> = refused
                .iter()
                .filter(|(refused, _, _)| *refused == number)
                .map(|(_, verb, _)| *verb)
                .collect();
            (!verbs.is_empty()).then(|| sentence(need, *place, &verbs, &preflight.grant))
        })
        .collect()
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
) -> (usize, &'static str, bool) {
    let request = http::Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(question.to_string().into_bytes());
    let Ok(request) = request else { return (number, verb, true) };
    let allowed = match client.request::<Value>(request).await {
        Ok(answer) => answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or(true),
        Err(error) => {
            tracing::debug!(%error, "cannot ask for a right");
            true
        }
    };
    (number, verb, allowed)
}

/// What is missing, and how to grant it.
pub(super) fn sentence(need: &Need, place: Option<&str>, verbs: &[&str], grant: &str) -> String {
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
    format!(
        "The operator may not {verbs} {what}{place}; grant its service account what it needs with: {grant}"
    )
}
