//! Events about a job, and the task that posts them.
//!
//! An event's name is made of what it says, so saying a thing again (after a crash, or on a retry) is refused by the server and not
//! doubled. Events are told and not waited for: the queue to the poster is bounded, and when it is full the event is dropped with a log line,
//! because no job may wait for its own story to be written down.

use super::obstacles;
use super::requests::Requests;
use crate::plan::{Event, EventKind};
use crate::standing::Standing;
use futures_util::stream::{self, StreamExt as _};
use jiff::Timestamp;
use mxjob_api::{labels, mxjob};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, warn};

/// Events that may wait to be posted: a job of a thousand replicas tells of all its pods and services at once.
const BACKLOG: usize = 4096;

/// Events that are posted at once: they are many and small, and the server writes those that come together together.
const PARALLEL: usize = 16;

/// The job that events are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

/// Takes events; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    queue: mpsc::Sender<Value>,
}

/// Posts what its [`Recorder`]s take.
#[derive(Debug)]
pub(super) struct Poster {
    queue: mpsc::Receiver<Value>,
    requests: Requests,
    standing: Standing,
}

/// A recorder and its poster.
pub(super) fn channel(requests: Requests, standing: Standing) -> (Recorder, Poster) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    (Recorder { queue: sender }, Poster { queue: receiver, requests, standing })
}

impl Recorder {
    /// Tells an event. `occasion` tells equal events of different occasions apart.
    pub(super) fn tell(&self, subject: Subject<'_>, event: &Event, occasion: &str, now: Timestamp) {
        let object = object(subject, event, occasion, now);
        if self.queue.try_send(object).is_err() {
            warn!(
                namespace = subject.namespace,
                job = subject.name,
                reason = event.reason,
                "event dropped"
            );
        }
    }
}

impl Poster {
    /// Posts until all recorders are gone.
    pub(super) async fn run(self) {
        let Self { queue, requests, standing } = self;
        let events = stream::unfold(queue, async |mut queue| Some((queue.recv().await?, queue)));
        let post = async |event: Value| {
            let namespace = event["metadata"]["namespace"].as_str().unwrap_or_default();
            let what = format!("events of namespace {namespace}");
            if let Err(error) = requests.create_event(&event).await {
                if let Some(why) = obstacles::no_events(&error, namespace) {
                    standing.obstructed(&what, &why);
                }
                debug!(%error, event = %event["metadata"]["name"], "event not posted");
            } else {
                standing.cleared(&what);
            }
        };
        events.for_each_concurrent(PARALLEL, post).await;
    }
}

fn object(subject: Subject<'_>, event: &Event, occasion: &str, now: Timestamp) -> Value {
    let Subject { namespace, name, uid } = subject;
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

/// FNV-1a: small, and the same in every build and process, which the standard hasher does not promise.
fn digest(parts: [&str; 4]) -> u64 {
    let separated = parts.iter().flat_map(|part| part.bytes().chain([0]));
    separated.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reason: &str, occasion: &str) -> Value {
        let event = Event {
            kind: EventKind::Warning,
            reason: reason.to_owned(),
            message: "why".to_owned(),
        };
        let subject = Subject { namespace: "default", name: "digits", uid: "u1" };
        object(subject, &event, occasion, "2026-11-24T08:00:00.5Z".parse().unwrap())
    }

    #[test]
    fn an_event_names_its_job_and_its_source() {
        assert_eq!(
            told("MXJobFailed", ""),
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
    fn the_same_thing_has_the_same_name_and_another_another() {
        assert_eq!(told("A", "1"), told("A", "1"));
        for other in [told("A", "2"), told("B", "1"), told("A1", "")] {
            assert_ne!(told("A", "1")["metadata"]["name"], other["metadata"]["name"]);
        }
    }
}
