//! The task that decides which waiting jobs may start, whenever something has changed that may matter.
//!
//! The decision is [`admission`](crate::admission)'s; this task says when, and has the jobs concerned looked at.

use super::effects::Context;
use super::events::Subject;
use super::ledger::UnknownClass;
use super::queue::Queue;
use crate::plan::{Event, EventKind};
use jiff::Timestamp;
use kube::Client;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// How soon the API is asked again after it did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Whether the server has priority classes; asks until it answers.
pub(super) async fn has_priority_classes(client: &Client) -> bool {
    loop {
        match client.list_api_group_resources("scheduling.k8s.io/v1").await {
            Ok(_) => return true,
            Err(kube::Error::Api(status)) if status.code < 500 => return false,
            Err(error) => warn!(%error, "cannot ask for priority classes; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Decides for ever.
pub(super) async fn keep_deciding(context: Arc<Context>, queue: Arc<Queue>) {
    loop {
        let now = (context.now)();
        let decided = context.cache.decide(now);
        for unknown in &decided.unknown_classes {
            tell(&context, unknown, now);
        }
        for key in decided.changed {
            queue.add(key);
        }
        match decided.again_at {
            None => context.cache.line_moved().await,
            Some(at) => tokio::select! {
                () = context.cache.line_moved() => {}
                () = tokio::time::sleep(super::work::sleep(now, at)) => {}
            },
        }
    }
}

fn tell(context: &Context, unknown: &UnknownClass, now: Timestamp) {
    let UnknownClass { job, uid, class } = unknown;
    let event = Event {
        kind: EventKind::Warning,
        reason: "UnknownPriorityClass".to_owned(),
        message: format!("There is no priority class {class}: the job waits with priority 0"),
    };
    let subject = Subject { namespace: &job.namespace, name: &job.name, uid };
    context.recorder.tell(subject, &event, uid, now);
}
