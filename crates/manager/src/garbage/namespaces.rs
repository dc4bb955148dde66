//! The end of namespaces: a terminating namespace is emptied and then finalized. Its conditions
//! report what is left and why, in upstream's words.

use std::collections::BTreeMap;

use http::Method;
use jiff::Timestamp;
use mxjob_client::request::{self, JSON};
use mxjob_machinery::json::{list, text};
use mxjob_machinery::object;
use mxjob_machinery::time::rfc3339;
use serde_json::{Value, json};

use super::requests::{Requests, is_settled};
use super::resource::{self, Resource};
use crate::api::Settled;

/// The finalizer that this controller removes. Others belong to other controllers.
const FINALIZER: &str = "kubernetes";
/// The most objects of a resource that are read for their finalizers.
const MAX_READ: usize = 500;

/// The conditions: type, and reason and message where nothing is wrong.
const CONDITIONS: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

/// What an attempt to empty a namespace found.
#[derive(Debug, Default)]
struct Attempt {
    /// Why the resources could not be discovered.
    discovery: Option<String>,
    /// Why content could not be deleted.
    failures: Vec<String>,
    /// The number of remaining objects by resource.
    remaining: BTreeMap<String, usize>,
    /// The number of objects by finalizer.
    finalizers: BTreeMap<String, usize>,
}

/// Empties a terminating namespace; finalizes it when nothing is left.
pub(super) async fn end(requests: &Requests, name: &str) -> Settled {
    let path = format!("/api/v1/namespaces/{name}");
    let mut namespace = match request::get_opt(&requests.0, &path).await {
        Ok(Some(namespace)) if object::is_terminating(&namespace) => namespace,
        Ok(_) => return true,
        Err(error) => return is_settled(&error, &Method::GET, &path),
    };
    let attempt = Attempt::make(requests, name).await;
    if attempt.report(&mut namespace, crate::clock::now()) {
        let path = format!("{path}/status");
        match request::send(&requests.0, Method::PUT, &path, JSON, Some(&namespace)).await {
            Ok(written) => namespace = written,
            Err(error) => return is_settled(&error, &Method::PUT, &path),
        }
    }
    if !attempt.is_complete() {
        return false;
    }
    let finalizers = list(&namespace, "/spec/finalizers").iter();
    let others: Vec<Value> = finalizers.filter(|it| *it != FINALIZER).cloned().collect();
    namespace["spec"]["finalizers"] = Value::Array(others);
    requests.call(Method::PUT, &format!("{path}/finalize"), JSON, Some(&namespace)).await
}

// === impl Attempt ===

impl Attempt {
    async fn make(requests: &Requests, namespace: &str) -> Self {
        let mut attempt = Self::default();
        match resource::discover(&requests.0).await {
            Ok(resources) => {
                for resource in resources.iter().filter(|resource| resource.namespaced) {
                    if let Err(error) = attempt.empty(requests, resource, namespace).await {
                        tracing::warn!(
                            namespace,
                            resource = resource.id,
                            %error,
                            "cannot empty a terminating namespace; will retry"
                        );
                        attempt.failures.push(error.to_string());
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "discovery failed; will retry");
                attempt.discovery = Some(error.to_string());
            }
        }
        attempt
    }

    /// Deletes the objects of a resource and counts those that remain.
    async fn empty(
        &mut self,
        requests: &Requests,
        resource: &Resource,
        namespace: &str,
    ) -> kube::Result<()> {
        let collection = resource.collection_path(namespace);
        let Some(first) = request::get_opt(&requests.0, &format!("{collection}?limit=1")).await?
        else {
            // Its objects may still be stored. The next attempt discovers what is served.
            self.failures.push(format!("{} is not served any more", resource.id));
            return Ok(());
        };
        if list(&first, "/items").is_empty() {
            return Ok(());
        }
        let deleted =
            request::send(&requests.0, Method::DELETE, &collection, JSON, None).await.map(drop);
        let page = request::get_opt(&requests.0, &format!("{collection}?limit={MAX_READ}")).await?;
        self.count(resource, &page.unwrap_or_default());
        deleted
    }

    fn count(&mut self, resource: &Resource, page: &Value) {
        let objects = list(page, "/items");
        let more = page.pointer("/metadata/remainingItemCount").and_then(Value::as_u64);
        let more = more.and_then(|more| usize::try_from(more).ok()).unwrap_or_default();
        if !objects.is_empty() {
            let name = format!("{}.{}", resource.plural, resource.group);
            self.remaining.insert(name, objects.len().saturating_add(more));
        }
        let finalizers = objects.iter().flat_map(|object| list(object, "/metadata/finalizers"));
        for finalizer in finalizers.filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }

    fn is_complete(&self) -> bool {
        self.discovery.is_none() && self.failures.is_empty() && self.remaining.is_empty()
    }

    /// The conditions for which something is wrong: type, reason and message.
    fn problems(&self) -> Vec<(&'static str, &'static str, String)> {
        let listed = |counts: &BTreeMap<String, usize>, verb: &str| {
            let counts = counts.iter();
            let all: Vec<_> =
                counts.map(|(name, n)| format!("{name} {verb} {n} resource instances")).collect();
            all.join(", ")
        };
        let [(discovery, ..), _, (content, ..), (remaining, ..), (finalizers, ..)] = CONDITIONS;
        let mut problems = Vec::new();
        if let Some(error) = &self.discovery {
            let message = format!("Discovery failed for some groups, 1 failing: {error}");
            problems.push((discovery, "DiscoveryFailed", message));
        }
        if !self.failures.is_empty() {
            let (count, errors) = (self.failures.len(), self.failures.join(", "));
            let message =
                format!("Failed to delete all resource types, {count} remaining: {errors}");
            problems.push((content, "ContentDeletionFailed", message));
        }
        if !self.remaining.is_empty() {
            let all = listed(&self.remaining, "has");
            let message = format!("Some resources are remaining: {all}");
            problems.push((remaining, "SomeResourcesRemain", message));
        }
        if !self.finalizers.is_empty() {
            let all = listed(&self.finalizers, "in");
            let message = format!("Some content in the namespace has finalizers remaining: {all}");
            problems.push((finalizers, "SomeFinalizersRemain", message));
        }
        problems
    }

    /// Sets the conditions of a namespace. Returns whether one changed.
    fn report(&self, namespace: &mut Value, now: Timestamp) -> bool {
        let problems = self.problems();
        let mut conditions = list(namespace, "/status/conditions").to_vec();
        let mut changed = false;
        for (kind, reason, message) in CONDITIONS {
            let problem = problems.iter().find(|(problem, ..)| *problem == kind);
            let (status, reason, message) = match problem {
                Some((_, reason, message)) => ("True", *reason, message.as_str()),
                None => ("False", reason, message),
            };
            let mut next = json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": rfc3339(now),
            });
            let Some(old) = conditions.iter_mut().find(|old| text(old, "/type") == kind) else {
                conditions.push(next);
                changed = true;
                continue;
            };
            if text(old, "/status") == status {
                next["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            if *old != next {
                *old = next;
                changed = true;
            }
        }
        if changed {
            namespace["status"]["conditions"] = Value::Array(conditions);
        }
        changed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn resource(plural: &str, group: &str) -> Arc<Resource> {
        Arc::new(Resource {
            id: plural.to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: "K".to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
        })
    }

    fn messages(namespace: &Value) -> Vec<String> {
        let conditions = list(namespace, "/status/conditions").iter();
        let wrong = conditions.filter(|condition| text(condition, "/status") == "True");
        wrong
            .map(|it| {
                format!("{} {}: {}", text(it, "/type"), text(it, "/reason"), text(it, "/message"))
            })
            .collect()
    }

    #[test]
    fn conditions_say_what_is_left() {
        let mut namespace = json!({ "status": { "phase": "Terminating" } });
        let early = Timestamp::from_second(1_800_000_000).unwrap();
        let mut attempt = Attempt::default();
        let held = json!({ "metadata": { "finalizers": ["example.com/a", "example.com/b"] } });
        let page = json!({ "items": [held, held, {}], "metadata": { "remainingItemCount": 4 } });
        attempt.count(&resource("pods", ""), &page);
        attempt.count(&resource("jobs", "example.com"), &json!({ "items": [held] }));
        attempt.count(&resource("empty", ""), &json!({ "items": [] }));
        assert!(attempt.report(&mut namespace, early) && !attempt.is_complete());
        assert_eq!(
            messages(&namespace),
            [
                "NamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: \
                 jobs.example.com has 1 resource instances, pods. has 7 resource instances",
                "NamespaceFinalizersRemaining SomeFinalizersRemain: Some content in the namespace \
                 has finalizers remaining: example.com/a in 3 resource instances, example.com/b in \
                 3 resource instances",
            ]
        );
        assert_eq!(list(&namespace, "/status/conditions").len(), 5);

        let late = Timestamp::from_second(1_800_000_100).unwrap();
        assert!(!attempt.report(&mut namespace, late));
        assert!(Attempt::default().report(&mut namespace, late));
        assert_eq!(messages(&namespace), [""; 0]);
        let times = list(&namespace, "/status/conditions").iter();
        let times: Vec<_> = times.map(|it| text(it, "/lastTransitionTime")).collect();
        let (early, late) = (rfc3339(early), rfc3339(late));
        assert_eq!(times, [&early, &early, &early, &late, &late]);

        let failed = Attempt {
            discovery: Some("down".to_owned()),
            failures: vec!["one".to_owned(), "two".to_owned()],
            ..Attempt::default()
        };
        failed.report(&mut namespace, Timestamp::UNIX_EPOCH);
        assert_eq!(
            messages(&namespace),
            [
                "NamespaceDeletionDiscoveryFailure DiscoveryFailed: Discovery failed for some \
                 groups, 1 failing: down",
                "NamespaceDeletionContentFailure ContentDeletionFailed: Failed to delete all \
                 resource types, 2 remaining: one, two",
            ]
        );
    }
}
