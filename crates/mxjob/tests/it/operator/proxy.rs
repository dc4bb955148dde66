//! The line between one operator and the API server, which can be bad in every way, and which
//! writes down what goes through it.
//!
//! ```text
//! operator ── HTTP, loopback ──▶ proxy: record, faults ── TLS ──▶ mxjob apiserver
//! ```
//!
//! It adds nothing and passes the token on, so that the operator's kubeconfig differs in the
//! address alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request as HttpRequest, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::record::{Record, Request};
use super::trouble::{Break, Fault, Plan, Rule, Trouble};
use crate::support::wait_until;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A line to a server. Dropped, it is dead.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    upstream: Client,
    state: Mutex<State>,
    /// Whether nothing gets through.
    is_down: watch::Sender<bool>,
    /// Counts up when all watches are to break; whether they are told that their version has
    /// expired.
    breaks: watch::Sender<(u64, bool)>,
}

#[derive(Debug)]
struct State {
    plan: Plan,
    records: Vec<Record>,
    in_flight: usize,
}

// === impl Proxy ===

impl Proxy {
    /// A line to the server of a kubeconfig, as good as can be.
    pub(crate) async fn to(kubeconfig: &Path, seed: u64) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.auth_info = AuthInfo::default();
        config.default_retry = false;
        let state = State { plan: Plan::new(seed), records: Vec::new(), in_flight: 0 };
        let shared = Arc::new(Shared {
            upstream: Client::try_from(config).unwrap(),
            state: Mutex::new(state),
            is_down: watch::channel(false).0,
            breaks: watch::channel((0, false)).0,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared, accepting }
    }

    /// A kubeconfig that leads here, for whoever has that token; what is written down as JSON is
    /// YAML.
    pub(crate) fn kubeconfig(&self, token: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "through-the-proxy",
            "clusters": [{ "name": "it", "cluster": { "server": format!("http://{}", self.address) } }],
            "users": [{ "name": "it", "user": { "token": token } }],
            "contexts": [{ "name": "through-the-proxy", "context": { "cluster": "it", "user": "it" } }],
        })
        .to_string()
    }

    /// What goes wrong at random from now on.
    pub(crate) fn trouble(&self, trouble: Trouble) {
        self.shared.state.lock().unwrap().plan.trouble = trouble;
    }

    /// What happens to the next requests whose [`Request::text`] begins so.
    pub(crate) fn rule(&self, request: &str, fault: Fault, times: usize) {
        let rule = Rule { request: request.to_owned(), fault, times };
        self.shared.state.lock().unwrap().plan.rules.push(rule);
    }

    /// Whether all rules have been used up.
    pub(crate) fn rules_are_used_up(&self) -> bool {
        self.shared.state.lock().unwrap().plan.rules.iter().all(|rule| rule.times == 0)
    }

    /// Cuts every connection and takes no more of them, or takes them again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.shared.is_down.send_replace(is_down);
    }

    /// Ends all watches that there are: in mid-air, or with the word that their version has
    /// expired.
    pub(crate) fn break_watches(&self, have_expired: bool) {
        self.shared.breaks.send_modify(|(count, expired)| {
            *count += 1;
            *expired = have_expired;
        });
    }

    /// What has gone through so far, in the order of the answers.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.shared.state.lock().unwrap().records.clone()
    }

    /// The requests that have to do with a job, and all watches, for people.
    pub(crate) fn told_of(&self, job: &str) -> Vec<String> {
        let is_told = |record: &&Record| {
            let name = &record.request.name;
            let rest = name.strip_prefix(job);
            name.is_empty()
                || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
        };
        self.records().iter().filter(is_told).map(Record::line).collect()
    }

    /// The last requests that are not about who leads, for people.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let records = self.records();
        let is_told = |record: &&Record| !record.request.is_about_leading();
        let lines: Vec<String> = records.iter().filter(is_told).map(Record::line).collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }

    /// How many requests whose text begins so were done.
    pub(crate) fn count(&self, request: &str) -> usize {
        let state = self.shared.state.lock().unwrap();
        let is_one =
            |record: &&Record| record.is_done() && record.request.text().starts_with(request);
        state.records.iter().filter(is_one).count()
    }

    /// Waits until no request but watches is on its way.
    pub(crate) fn wait_until_idle(&self) {
        wait_until("no request is on its way", || {
            (self.shared.state.lock().unwrap().in_flight == 0).then_some(())
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.is_down.send_replace(true);
    }
}

// === impl Shared ===

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shared").finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        if !*shared.is_down.borrow() {
            tokio::spawn(connection(stream, Arc::clone(&shared)));
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let mut is_down = shared.is_down.subscribe();
    let service = service_fn(|request| answer(Arc::clone(&shared), request));
    let serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A cut is an error here, and meant.
        _ = serving => {}
        _ = is_down.wait_for(|is_down| *is_down) => {}
    }
}

/// A request on its way, written down however it ends.
struct Passing {
    shared: Arc<Shared>,
    request: Request,
    code: u16,
    done: u16,
}

impl Drop for Passing {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.in_flight -= 1;
        let Self { request, code, done, .. } = self;
        let record =
            Record { request: request.clone(), code: *code, done: *done, at: Instant::now() };
        state.records.push(record);
    }
}

/// Answers, or cuts the line by an error.
async fn answer(
    shared: Arc<Shared>,
    request: HttpRequest<hyper::body::Incoming>,
) -> Result<Response<Body>, BoxError> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let query = parts.uri.query().unwrap_or_default();
    let request = Request::read(&parts.method, parts.uri.path(), query, &body);
    let faults = {
        let mut state = shared.state.lock().unwrap();
        state.in_flight += 1;
        state.plan.faults(&request)
    };
    let is_watch = request.verb == "watch";
    let mut passing = Passing { shared: Arc::clone(&shared), request, code: 0, done: 0 };
    let mut is_lost = false;
    for fault in faults {
        match fault {
            Fault::Delay(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Fault::Cut => return Err("cut".into()),
            Fault::LoseAnswer => is_lost = true,
            Fault::Refuse(code) => {
                passing.code = code;
                return Ok(refusal(code, &passing.request));
            }
        }
    }
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
    let response = shared.upstream.send(HttpRequest::from_parts(parts, body.into())).await?;
    passing.done = response.status().as_u16();
    let (mut parts, body) = response.into_parts();
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    let body = if is_watch && parts.status.is_success() {
        watch_body(Arc::clone(&shared), body)
    } else {
        // An answer that is on its way belongs to the request.
        let bytes = body.collect().await?.to_bytes();
        if is_lost {
            return Err("lost".into());
        }
        whole(bytes)
    };
    passing.code = parts.status.as_u16();
    Ok(Response::from_parts(parts, body))
}

/// The events of a watch, until it is broken.
fn watch_body(shared: Arc<Shared>, body: kube::client::Body) -> Body {
    let mut breaks = shared.breaks.subscribe();
    breaks.mark_unchanged();
    let frames = stream::unfold(Some((shared, body, breaks)), async |watch| {
        let (shared, mut body, mut breaks) = watch?;
        let frame = tokio::select! {
            biased;
            _ = breaks.changed() => {
                let (_, have_expired) = *breaks.borrow();
                let last = if have_expired { Ok(Frame::data(expired_event())) } else { Err("broken".into()) };
                return Some((last, None));
            }
            frame = body.frame() => frame?,
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Some((Err(error.into()), None)),
        };
        let breaking = shared.state.lock().unwrap().plan.break_watch();
        let data = frame.into_data().unwrap_or_default();
        match breaking {
            Break::No => Some((Ok(Frame::data(data)), Some((shared, body, breaks)))),
            Break::After => Some((Ok(Frame::data(data)), None)),
            // What comes after half an event is its end all the same: the body simply stops.
            Break::Within => Some((Ok(Frame::data(data.slice(..data.len() / 2))), None)),
        }
    });
    StreamBody::new(frames.boxed()).boxed_unsync()
}

fn expired_event() -> Bytes {
    let event = json!({ "type": "ERROR", "object": status(410, "too old resource version") });
    format!("{event}\n").into()
}

/// An answer that does not come from the server.
fn refusal(code: u16, request: &Request) -> Response<Body> {
    let message = format!("injected: {} is refused", request.text());
    let mut response = Response::new(whole(status(code, &message).to_string().into()));
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
