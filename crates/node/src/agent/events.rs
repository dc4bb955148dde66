//! Events on pods, their owners and the node.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, Node, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use mxjob_client::{Reported, UNREADABLE, Unreadable};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::mpsc;

use crate::clock;

/// Number of events that wait to be written. Further events are dropped.
const QUEUE_CAPACITY: usize = 256;

/// Number of written events that are remembered. Beyond it an equal event is written again.
const MAX_WRITTEN: usize = 1024;

/// The source of the events.
const COMPONENT: &str = "mxjob-node";

/// The type of an event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    Normal,
    Warning,
}

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
            let mut written = Written::default();
            while let Some(event) = receiver.recv().await {
                if let Err(error) = write(&client, &mut written, event).await {
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
        let now = clock::now();
        let name = about.name.clone().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                // kubectl looks for events on cluster-scoped objects in this namespace.
                namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".to_owned())),
                ..ObjectMeta::default()
            },
            involved_object: about,
            type_: Some(
                match level {
                    Level::Normal => "Normal",
                    Level::Warning => "Warning",
                }
                .to_owned(),
            ),
            reason: Some(reason.to_owned()),
            message: Some(message),
            count: Some(1),
            first_timestamp: Some(Time(whole_seconds(now))),
            last_timestamp: Some(Time(whole_seconds(now))),
            source: Some(EventSource {
                component: Some(COMPONENT.to_owned()),
                host: Some(self.node.clone()),
            }),
            ..Event::default()
        };
        if self.queue.try_send(event).is_err() {
            tracing::debug!("dropped an event: the queue is full");
        }
    }
}

/// The events that were written, so that an equal one is counted and not written again.
#[derive(Debug, Default)]
struct Written(HashMap<Content, Event>);

/// The uid of an object, the reason and the message.
type Content = (String, String, String);

impl Written {
    fn content(event: &Event) -> Content {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (text(&event.involved_object.uid), text(&event.reason), text(&event.message))
    }

    /// The stored event that `event` repeats, with the new count and time.
    fn repeat(&self, event: &Event) -> Option<Event> {
        let mut known = self.0.get(&Self::content(event))?.clone();
        known.count = known.count.map(|count| count.saturating_add(1));
        known.last_timestamp.clone_from(&event.last_timestamp);
        Some(known)
    }

    fn note(&mut self, event: Event) {
        let content = Self::content(&event);
        if self.0.len() >= MAX_WRITTEN && !self.0.contains_key(&content) {
            self.0.clear();
        }
        self.0.insert(content, event);
    }
}

/// Writes an event, or counts it with an equal one. That may have expired.
async fn write(client: &Client, written: &mut Written, event: Event) -> kube::Result<()> {
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    if let Some(repeat) = written.repeat(&event) {
        let name = repeat.metadata.name.clone().unwrap_or_default();
        let patch = json!({ "count": repeat.count, "lastTimestamp": repeat.last_timestamp });
        match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                written.note(repeat);
                return Ok(());
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    api.create(&PostParams::default(), &event).await?;
    written.note(event);
    Ok(())
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The controller among owner references.
pub(super) fn controller(owners: Option<&[OwnerReference]>) -> Option<&OwnerReference> {
    owners?.iter().find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uid: &str, message: &str, second: i64) -> Event {
        let time = Time(Timestamp::from_second(second).unwrap());
        Event {
            metadata: ObjectMeta { name: Some(format!("e{second}")), ..ObjectMeta::default() },
            involved_object: ObjectReference {
                uid: Some(uid.to_owned()),
                ..ObjectReference::default()
            },
            reason: Some("BackOff".to_owned()),
            message: Some(message.to_owned()),
            count: Some(1),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            ..Event::default()
        }
    }

    #[test]
    fn equal_events_are_counted() {
        let mut written = Written::default();
        assert_eq!(written.repeat(&event("a", "m", 1)), None);
        written.note(event("a", "m", 1));
        for other in [event("b", "m", 2), event("a", "n", 2)] {
            assert_eq!(written.repeat(&other), None);
        }
        for (second, count) in [(5, 2), (9, 3)] {
            let repeat = written.repeat(&event("a", "m", second)).unwrap();
            assert_eq!((repeat.metadata.name.as_deref(), repeat.count), (Some("e1"), Some(count)));
            let times = [&repeat.first_timestamp, &repeat.last_timestamp];
            let times = times.map(|time| time.as_ref().unwrap().0.as_second());
            assert_eq!(times, [1, second]);
            written.note(repeat);
        }
        for uid in 0..3_000 {
            written.note(event(&format!("many-{uid}"), "m", 1));
        }
        assert!(written.0.len() <= MAX_WRITTEN);
    }
}
