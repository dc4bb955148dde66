//! Endpoints and endpoint slices of services: the addresses of the pods that a service selects.
//!
//! ```text
//! services, pods, endpoints, slices ─▶ state (the fields that matter) ─▶ plan (pure) ─▶ writes
//! ```
//!
//! A change marks its namespace, and only marked namespaces are planned again. Between two passes
//! the controller rests nine times as long as the last pass took, so that many changes at once cost
//! at most a tenth of a processor.

mod plan;
mod state;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{FutureExt as _, StreamExt as _};
use http::Method;
use kube::Client;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use mxjob_client::Raw;
use mxjob_client::request::JSON;

use crate::api::{self, Settled};
use crate::clock;
use plan::Write;
use state::{Part, State};

/// The service account of this controller.
pub const ACCOUNT: &str = "endpoint-controller";
/// The number of writes at the same time.
const MAX_WRITES: usize = 16;
/// The least and the longest rest between two passes.
const MIN_REST: Duration = Duration::from_millis(20);
const MAX_REST: Duration = Duration::from_secs(10);
/// The rest after a pass, in times of its duration.
const REST_FACTOR: u32 = 9;
const RETRY_DELAY: Duration = Duration::from_secs(1);

type Changes = SelectAll<BoxStream<'static, (Part, Result<Event<Raw>, watcher::Error>)>>;

/// Keeps endpoints and endpoint slices up to date until `shutdown`.
pub async fn run(client: Client, shutdown: impl Future<Output = ()>) {
    let mut changes: Changes = SelectAll::new();
    for part in Part::ALL {
        let api = kube::Api::<Raw>::all_with(client.clone(), &part.resource());
        let events = watcher(api, watcher::Config::default()).default_backoff();
        changes.push(events.map(move |event| (part, event)).boxed());
    }
    tokio::select! {
        () = shutdown => {}
        () = follow(&client, changes) => {}
    }
}

async fn follow(client: &Client, mut changes: Changes) {
    let mut state = State::default();
    loop {
        let retry = async {
            if state.has_work() {
                tokio::time::sleep(RETRY_DELAY).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            change = changes.next() => match change {
                Some(change) => observe(&mut state, change),
                None => return,
            },
            () = retry => {}
        }
        while let Some(Some(change)) = Pin::new(&mut changes).next().now_or_never() {
            observe(&mut state, change);
        }
        let begin = clock::now();
        pass(client, &mut state).await;
        let duration = Duration::try_from(clock::now().duration_since(begin)).unwrap_or_default();
        let rest = duration.saturating_mul(REST_FACTOR).clamp(MIN_REST, MAX_REST);
        tokio::time::sleep(rest).await;
    }
}

fn observe(state: &mut State, (part, event): (Part, Result<Event<Raw>, watcher::Error>)) {
    match event {
        Ok(event) => state.observe(part, event),
        Err(error) => {
            tracing::warn!(resource = part.plural(), %error, "watch interrupted; will retry")
        }
    }
}

/// Plans all marked namespaces. Those with a failed write stay marked.
async fn pass(client: &Client, state: &mut State) {
    for namespace in state.take_work() {
        let writes = plan::writes(&namespace, &state.view(&namespace));
        let results = stream::iter(writes.into_iter().map(|write| send(client, write)));
        let settled =
            results.buffer_unordered(MAX_WRITES).fold(true, |all, one| async move { all & one });
        if !settled.await {
            state.mark(&namespace);
        }
    }
}

async fn send(client: &Client, write: Write) -> Settled {
    let (method, path, body) = match write {
        Write::Create { path, object } => (Method::POST, path, Some(object)),
        Write::Replace { path, object } => (Method::PUT, path, Some(object)),
        Write::Delete { path } => (Method::DELETE, path, None),
    };
    api::write(client, method, &path, JSON, body.as_ref()).await
}
