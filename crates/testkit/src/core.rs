//! The API server itself, which carries requests out on the calling thread.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use jiff::Timestamp;
use mxjob_access::authn::Authenticator;
use mxjob_access::identity::Identity;
use mxjob_access::tokens::Tokens;
use mxjob_apiserver::client::Connector;
use mxjob_apiserver::environment::{Environment, System};
use mxjob_apiserver::health::Readiness;
use mxjob_apiserver::{ApiServer, Config, Extensions, registry};
use mxjob_store::{Expect, Op, Store, Transaction};
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower_service::Service as _;

use crate::environment::Simulated;
use crate::history::History;
use crate::resource::{RESOURCES, Resource};

/// The name of the tests as a client.
const USER_AGENT: &str = "testkit";
/// The namespace of objects without one.
pub(crate) const NAMESPACE: &str = "default";
/// Tests need no durability, so their stores are in memory where the machine allows that.
const MEMORY_FOLDER: &str = "/dev/shm";

/// An error of a connection or of the server behind it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The server itself.
pub(crate) struct Core {
    pub(crate) api: ApiServer,
    clock: Option<Arc<Simulated>>,
    environment: Arc<dyn Environment>,
    pub(crate) admin: Identity,
    pub(crate) history: History,
    mirrors: Mutex<Vec<Mirror>>,
    /// The number of writes so far; notifies open watches.
    writes: watch::Sender<u64>,
    _folder: TempDir,
}

/// A watch that feeds the history.
struct Mirror {
    resource: Resource,
    body: mxjob_apiserver::Body,
}

/// The runtime of the tasks and timers that the server starts.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
});

// === impl Core ===

impl Core {
    pub(crate) fn new(built_in_mxjobs: bool, clock: Option<fn() -> Timestamp>) -> Self {
        let folder = temporary_folder();
        let options = mxjob_store::Options::default();
        let store = Store::open(folder.path(), options).unwrap();
        let clock = clock.map(|clock| Arc::new(Simulated::new(clock)));
        let environment: Arc<dyn Environment> = match &clock {
            Some(clock) => Arc::clone(clock) as _,
            None => Arc::new(System),
        };
        let config = Config {
            store,
            environment: Arc::clone(&environment),
            authenticator: Authenticator::new(Tokens::default()),
            readiness: Readiness::new(),
        };
        let extensions = Extensions { built_in_mxjobs, ..Extensions::default() };
        let api = ApiServer::with(config, extensions);
        block_on(api.bootstrap()).unwrap();
        Self {
            api,
            clock,
            environment,
            admin: Identity::admin(),
            history: History::default(),
            mirrors: Mutex::default(),
            writes: watch::channel(0).0,
            _folder: folder,
        }
    }

    /// The key of an object in the store.
    fn key(&self, resource: &Resource, name: &str) -> String {
        let (group, version) =
            resource.api_version.split_once('/').unwrap_or(("", resource.api_version));
        let kind = registry::find(group, version, resource.plural).unwrap();
        let namespace =
            if resource.is_namespaced { format!("{NAMESPACE}/") } else { String::new() };
        format!("{}{namespace}{name}", kind.prefix())
    }

    /// Stores an object around all checks of the API.
    pub(crate) fn store(&self, resource: &Resource, mut object: Value) {
        const REVISION: &str = "the revision of the object";
        object["apiVersion"] = resource.api_version.into();
        object["kind"] = resource.kind.into();
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = REVISION.into();
        if !metadata["uid"].is_string() {
            metadata["uid"] = self.environment.uid().into();
        }
        if resource.is_namespaced {
            metadata["namespace"] = NAMESPACE.into();
        }
        let key = self.key(resource, metadata["name"].as_str().unwrap());
        let text = object.to_string();
        let (before, after) = text.split_once(REVISION).unwrap();
        let value = mxjob_store::Value::stamped(before.to_owned(), after.to_owned());
        let put = Op::Put { key: key.as_str().into(), expect: Expect::Any, value };
        self.api.store().commit(Transaction(vec![put])).wait().unwrap();
        self.update_history();
    }

    /// Forgets all objects that tests create, and their history.
    pub(crate) fn reset(self: &Arc<Self>) {
        let mirrors = self.mirrors.lock();
        let resources: Vec<Resource> = mirrors.iter().map(|mirror| mirror.resource).collect();
        drop(mirrors);
        for resource in resources {
            if self.history.of_resource(resource.plural).is_empty() || !resource.is_namespaced {
                continue;
            }
            let request = http::Request::delete(resource.path(NAMESPACE))
                .body(Bytes::from(r#"{"gracePeriodSeconds":0}"#))
                .unwrap();
            let response = self.respond(&self.admin, request);
            assert!(response.status().is_success(), "cannot delete all {}", resource.plural);
        }
        self.history.clear();
        if let Some(clock) = &self.clock {
            clock.reset();
        }
    }

    fn connector(&self, identity: &Identity) -> Connector {
        self.api.connector(identity.clone(), USER_AGENT)
    }

    /// Starts to record the resources that are served and not recorded yet.
    pub(crate) fn mirror_all(&self) {
        let mut mirrors = self.mirrors.lock();
        for resource in RESOURCES {
            if mirrors.iter().any(|mirror| mirror.resource == resource) {
                continue;
            }
            let path = format!("{}?watch=true", resource.path(""));
            let request = http::Request::get(path).body(Full::new(Bytes::new())).unwrap();
            let response = match block_on(self.connector(&self.admin).call(request)) {
                Ok(response) => response,
                Err(never) => match never {},
            };
            if response.status().is_success() {
                mirrors.push(Mirror { resource, body: response.into_body() });
            }
        }
        drop(mirrors);
        self.update_history();
    }

    /// Records what the server has changed, and notifies watches.
    fn update_history(&self) {
        let mut mirrors = self.mirrors.lock();
        let mut events = Vec::new();
        for mirror in mirrors.iter_mut() {
            while let Poll::Ready(Some(data)) = poll_data(&mut mirror.body) {
                let mut event: Value = serde_json::from_slice(&data).unwrap();
                assert_ne!(event["type"], "ERROR", "{event}");
                let object = event["object"].take();
                let revision = object["metadata"]["resourceVersion"].as_str().unwrap();
                let revision: u64 = revision.parse().unwrap();
                events.push((revision, mirror.resource.plural, event["type"] == "DELETED", object));
            }
        }
        events.sort_by_key(|(revision, ..)| *revision);
        for (_, resource, is_removed, object) in events {
            self.history.record(resource, is_removed, object);
        }
        drop(mirrors);
        self.writes.send_modify(|count| *count += 1);
    }

    /// Carries a request out.
    pub(crate) fn respond(
        self: &Arc<Self>,
        identity: &Identity,
        request: http::Request<Bytes>,
    ) -> Response<Body> {
        if let Some(clock) = &self.clock {
            clock.update();
        }
        let is_read = request.method() == Method::GET;
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
        let response =
            match block_on(self.connector(identity).call(request.map(Full::<Bytes>::new))) {
                Ok(response) => response,
                Err(never) => match never {},
            };
        if !is_read {
            self.update_history();
        }
        if is_watch { response.map(|body| self.watch_body(body)) } else { response }
    }

    /// The events of a watch, which is polled after each write.
    fn watch_body(self: &Arc<Self>, body: mxjob_apiserver::Body) -> Body {
        let watch = (self.writes.subscribe(), body, Arc::clone(self));
        let frames = stream::unfold(watch, async |(mut writes, mut body, core)| {
            loop {
                writes.borrow_and_update();
                match poll_data(&mut body) {
                    Poll::Ready(data) => {
                        return data.map(|data| (Ok(Frame::data(data)), (writes, body, core)));
                    }
                    Poll::Pending => writes.changed().await.unwrap(),
                }
            }
        });
        StreamBody::new(frames.boxed()).boxed_unsync()
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("api", &self.api).finish_non_exhaustive()
    }
}

fn temporary_folder() -> TempDir {
    if Path::new(MEMORY_FOLDER).is_dir()
        && let Ok(folder) = tempfile::tempdir_in(MEMORY_FOLDER)
    {
        return folder;
    }
    tempfile::tempdir().unwrap()
}

/// The next part of a body, if it is known.
fn poll_data(body: &mut mxjob_apiserver::Body) -> Poll<Option<Bytes>> {
    let _runtime = RUNTIME.enter();
    let mut context = Context::from_waker(Waker::noop());
    let frame = pin!(tokio::task::coop::unconstrained(body.frame())).as_mut().poll(&mut context);
    frame.map(|frame| Some(frame?.unwrap().into_data().unwrap_or_default()))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread for the server, also within a task of a test.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let _runtime = RUNTIME.enter();
    let mut future = pin!(tokio::task::coop::unconstrained(future));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
