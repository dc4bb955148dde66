//! Asks the API server which rights are missing, by SelfSubjectAccessReviews.

use futures_util::{StreamExt as _, stream};
use http::Method;
use kube::Client;
use mxjob_client::request::{self, JSON};
use serde_json::{Value, json};
use tracing::debug;

use super::{CRD, Permission, Preflight, Scope};

/// Reviews in flight at the same time: enough to finish soon, few enough not to load the server.
const PARALLEL: usize = 8;

/// Whether a right is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Review {
    /// Granted, as far as is known.
    Granted,
    /// Missing, with a sentence for the user.
    Missing(String),
    /// The server could not answer this time.
    Unknown,
}

/// The server's answer to one review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allowed,
    Refused,
    Unknown,
}

/// For each right, in their order, whether it is granted. A server without this API, or one that
/// denies it, counts as granting everything: a missing right is then reported when it is used.
pub(super) async fn reviews(preflight: &Preflight) -> Vec<Review> {
    let Preflight { client, permissions, jobs, own, lease, .. } = preflight;
    let places: Vec<Option<&str>> = permissions
        .iter()
        .map(|permission| match permission.scope {
            Scope::Cluster => None,
            Scope::Jobs => Some(jobs.as_deref().unwrap_or_default()),
            Scope::Own if permission.resource == "leases" => Some(lease.as_deref().unwrap_or(own)),
            Scope::Own => Some(own.as_str()),
        })
        .collect();
    let mut requests = Vec::new();
    for (number, (permission, place)) in permissions.iter().zip(&places).enumerate() {
        for verb in permission.verbs {
            requests.push(ask(client.clone(), number, verb, question(permission, *place, verb)));
        }
    }
    let answers: Vec<(usize, &'static str, Answer)> =
        stream::iter(requests).buffered(PARALLEL).collect().await;
    permissions
        .iter()
        .zip(&places)
        .enumerate()
        .map(|(number, (permission, place))| {
            let verbs = |answer: Answer| -> Vec<&str> {
                let ours = answers.iter().filter(|(asked, _, is)| *asked == number && *is == answer);
                ours.map(|(_, verb, _)| *verb).collect()
            };
            match verbs(Answer::Refused).as_slice() {
                [] if verbs(Answer::Unknown).is_empty() => Review::Granted,
                [] => Review::Unknown,
                refused if is_optional(permission, jobs.as_deref()) => {
                    debug!(verbs = ?refused, resource = permission.resource, "an optional right is missing");
                    Review::Granted
                }
                refused => Review::Missing(sentence(permission, *place, refused, preflight.advice(permission))),
            }
        })
        .collect()
}

/// Whether the operator works without it. An operator for one namespace may have only a Role there;
/// the definition is then checked by the discovery document.
fn is_optional(permission: &Permission, jobs: Option<&str>) -> bool {
    jobs.is_some() && permission.name.as_deref() == Some(CRD)
}

fn question(permission: &Permission, place: Option<&str>, verb: &str) -> Value {
    let (resource, subresource) =
        permission.resource.split_once('/').unwrap_or((permission.resource, ""));
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "group": permission.group, "resource": resource, "subresource": subresource, "verb": verb,
            "namespace": place.unwrap_or_default(), "name": permission.name.as_deref().unwrap_or_default(),
        } },
    })
}

/// Sends one review; `number` and `verb` are returned with the answer.
async fn ask(
    client: Client,
    number: usize,
    verb: &'static str,
    question: Value,
) -> (usize, &'static str, Answer) {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = match request::send(&client, Method::POST, path, JSON, Some(&question)).await {
        Ok(answer) => match answer.pointer("/status/allowed").and_then(Value::as_bool) {
            Some(false) => Answer::Refused,
            Some(true) | None => Answer::Allowed,
        },
        Err(error) => {
            debug!(%error, "cannot review a right");
            if is_final(&error) { Answer::Allowed } else { Answer::Unknown }
        }
    };
    (number, verb, answer)
}

/// Whether a retry would get the same answer: there is no such API, or it is denied.
fn is_final(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    (400..500).contains(&status.code) && ![401, 408, 409, 429].contains(&status.code)
}

/// Which right is missing, and how to grant it.
pub(super) fn sentence(
    permission: &Permission,
    place: Option<&str>,
    verbs: &[&str],
    advice: &str,
) -> String {
    let verbs = match verbs {
        [] => String::new(),
        [verb] => (*verb).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    };
    let (resource, subresource) =
        permission.resource.split_once('/').unwrap_or((permission.resource, ""));
    let mut what = resource.to_owned();
    if !permission.group.is_empty() {
        what = format!("{what}.{}", permission.group);
    }
    if !subresource.is_empty() {
        what = format!("{what}/{subresource}");
    }
    if let Some(name) = &permission.name {
        what = format!("{what} {name:?}");
    }
    let place = match place {
        None => String::new(),
        Some("") => " in all namespaces".to_owned(),
        Some(place) => format!(" in the namespace {place}"),
    };
    format!("The operator may not {verbs} {what}{place}; {advice}")
}
