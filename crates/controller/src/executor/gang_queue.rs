//! The task that decides which waiting jobs may start, whenever a relevant change happens.
//!
//! [`queue`](crate::scheduling::queue) makes the decision; this task triggers it and requeues the
//! jobs concerned.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tracing::warn;

use super::capacity::UnknownPriorityClass;
use super::context::Context;
use super::events::JobRef;
use super::work_queue::WorkQueue;
use crate::event::{Event, EventKind};

/// Wait before the API is asked again after it did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Whether the server has priority classes. Asks until it answers.
pub(super) async fn has_priority_classes(client: &Client) -> bool {
    loop {
        match client.list_api_group_resources("scheduling.k8s.io/v1").await {
            Ok(_) => return true,
            Err(kube::Error::Api(status)) if status.code < 500 => return false,
            Err(error) => warn!(%error, "could not ask for priority classes; will retry"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Decides until it is aborted.
pub(super) async fn keep_deciding(context: Arc<Context>, queue: Arc<WorkQueue>) {
    loop {
        let now = (context.now)();
        let decided = context.cache.decide(now);
        for unknown in &decided.unknown_classes {
            report_unknown_class(&context, unknown, now);
        }
        for key in decided.changed {
            queue.add(key);
        }
        match decided.recheck_at {
            None => context.cache.queue_changed().await,
            Some(at) => tokio::select! {
                () = context.cache.queue_changed() => {}
                () = tokio::time::sleep(super::worker::sleep(now, at)) => {}
            },
        }
    }
}

fn report_unknown_class(context: &Context, unknown: &UnknownPriorityClass, now: Timestamp) {
    let UnknownPriorityClass { job, uid, class } = unknown;
    let event = Event {
        kind: EventKind::Warning,
        reason: "UnknownPriorityClass".to_owned(),
        message: format!("Priority class {class} does not exist; the job waits with priority 0"),
    };
    let job_ref = JobRef { namespace: &job.namespace, name: &job.name, uid };
    context.recorder.record(job_ref, &event, uid, now);
}
