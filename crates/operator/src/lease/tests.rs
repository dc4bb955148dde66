use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde_json::json;
use tokio::sync::oneshot;
use tower_service::Service;

use super::*;

/// An API server with one lease. It processes every request, but loses the answers that a test
/// chooses.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    asked: Vec<String>,
    /// The numbers of the requests whose answers are lost.
    lost: Vec<usize>,
}

impl Service<Request<Body>> for Server {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (head, body) = request.into_parts();
        // The body is in memory.
        let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
        let mut state = self.0.lock().unwrap();
        let number = state.asked.len();
        if head.method != Method::GET {
            let mut object: Value = serde_json::from_slice(&body).unwrap();
            state.version += 1;
            object["metadata"]["resourceVersion"] = json!(state.version.to_string());
            state.lease = Some(object);
        }
        let holder = state
            .lease
            .as_ref()
            .map_or("none", |lease| lease["spec"]["holderIdentity"].as_str().unwrap());
        let line = format!("{} {holder:?}", head.method);
        state.asked.push(line);
        let (code, text) = match &state.lease {
            _ if state.lost.contains(&number) => (500, "no".to_owned()),
            Some(lease) => (200, lease.to_string()),
            None => (404, "no".to_owned()),
        };
        let response = Response::builder().status(code);
        ready(Ok(response.body(Full::new(Bytes::from(text))).unwrap()))
    }
}

/// Takes part until a number of requests was sent, each an hour after the last, and returns all
/// requests.
async fn take_part(until: usize, lost: &[usize]) -> Vec<String> {
    let server = Server::default();
    server.0.lock().unwrap().lost = lost.to_vec();
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let election = Election {
        namespace: "system".to_owned(),
        name: "lease".to_owned(),
        identity: "me".to_owned(),
        timing: Timing { lease: hours(4), renew: hours(3), retry: hours(1) },
    };
    let health = Health::new(None, None, mxjob_controller::Health::default());
    let elector = Elector::new(Client::new(server.clone(), "default"), election, health);
    let (leave, left) = oneshot::channel::<()>();
    let running = tokio::spawn(elector.run(async {
        let _ = left.await;
    }));
    while server.0.lock().unwrap().asked.len() < until {
        tokio::task::yield_now().await;
    }
    drop(leave);
    running.await.unwrap();
    let state = server.0.lock().unwrap();
    state.asked.clone()
}

#[tokio::test]
async fn a_leader_that_stops_releases_the_lease() {
    assert_eq!(take_part(2, &[]).await, ["GET \"none\"", "POST \"me\"", "PUT \"\""]);
}

#[tokio::test]
async fn a_candidate_with_an_unconfirmed_write_reads_before_it_releases() {
    let want = ["GET \"none\"", "POST \"me\"", "GET \"me\"", "PUT \"\""];
    assert_eq!(take_part(2, &[1]).await, want);
}

#[tokio::test]
async fn releasing_gives_up_without_an_answer() {
    assert_eq!(take_part(2, &[1, 2]).await, ["GET \"none\"", "POST \"me\"", "GET \"me\""]);
    assert_eq!(take_part(1, &[0]).await, ["GET \"none\""], "nothing was written");
}
