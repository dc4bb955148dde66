//! Events on pods, their owners and the node.

use k8s_openapi::{
    api::core::v1::{Event, EventSource, Node, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::Client;
use mxjob_client::events::{EventWriter, event};
use mxjob_client::{Reported, UNREADABLE, Unreadable};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::clock;

pub(super) use mxjob_client::events::Level;

/// Number of events that wait to be written. Further events are dropped.
const QUEUE_CAPACITY: usize = 256;

/// The source of the events.
const COMPONENT: &str = "mxjob-node";

/// Writes events in the background, one after the other.
#[derive(Debug)]
pub(super) struct Events {
    queue: mpsc::Sender<Event>,
    node: String,
    /// Locked only for a lookup.
    reported: Mutex<Reported>,
}

impl Events {
    pub(super) fn start(client: Client, node: String) -> Self {
        let (queue, mut receiver) = mpsc::channel::<Event>(QUEUE_CAPACITY);
        tokio::spawn(async move {
            let writer = EventWriter::new(client);
            while let Some(event) = receiver.recv().await {
                if let Err(error) = writer.write(event).await {
                    tracing::debug!(%error, "cannot write an event");
                }
            }
        });
        Self { queue, node, reported: Mutex::default() }
    }

    /// Publishes an event on a pod.
    pub(super) fn pod(&self, pod: &Pod, level: Level, reason: &str, message: String) {
        let meta = &pod.metadata;
        self.publish(
            ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
                ..ObjectReference::default()
            },
            level,
            reason,
            message,
        );
    }

    /// Publishes an event on the controller of a pod.
    pub(super) fn owner(&self, pod: &Pod, level: Level, reason: &str, message: String) {
        let Some(owner) = controller(pod.metadata.owner_references.as_deref()) else { return };
        self.publish(
            ObjectReference {
                api_version: Some(owner.api_version.clone()),
                kind: Some(owner.kind.clone()),
                namespace: pod.metadata.namespace.clone(),
                name: Some(owner.name.clone()),
                uid: Some(owner.uid.clone()),
                ..ObjectReference::default()
            },
            level,
            reason,
            message,
        );
    }

    /// Reports an unreadable object, once for each version.
    pub(super) fn unreadable(&self, object: &Unreadable) {
        let mut reported = self.reported.lock();
        if !reported.is_news(object) {
            return;
        }
        drop(reported);
        tracing::warn!(object = object.named(), why = object.why, "cannot read an object");
        self.publish(object.reference(), Level::Warning, UNREADABLE, object.message());
    }

    /// Publishes an event on the node.
    pub(super) fn node(&self, node: &Node, level: Level, reason: &str, message: String) {
        self.publish(
            ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: node.metadata.name.clone(),
                uid: node.metadata.uid.clone(),
                ..ObjectReference::default()
            },
            level,
            reason,
            message,
        );
    }

    fn publish(&self, about: ObjectReference, level: Level, reason: &str, message: String) {
        let source =
            EventSource { component: Some(COMPONENT.to_owned()), host: Some(self.node.clone()) };
        let event = event(about, (level, reason, message), source, clock::now());
        if self.queue.try_send(event).is_err() {
            tracing::debug!("dropped an event: the queue is full");
        }
    }
}

/// The controller among owner references.
pub(super) fn controller(owners: Option<&[OwnerReference]>) -> Option<&OwnerReference> {
    owners?.iter().find(|owner| owner.controller == Some(true))
}
