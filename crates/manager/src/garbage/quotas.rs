//! The status of quotas: what a namespace uses, counted when an object is deleted or ends, or a
//! quota changes. Creates need no recount, because admission updates the quota with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use kube::Client;
use mxjob_client::request::{self, JSON};
use mxjob_machinery::json::list;
use mxjob_machinery::object;
use mxjob_machinery::quota::{self, Amounts, Counter};
use serde_json::Value;

use super::resource::Resource;
use crate::api::Settled;

/// The resource of quotas.
pub(super) const QUOTAS: &str = "resourcequotas";

/// Whether a change of an object that is neither its creation nor its deletion can change its use.
pub(super) fn changes_use(id: &str) -> bool {
    matches!(id, "pods" | "services" | QUOTAS)
}

/// Updates the status of the quotas in a namespace.
pub(super) async fn refresh(
    client: &Client,
    resources: &BTreeMap<String, Arc<Resource>>,
    namespace: &str,
) -> Settled {
    let path = format!("/api/v1/namespaces/{namespace}/{QUOTAS}");
    // Before the objects are counted: a create in between changes the quota, so the write below
    // conflicts and the status is never too low.
    let quotas = match request::get_opt(client, &path).await {
        Ok(quotas) => quotas.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(namespace, %error, "cannot list quotas; will retry");
            return false;
        }
    };
    let mut settled = true;
    for quota in list(&quotas, "/items") {
        let name = object::meta_str(quota, "name");
        let result = match count(client, resources, namespace, quota).await {
            Ok(used) => match quota::changed_status(quota, &used) {
                Some(status) => {
                    write(client, &format!("{path}/{name}/status"), quota, status).await
                }
                None => Ok(()),
            },
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            // 404: the quota or its namespace has been deleted. A conflict is usual.
            let code = request::code(&error);
            settled &= code == Some(404);
            if !matches!(code, Some(404 | 409)) {
                tracing::warn!(namespace, quota = name, %error, "cannot update quota; will retry");
            }
        }
    }
    settled
}

async fn write(client: &Client, path: &str, quota: &Value, status: Value) -> kube::Result<()> {
    let mut quota = quota.clone();
    if let Some(quota) = quota.as_object_mut() {
        quota.insert("status".to_owned(), status);
        // Objects of a list need not name their type.
        quota.insert("apiVersion".to_owned(), "v1".into());
        quota.insert("kind".to_owned(), "ResourceQuota".into());
    }
    request::send(client, Method::PUT, path, JSON, Some(&quota)).await.map(drop)
}

async fn count(
    client: &Client,
    resources: &BTreeMap<String, Arc<Resource>>,
    namespace: &str,
    quota: &Value,
) -> kube::Result<Amounts> {
    let mut counter = Counter::new(quota, crate::clock::now());
    for resource in resources.values().filter(|resource| resource.namespaced) {
        let counted = resource.quota_resource();
        if !counter.counts(counted) {
            continue;
        }
        let path = resource.collection_path(namespace);
        if counter.needs_content(counted) {
            let objects = request::get_opt(client, &path).await?.unwrap_or_default();
            for object in list(&objects, "/items") {
                counter.add(counted, object);
            }
        } else {
            let first =
                request::get_opt(client, &format!("{path}?limit=1")).await?.unwrap_or_default();
            counter.add_number(counted, number(&first));
        }
    }
    let known = resources.values().filter(|resource| resource.namespaced);
    Ok(with_recorded(counter.into_used(), quota, known.map(|resource| resource.quota_resource())))
}

/// The counted usage, with the recorded one for what no known resource uses: its kind may have been
/// defined a moment ago. If nothing is recorded, the name is left out, and admission counts for
/// itself.
fn with_recorded<'a>(
    mut used: Amounts,
    quota: &Value,
    known: impl Iterator<Item = quota::Resource<'a>>,
) -> Amounts {
    let mut unknown = quota::hard(quota);
    for resource in known {
        unknown.remove(&format!("count/{resource}"));
        // Only resources of the core group have other names.
        if resource.group.is_empty() {
            unknown.retain(|name, _| !resource.uses(name));
        }
    }
    let mut recorded = quota::recorded_usage(quota);
    for name in unknown.into_keys() {
        match recorded.remove(&name) {
            Some(amount) => used.insert(name, amount),
            None => used.remove(&name),
        };
    }
    used
}

/// The number of objects in a collection, of which a list has the first.
fn number(first: &Value) -> usize {
    let more = first.pointer("/metadata/remainingItemCount").and_then(Value::as_u64);
    let more = more.and_then(|more| usize::try_from(more).ok()).unwrap_or_default();
    list(first, "/items").len().saturating_add(more)
}

#[cfg(test)]
mod tests {
    use mxjob_machinery::quantity::Quantity;
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_of_an_unknown_kind_stays_as_recorded() {
        let check = |recorded: Value, expected: Option<i64>| {
            let quota = json!({
                "spec": { "hard": { "pods": "5", "count/widgets.example.com": "1" } },
                "status": { "used": recorded },
            });
            let counted = Counter::new(&quota, jiff::Timestamp::UNIX_EPOCH).into_used();
            let pods = quota::Resource { group: "", plural: "pods" };
            let used = with_recorded(counted, &quota, [pods].into_iter());
            assert_eq!(used.get("pods"), Some(&Quantity::from_integer(0)));
            let widgets = used.get("count/widgets.example.com");
            assert_eq!(widgets, expected.map(Quantity::from_integer).as_ref());
        };
        check(json!({ "pods": "3", "count/widgets.example.com": "1" }), Some(1));
        check(json!({ "pods": "3" }), None);
    }
}
