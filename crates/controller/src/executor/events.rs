//! Events about a job, and the tasks that write them.
//!
//! The name of an event is a hash of its content and occasion, so an event that is recorded again
//! (after a crash, or on a retry) is neither duplicated nor counted. Nothing waits for events: the
//! queues to the poster are bounded, and when one is full the event is dropped with a log line,
//! because no job may wait for its own events.

use std::sync::Arc;

use futures_util::future;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as ApiEvent, EventSource, ObjectReference};
use kube::Client;
use mxjob_api::{labels, mxjob};
use mxjob_client::events::{EventWriter, Level};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::obstacles;
use crate::event::{Event, EventKind};
use crate::health::Health;

/// Events of a job are written one after the other, those of other jobs at the same time.
const QUEUES: usize = 16;

/// Capacity of a queue.
const QUEUE_CAPACITY: usize = 256;

/// The job that events are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobRef<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

/// Records events; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    queues: Arc<[mpsc::Sender<ApiEvent>]>,
}

/// Writes the events of its [`Recorder`]s.
#[derive(Debug)]
pub(super) struct Poster {
    queues: Vec<mpsc::Receiver<ApiEvent>>,
    writer: EventWriter,
    health: Health,
}

/// A recorder and its poster.
pub(super) fn channel(client: Client, health: Health) -> (Recorder, Poster) {
    let (senders, queues): (Vec<_>, Vec<_>) =
        (0..QUEUES).map(|_| mpsc::channel(QUEUE_CAPACITY)).unzip();
    (
        Recorder { queues: senders.into() },
        Poster { queues, writer: EventWriter::new(client), health },
    )
}

impl Recorder {
    /// Records an event. `occasion` distinguishes equal events of different occasions.
    pub(super) fn record(
        &self,
        job_ref: JobRef<'_>,
        event: &Event,
        occasion: &str,
        now: Timestamp,
    ) {
        let object = object(job_ref, event, occasion, now);
        let queue = usize::try_from(digest(&[job_ref.uid])).unwrap_or_default() % QUEUES;
        let sent = self.queues.get(queue).is_some_and(|queue| queue.try_send(object).is_ok());
        if !sent {
            warn!(
                namespace = job_ref.namespace,
                job = job_ref.name,
                reason = event.reason,
                "dropped an event because the queue is full"
            );
        }
    }
}

impl Poster {
    /// Writes until all recorders are gone.
    pub(super) async fn run(self) {
        let Self { queues, writer, health } = self;
        let write_all = async |mut queue: mpsc::Receiver<ApiEvent>| {
            while let Some(event) = queue.recv().await {
                write(&writer, &health, event).await;
            }
        };
        future::join_all(queues.into_iter().map(write_all)).await;
    }
}

async fn write(writer: &EventWriter, health: &Health, event: ApiEvent) {
    let namespace = event.metadata.namespace.clone().unwrap_or_default();
    let what = format!("events of namespace {namespace}");
    if let Err(error) = writer.write(event).await {
        if let Some(why) = obstacles::cannot_write_events(&error, &namespace) {
            health.obstructed(&what, &why);
        }
        debug!(%error, namespace, "could not write an event");
    } else {
        health.cleared(&what);
    }
}

fn object(job_ref: JobRef<'_>, event: &Event, occasion: &str, now: Timestamp) -> ApiEvent {
    let JobRef { namespace, name, uid } = job_ref;
    let about = ObjectReference {
        api_version: Some(mxjob::API_VERSION.to_owned()),
        kind: Some(mxjob::KIND.to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    };
    let level = match event.kind {
        EventKind::Normal => Level::Normal,
        EventKind::Warning => Level::Warning,
    };
    let source = EventSource { component: Some(labels::OPERATOR.to_owned()), host: None };
    let content = (level, event.reason.as_str(), event.message.clone());
    let mut object = mxjob_client::events::event(about, content, source, now);
    let digest = digest(&[uid, &event.reason, &event.message, occasion]);
    object.metadata.name = Some(format!("{name}.{digest:016x}"));
    object
}

/// FNV-1a: small, and the same in every build and process, which the standard hasher does not
/// promise.
fn digest(parts: &[&str]) -> u64 {
    let separated = parts.iter().flat_map(|part| part.bytes().chain([0]));
    separated.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn posted(reason: &str, occasion: &str) -> Value {
        let event = Event {
            kind: EventKind::Warning,
            reason: reason.to_owned(),
            message: "why".to_owned(),
        };
        let job_ref = JobRef { namespace: "default", name: "digits", uid: "u1" };
        let now = "2026-11-24T08:00:00.5Z".parse().unwrap();
        serde_json::to_value(object(job_ref, &event, occasion, now)).unwrap()
    }

    #[test]
    fn an_event_names_its_job_and_its_source() {
        assert_eq!(
            posted("MXJobFailed", ""),
            json!({
                "apiVersion": "v1", "kind": "Event",
                "metadata": { "name": "digits.37cd3dbca6576fb0", "namespace": "default" },
                "involvedObject": {
                    "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "namespace": "default", "name": "digits", "uid": "u1",
                },
                "reason": "MXJobFailed", "message": "why", "type": "Warning",
                "source": { "component": "mxjob-controller" },
                "reportingComponent": "mxjob-controller", "reportingInstance": "",
                "firstTimestamp": "2026-11-24T08:00:00Z", "lastTimestamp": "2026-11-24T08:00:00Z", "count": 1,
            })
        );
    }

    #[test]
    fn equal_events_have_equal_names_and_others_do_not() {
        assert_eq!(posted("A", "1"), posted("A", "1"));
        for other in [posted("A", "2"), posted("B", "1"), posted("A1", "")] {
            assert_ne!(posted("A", "1")["metadata"]["name"], other["metadata"]["name"]);
        }
    }
}
