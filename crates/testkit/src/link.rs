//! A connection to an API server that records all requests and fails as a test demands.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http::{Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use kube::Client;
use mxjob_access::identity::Identity;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::core::{Body, BoxError, Core};
use crate::fault::{EventFaults, Fault, FaultPlan, Faults, Rule, WatchEnd};
use crate::random::Random;
use crate::request::{Record, Request};

/// A connection of one client. Clones share its faults and records.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    upstream: Upstream,
    state: Mutex<State>,
    /// Resources whose watches deliver nothing for now.
    held: watch::Sender<BTreeSet<String>>,
    /// How often all watches were broken; whether their resource version has expired.
    breaks: watch::Sender<(u64, bool)>,
    has_crashed: watch::Sender<bool>,
    /// The number of requests that have ended.
    ended: watch::Sender<usize>,
}

/// The server at the other end.
pub(crate) enum Upstream {
    InProcess(Arc<Core>, Identity),
    Remote(Client),
}

struct State {
    plan: FaultPlan,
    records: Vec<Record>,
    in_flight: usize,
}

/// A request that is recorded when it ends, also if its client stops waiting.
struct InFlight {
    shared: Arc<Shared>,
    request: Request,
    code: u16,
    server_code: u16,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Self { request, code, server_code, .. } = self;
        let (code, server_code, request) = (*code, *server_code, request.clone());
        let mut state = self.shared.state.lock();
        state.in_flight -= 1;
        state.records.push(Record { request, code, server_code, at: Instant::now() });
        drop(state);
        self.shared.ended.send_modify(|count| *count += 1);
    }
}

// === impl Link ===

impl Link {
    /// A connection without faults to a server in another process.
    #[must_use]
    pub fn to_client(upstream: Client, random: Random) -> Self {
        Self::new(Upstream::Remote(upstream), random)
    }

    pub(crate) fn new(upstream: Upstream, random: Random) -> Self {
        let state = State { plan: FaultPlan::new(random), records: Vec::new(), in_flight: 0 };
        Self {
            shared: Arc::new(Shared {
                upstream,
                state: Mutex::new(state),
                held: watch::channel(BTreeSet::new()).0,
                breaks: watch::channel((0, false)).0,
                has_crashed: watch::channel(false).0,
                ended: watch::channel(0).0,
            }),
        }
    }

    /// A client at this end of the connection.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Sets the random faults from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.state.lock().plan.faults = faults;
    }

    /// Sets the fault of the next requests whose [`Request::text`] begins with `request`.
    pub fn add_rule(&self, request: &str, fault: Fault, times: usize) {
        let rule = Rule { request: request.to_owned(), fault, times };
        self.shared.state.lock().plan.rules.push(rule);
    }

    /// Whether every rule has been applied to all its requests.
    #[must_use]
    pub fn rules_are_used_up(&self) -> bool {
        self.shared.state.lock().plan.rules.iter().all(|rule| rule.times == 0)
    }

    /// Forbids requests that need these permissions (`list pods`) and allows all others.
    pub fn forbid(&self, permissions: &[&str]) {
        let permissions = permissions.iter().map(|&permission| permission.to_owned()).collect();
        self.shared.state.lock().plan.forbidden = permissions;
    }

    /// Holds the watches of these resources back and releases those of all others.
    pub fn hold_watches(&self, resources: &[&str]) {
        self.shared.held.send_replace(resources.iter().map(|&name| name.to_owned()).collect());
    }

    /// Ends all open watches: without an event, or because their resource version has expired.
    pub fn break_watches(&self, have_expired: bool) {
        self.shared.breaks.send_modify(|(count, expired)| {
            *count += 1;
            *expired = have_expired;
        });
    }

    /// Whether a request was the client's last one, to be notified of it.
    #[must_use]
    pub fn has_crashed(&self) -> watch::Receiver<bool> {
        self.shared.has_crashed.subscribe()
    }

    /// Another client takes the place of the one that crashed.
    pub fn recover(&self) {
        self.shared.has_crashed.send_replace(false);
    }

    /// The number of requests that have ended, to be notified of each.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<usize> {
        self.shared.ended.subscribe()
    }

    /// The requests so far, in the order of their ends.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.shared.state.lock().records.clone()
    }

    /// The permissions that the requests for resources so far need: `list pods`, `patch
    /// mxjobs/status`.
    #[must_use]
    pub fn permissions(&self) -> BTreeSet<String> {
        let records = self.records();
        let requests = records.iter().map(|record| &record.request);
        requests.filter(|one| !one.resource.starts_with('/')).map(Request::permission).collect()
    }

    /// The texts of the writes so far: `create pods digits-worker-0`, `patch mxjobs/status digits`.
    /// Events are left out: they are not ordered with the other writes.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        let records = self.records();
        let writes = records.iter().map(|record| &record.request).filter(|one| one.is_write());
        writes.filter(|one| one.resource != "events").map(Request::text).collect()
    }

    /// How many requests whose text begins with `text` the server has carried out.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        let is_counted =
            |record: &&Record| record.is_done() && record.request.text().starts_with(text);
        self.records().iter().filter(is_counted).count()
    }

    /// Lines about the requests for a job and about all collections, for a failed test's output.
    #[must_use]
    pub fn describe(&self, job: &str) -> Vec<String> {
        let concerns = |record: &&Record| {
            let name = &record.request.name;
            let rest = name.strip_prefix(job);
            name.is_empty()
                || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
        };
        self.records().iter().filter(concerns).map(Record::line).collect()
    }

    /// Lines about the last requests except those of leader election.
    #[must_use]
    pub fn describe_last(&self, count: usize) -> Vec<String> {
        let records = self.records();
        let others = records.iter().filter(|record| !record.request.is_lease());
        let lines: Vec<String> = others.map(Record::line).collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }

    /// Whether no request is waiting for its response.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.state.lock().in_flight == 0
    }

    /// Passes a request on and its response back.
    ///
    /// # Errors
    /// If a fault cuts the connection, or the server cannot be reached.
    pub async fn send(&self, request: http::Request<Bytes>) -> Result<Response<Body>, BoxError> {
        let shared = Arc::clone(&self.shared);
        let query = request.uri().query().unwrap_or_default();
        let described =
            Request::read(request.method(), request.uri().path(), query, request.body());
        let faults = {
            let mut state = shared.state.lock();
            state.in_flight += 1;
            state.plan.of_request(&described)
        };
        let mut in_flight =
            InFlight { shared: Arc::clone(&shared), request: described, code: 0, server_code: 0 };
        let (mut is_lost, mut is_last) = (false, false);
        for fault in faults {
            match fault {
                Fault::Delay(ms) => delay(ms).await,
                Fault::Cut => return Err("the connection was cut".into()),
                Fault::LoseResponse => is_lost = true,
                Fault::Crash { is_done: true } => is_last = true,
                Fault::Crash { is_done: false } => return shared.crash().await,
                Fault::Refuse(_) | Fault::Forbid => {
                    let (code, message) = match fault {
                        Fault::Refuse(code) => {
                            (code, format!("injected: {} is refused", in_flight.request.text()))
                        }
                        _ => (403, forbidden(&in_flight.request)),
                    };
                    in_flight.code = code;
                    return Ok(refusal(code, &message));
                }
            }
        }
        let response = shared.upstream.send(request).await?;
        in_flight.server_code = response.status().as_u16();
        if is_last {
            return shared.crash().await;
        }
        let (mut parts, body) = response.into_parts();
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
            parts.headers.remove(name);
        }
        let body = if in_flight.request.verb == "watch" && parts.status.is_success() {
            watch_body(Arc::clone(&shared), in_flight.request.resource.clone(), body)
        } else {
            let bytes = body.collect().await?.to_bytes();
            let ms = shared.state.lock().plan.response_delay();
            delay(ms).await;
            if is_lost {
                return Err("the response was lost".into());
            }
            whole(bytes)
        };
        in_flight.code = parts.status.as_u16();
        Ok(Response::from_parts(parts, body))
    }
}

impl tower_service::Service<http::Request<kube::client::Body>> for Link {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let link = self.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            link.send(http::Request::from_parts(parts, body)).await
        }
        .boxed()
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// The end of the client: no response ever arrives.
    async fn crash(&self) -> Result<Response<Body>, BoxError> {
        self.has_crashed.send_replace(true);
        std::future::pending().await
    }
}

// === impl Upstream ===

impl Upstream {
    async fn send(&self, request: http::Request<Bytes>) -> Result<Response<Body>, BoxError> {
        match self {
            Self::InProcess(core, identity) => Ok(core.respond(identity, request)),
            Self::Remote(client) => {
                let (mut parts, body) = request.into_parts();
                for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
                    parts.headers.remove(name);
                }
                parts.uri = parts.uri.path_and_query().unwrap().as_str().parse()?;
                let request = http::Request::from_parts(parts, body.into());
                let response = client.send(request).await?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            }
        }
    }
}

/// An open watch.
struct Watch {
    shared: Arc<Shared>,
    resource: String,
    body: Body,
    held: watch::Receiver<BTreeSet<String>>,
    breaks: watch::Receiver<(u64, bool)>,
    /// The last delivered event.
    previous: Option<Bytes>,
    /// An event that is delivered again.
    repeated: Option<Bytes>,
    is_over: bool,
}

/// The events of a watch, with its faults.
fn watch_body(shared: Arc<Shared>, resource: String, body: Body) -> Body {
    let (held, mut breaks) = (shared.held.subscribe(), shared.breaks.subscribe());
    breaks.mark_unchanged();
    let (previous, repeated, is_over) = (None, None, false);
    let watch = Watch { shared, resource, body, held, breaks, previous, repeated, is_over };
    let frames = stream::unfold(watch, async |mut watch| {
        let next = watch.next().await?;
        Some((next.map(Frame::data), watch))
    });
    StreamBody::new(frames.boxed()).boxed_unsync()
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        if let Some(event) = self.repeated.take() {
            return Some(Ok(event));
        }
        if self.is_over {
            return None;
        }
        let mut breaks = self.breaks.clone();
        tokio::select! {
            biased;
            _ = breaks.changed() => {
                self.is_over = true;
                let (_, have_expired) = *breaks.borrow();
                let end = if have_expired { Ok(expired_event()) } else { Err("the watch was broken".into()) };
                Some(end)
            }
            event = self.event() => event,
        }
    }

    async fn event(&mut self) -> Option<Result<Bytes, BoxError>> {
        let resource = &self.resource;
        let is_released = |held: &BTreeSet<String>| !held.contains(resource);
        drop(self.held.wait_for(is_released).await);
        let data = match self.body.frame().await? {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => {
                self.is_over = true;
                return Some(Err(error));
            }
        };
        let EventFaults { lag, is_repeated, end } = self.shared.state.lock().plan.of_event();
        delay(lag).await;
        let data = match end {
            Some(WatchEnd::WithinEvent) => data.slice(..data.len() / 2),
            _ => data,
        };
        self.is_over = end.is_some();
        let previous = self.previous.replace(data.clone());
        if is_repeated && end.is_none() {
            self.repeated = previous.or_else(|| Some(data.clone()));
        }
        Some(Ok(data))
    }
}

async fn delay(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn expired_event() -> Bytes {
    let event = json!({ "type": "ERROR", "object": status(410, "too old resource version") });
    format!("{event}\n").into()
}

/// The message of an API server to a client without permission.
fn forbidden(request: &Request) -> String {
    let Request { verb, group, resource, namespace, .. } = request;
    let plural = resource.split('/').next().unwrap_or_default();
    let place = match namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!(
        "{plural} is forbidden: User \"operator\" cannot {verb} resource {resource:?} in API group {group:?} {place}"
    )
}

/// A response that does not come from the server.
fn refusal(code: u16, message: &str) -> Response<Body> {
    let mut response = Response::new(whole(status(code, message).to_string().into()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    if code == 429 {
        headers.insert(header::RETRY_AFTER, "1".parse().unwrap());
    }
    response
}

fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync()
}
