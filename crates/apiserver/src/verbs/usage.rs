//! `GET` of what nodes and pods use. The node measures it when it is asked; nothing is stored.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mxjob_machinery::names::{Namespace, ObjectName};
use mxjob_machinery::time::rfc3339;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::node::{NodeConnector, NodeUsage, PodUsage, Usage};
use crate::options::ListOptions;
use crate::registry;
use crate::rendering::ListMeta;

/// Answers a `GET` of one node or pod.
pub(crate) async fn get(
    context: &Context<'_>,
    node: Option<&Arc<dyn NodeConnector>>,
) -> Result<Answer, ApiError> {
    let objects = objects(context, &measure(node).await?);
    let found = objects.iter().find(|object| document::meta_str(object, "name") == context.name());
    let found = found.ok_or_else(|| ApiError::not_found(context.kind, context.name()))?;
    let kind = Arc::clone(context.kind);
    Ok(Answer::Object { kind, json: bytes(found), code: StatusCode::OK })
}

/// Answers a list.
pub(crate) async fn list(
    context: &Context<'_>,
    node: Option<&Arc<dyn NodeConnector>>,
) -> Result<Answer, ApiError> {
    let options = ListOptions::parse(context.query, context.shown, false)?;
    let objects = objects(context, &measure(node).await?);
    let selected = objects.iter().filter(|object| options.selects(context.kind, object));
    let items = selected.map(bytes).collect();
    Ok(Answer::List { kind: Arc::clone(context.kind), items, meta: ListMeta::default() })
}

async fn measure(node: Option<&Arc<dyn NodeConnector>>) -> Result<NodeUsage, ApiError> {
    let none = || ApiError::unavailable("no node is connected to this API server that measures");
    let usage = node.ok_or_else(none)?.usage().await;
    usage.map_err(|error| ApiError::unavailable(format!("the node cannot measure: {error}")))
}

fn bytes(object: &Value) -> Bytes {
    document::to_vec(object).into()
}

/// The objects of the request's collection. Those of nodes and pods that the server does not have
/// (any more) are left out.
fn objects(context: &Context<'_>, usage: &NodeUsage) -> Vec<Value> {
    if !context.kind.namespaced {
        let found = object(context, usage, None, &usage.name, None, "usage", &amounts(usage.node));
        return found.into_iter().collect();
    }
    let within = context.path.namespace.map(|namespace| namespace.to_string());
    let is_asked = |pod: &&PodUsage| within.as_ref().is_none_or(|within| *within == pod.namespace);
    usage
        .pods
        .iter()
        .filter(is_asked)
        .filter_map(|pod| {
            let namespace = Namespace::new(&pod.namespace)?;
            let containers: Vec<Value> = pod
                .containers
                .iter()
                .map(|(name, used)| json!({ "name": name, "usage": amounts(*used) }))
                .collect();
            let uid = Some(&*pod.uid);
            object(
                context,
                usage,
                Some(namespace),
                &pod.name,
                uid,
                "containers",
                &containers.into(),
            )
        })
        .collect()
}

/// The object of a node or a pod, with its labels.
fn object(
    context: &Context<'_>,
    usage: &NodeUsage,
    namespace: Option<Namespace<'_>>,
    name: &str,
    uid: Option<&str>,
    member: &str,
    used: &Value,
) -> Option<Value> {
    let measured = registry::find("", "v1", &context.kind.plural)?;
    let entry = context.services.store.get(&measured.key(namespace, ObjectName::new(name)?))?;
    let stored = document::decode(&entry.value);
    if uid.is_some_and(|uid| uid != document::meta_str(&stored, "uid")) {
        return None;
    }
    let mut metadata = json!({ "name": name, "creationTimestamp": rfc3339(context.now) });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.to_string().into();
    }
    if let Some(labels) = document::metadata(&stored).and_then(|meta| meta.get("labels")) {
        metadata["labels"] = labels.clone();
    }
    Some(json!({
        "apiVersion": context.kind.api_version(),
        "kind": context.kind.kind,
        "metadata": metadata,
        "timestamp": rfc3339(usage.time),
        "window": format!("{}s", usage.window.as_secs().max(1)),
        member: used,
    }))
}

fn amounts(used: Usage) -> Value {
    json!({ "cpu": format!("{}n", used.cpu_nanos), "memory": format!("{}Ki", used.memory / 1024) })
}
