//! Binds pods without a node to this one.
//!
//! There is one node, so there is nothing to choose: a pod is bound unless it waits for something (scheduling gates)
//! or asks for a node with other labels.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::PostParams};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Context, events::Level, register};

pub(super) struct Binder {
    context: Arc<Context>,
    /// Pods that do not fit, by uid, so that it is said once.
    refused: HashSet<String>,
    /// Bindings on their way. An answer that does not come in time is asked for again by the next change
    /// of the pod.
    requests: JoinSet<()>,
}

impl Binder {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, refused: HashSet::new(), requests: JoinSet::new() }
    }

    /// Gives up the requests on their way.
    pub(super) async fn finish(&mut self) {
        self.requests.shutdown().await;
    }

    /// Binds a pod, if that is possible.
    pub(super) fn consider(&mut self, pod: &Pod) {
        while self.requests.try_join_next().is_some() {}
        let Some(spec) = &pod.spec else { return };
        // A pod that is deleted before it is bound is removed by the API server.
        let waits = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
        if waits || pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let labels = register::labels(&self.context.config.node_name);
        let wanted = spec.node_selector.iter().flatten();
        let missing: Vec<String> = wanted
            .filter(|(key, value)| labels.get(key.as_str()) != Some(*value))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !missing.is_empty() {
            if self.refused.insert(pod.uid().unwrap_or_default()) {
                let message = format!(
                    "0/1 nodes are available: the node does not have the labels that the pod's node selector asks for ({})",
                    missing.join(", ")
                );
                self.context.events.pod(pod, Level::Warning, "FailedScheduling", message);
            }
            return;
        }
        self.requests.spawn(bind(Arc::clone(&self.context), pod.clone()));
    }
}

async fn bind(context: Arc<Context>, pod: Pod) {
    let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
    let node = &context.config.node_name;
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name, "namespace": namespace, "uid": pod.uid() },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let mut wait = std::time::Duration::from_millis(100);
    loop {
        let result: Result<serde_json::Value, _> =
            api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
        match result {
            Ok(_) => {
                let message = format!("Successfully assigned {namespace}/{name} to {node}");
                context.events.pod(&pod, Level::Normal, "Scheduled", message);
                return;
            }
            // Gone, or bound already: either way there is nothing left to do.
            Err(kube::Error::Api(status))
                if (400..500).contains(&status.code) && status.code != 429 =>
            {
                tracing::debug!(pod = %name, message = %status.message, "a pod cannot be bound");
                return;
            }
            Err(error) => {
                tracing::warn!(pod = %name, %error, "cannot bind a pod; trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(std::time::Duration::from_secs(10));
            }
        }
    }
}
