//! Events about a job, and the task that posts them.
//!
//! The name of an event is a hash of its content, so a repeated event (after a crash, or on a
//! retry) is refused by the server and not duplicated. Nothing waits for events: the queue to the
//! poster is bounded, and when it is full the event is dropped with a log line, because no job may
//! wait for its own events.

use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use mxjob_api::{labels, mxjob};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::obstacles;
use super::requests::Requests;
use crate::event::{Event, EventKind};
use crate::health::Health;

/// Capacity of the queue: a job of a thousand replicas records events about all its pods and
/// services at the same time.
const QUEUE_CAPACITY: usize = 4096;

/// Maximum of parallel requests: events are many and small, and the server commits concurrent
/// writes together.
const MAX_PARALLEL_REQUESTS: usize = 16;

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
    queue: mpsc::Sender<Value>,
}

/// Posts the events of its [`Recorder`]s.
#[derive(Debug)]
pub(super) struct Poster {
    queue: mpsc::Receiver<Value>,
    requests: Requests,
    health: Health,
}

/// A recorder and its poster.
pub(super) fn channel(requests: Requests, health: Health) -> (Recorder, Poster) {
    let (sender, receiver) = mpsc::channel(QUEUE_CAPACITY);
    (Recorder { queue: sender }, Poster { queue: receiver, requests, health })
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
        if self.queue.try_send(object).is_err() {
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
    /// Posts until all recorders are gone.
    pub(super) async fn run(self) {
        let Self { queue, requests, health } = self;
        let events = stream::unfold(queue, async |mut queue| Some((queue.recv().await?, queue)));
        let post = async |event: Value| {
            let namespace = event["metadata"]["namespace"].as_str().unwrap_or_default();
            let what = format!("events of namespace {namespace}");
            if let Err(error) = requests.create_event(&event).await {
                if let Some(why) = obstacles::cannot_create_events(&error, namespace) {
                    health.obstructed(&what, &why);
                }
                debug!(%error, event = %event["metadata"]["name"], "could not post an event");
            } else {
                health.cleared(&what);
            }
        };
        events.for_each_concurrent(MAX_PARALLEL_REQUESTS, post).await;
    }
}

fn object(job_ref: JobRef<'_>, event: &Event, occasion: &str, now: Timestamp) -> Value {
    let JobRef { namespace, name, uid } = job_ref;
    let time = Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let kind = match event.kind {
        EventKind::Normal => "Normal",
        EventKind::Warning => "Warning",
    };
    let digest = digest([uid, &event.reason, &event.message, occasion]);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": format!("{name}.{digest:016x}"), "namespace": namespace },
        "involvedObject": {
            "apiVersion": mxjob::API_VERSION, "kind": mxjob::KIND, "namespace": namespace, "name": name, "uid": uid,
        },
        "reason": event.reason,
        "message": event.message,
        "type": kind,
        "source": { "component": labels::OPERATOR },
        "reportingComponent": labels::OPERATOR,
        "reportingInstance": "",
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    })
}

/// FNV-1a: small, and the same in every build and process, which the standard hasher does not
/// promise.
fn digest(parts: [&str; 4]) -> u64 {
    let separated = parts.iter().flat_map(|part| part.bytes().chain([0]));
    separated.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(reason: &str, occasion: &str) -> Value {
        let event = Event {
            kind: EventKind::Warning,
            reason: reason.to_owned(),
            message: "why".to_owned(),
        };
        let job_ref = JobRef { namespace: "default", name: "digits", uid: "u1" };
        object(job_ref, &event, occasion, "2026-11-24T08:00:00.5Z".parse().unwrap())
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
