//! Creating the objects of a file: all of them, or none is left.
//!
//! An answer may be lost after the server has done what was asked. So every object is written under a manager's name that nobody else has,
//! which the server keeps in `managedFields`; by it an object is known for ours, whatever its name.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{Method, Request};
use kube::Client;
use mxjob_api::mxjob;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::exit::{Failure, chain, root};
use crate::follow::is_passing;
use crate::manifest::Manifest;

/// How long it is looked whether an object was created whose answer was lost.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// How often it may not be there before it is taken for not created: the request may still be on its way within the server.
const LOOKS: usize = 3;
/// Between two of them.
const AGAIN: Duration = Duration::from_millis(500);

/// The objects that were created, in their order.
pub(crate) struct Creation {
    client: Client,
    /// Under which name our objects are written.
    manager: String,
    made: Vec<Made>,
}

/// An object that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// As kubectl names it, such as `configmap/settings`.
    pub(crate) shown: String,
    pub(crate) is_job: bool,
    path: String,
    uid: String,
}

/// Why an object is not known to be created.
#[derive(Debug)]
struct Unmade {
    error: kube::Error,
    /// Whether it may be there all the same.
    is_open: bool,
}

// === impl Creation ===

impl Creation {
    pub(crate) fn new(client: Client) -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self { client, manager: format!("mxjob-{random:016x}"), made: Vec::new() }
    }

    /// What was created so far. What was there before is not among it.
    pub(crate) fn made(&self) -> &[Made] {
        &self.made
    }

    /// Creates the namespaces that are not there.
    pub(crate) async fn namespaces(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        for namespace in manifest.namespaces() {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            match get(&self.client, &format!("/api/v1/namespaces/{namespace}")).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.create("/api/v1/namespaces", &object)
                        .await
                        .map_err(|unmade| unmade.failure(&object))?;
                }
                Err(error) => return Err(refused(&object, &error)),
            }
        }
        Ok(())
    }

    /// Creates everything, what the jobs need first; the jobs as the server answered them.
    pub(crate) async fn all(&mut self, manifest: &Manifest) -> Result<Vec<Value>, Failure> {
        for object in &manifest.others {
            self.other(object).await?;
        }
        let mut jobs = Vec::new();
        for object in &manifest.jobs {
            let path = collection(object);
            let job = self.create(&path, object).await.map_err(|unmade| unmade.failure(object))?;
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Creates a ConfigMap or Secret. One that is there already and says the same will do: a file with a `generateName`
    /// is submitted again and again.
    async fn other(&mut self, object: &Value) -> Result<(), Failure> {
        let path = collection(object);
        let Err(unmade) = self.create(&path, object).await else { return Ok(()) };
        if let kube::Error::Api(status) = &unmade.error
            && status.reason == "AlreadyExists"
            && let Some(name) = object["metadata"]["name"].as_str()
            && let Ok(there) = get(&self.client, &format!("{path}/{name}")).await
        {
            if says_the_same(object, &there) {
                return Ok(());
            }
            return Err(Failure::input(format!(
                "cannot create {}: it is there already, and has other data",
                named(object)
            )));
        }
        Err(unmade.failure(object))
    }

    /// Removes all that was created, the newest first; what could not be removed, and why.
    pub(crate) async fn undo(&mut self) -> Vec<String> {
        self.remove(|_| true).await
    }

    /// The same without the jobs.
    pub(crate) async fn undo_others(&mut self) -> Vec<String> {
        self.remove(|made| !made.is_job).await
    }

    async fn remove(&mut self, which: impl Fn(&Made) -> bool) -> Vec<String> {
        let mut left = Vec::new();
        for made in std::mem::take(&mut self.made).into_iter().rev().filter(which) {
            match delete(&self.client, &made).await {
                Ok(()) => {}
                // Somebody was faster, or has put another one in its place.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(kube::Error::Api(status)) => {
                    left.push(format!("{}: {}", made.shown, status.message));
                }
                Err(error) => left.push(format!("{}: {}", made.shown, root(&error))),
            }
        }
        left
    }

    async fn create(&mut self, path: &str, object: &Value) -> Result<Value, Unmade> {
        let deadline = Instant::now() + LOOK_LIMIT;
        let answer = loop {
            let unmade = match self.post_once(path, object).await {
                Ok(answer) => break answer,
                Err(unmade) => unmade,
            };
            let is_busy = matches!(&unmade.error, kube::Error::Api(status) if matches!(status.code, 429 | 503));
            if !is_busy || unmade.is_open || Instant::now() + AGAIN > deadline {
                return Err(unmade);
            }
            sleep(AGAIN).await;
        };
        let text = |field: &str| answer["metadata"][field].as_str().unwrap_or_default();
        self.made.push(Made {
            shown: shown(&answer),
            is_job: answer["kind"] == mxjob::KIND,
            path: format!("{path}/{}", text("name")),
            uid: text("uid").to_owned(),
        });
        Ok(answer)
    }

    /// Asks once, and looks what came of it where the answer does not tell.
    async fn post_once(&self, path: &str, object: &Value) -> Result<Value, Unmade> {
        match self.post(path, object).await {
            Ok(answer) => Ok(answer),
            // What was asked more than once on its way is there already the second time.
            Err(error) if is_there_already(&error) => match self.find(path, object).await {
                Ok(Some(there)) => Ok(there),
                Ok(None) | Err(_) => Err(Unmade { error, is_open: false }),
            },
            Err(error) if may_be_done(&error) => match self.look(path, object).await {
                Ok(Some(there)) => Ok(there),
                Ok(None) => Err(Unmade { error, is_open: false }),
                Err(_) => Err(Unmade { error, is_open: true }),
            },
            Err(error) => Err(Unmade { error, is_open: false }),
        }
    }

    async fn post(&self, path: &str, object: &Value) -> Result<Value, kube::Error> {
        let path = format!("{path}?fieldManager={}", self.manager);
        self.client.request(request(Method::POST, &path, object)?).await
    }

    /// Looks whether an object was created all the same; an error if that cannot be known.
    async fn look(&self, path: &str, object: &Value) -> Result<Option<Value>, kube::Error> {
        let deadline = Instant::now() + LOOK_LIMIT;
        let mut looks = 0;
        loop {
            match timeout_at(deadline, self.find(path, object)).await {
                Ok(Ok(Some(there))) => return Ok(Some(there)),
                Ok(Ok(None)) => {
                    looks += 1;
                    if looks == LOOKS {
                        return Ok(None);
                    }
                }
                Ok(Err(kube::Error::Api(status))) if !is_passing(status.code) => {
                    return Err(kube::Error::Api(status));
                }
                Ok(Err(error)) if Instant::now() + AGAIN > deadline => return Err(error),
                Ok(Err(_)) => {}
                Err(late) => return Err(kube::Error::Service(late.into())),
            }
            sleep(AGAIN).await;
        }
    }

    /// The object of ours that a file asks for, if it is there and not known yet.
    async fn find(&self, path: &str, object: &Value) -> Result<Option<Value>, kube::Error> {
        let is_it = |there: &Value| {
            let meta = &there["metadata"];
            let managers = meta["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
            managers.iter().any(|entry| entry["manager"] == *self.manager)
                && !self.made.iter().any(|made| meta["uid"] == *made.uid)
        };
        if let Some(name) = object["metadata"]["name"].as_str() {
            return match get(&self.client, &format!("{path}/{name}")).await {
                Ok(there) => Ok(Some(there).filter(is_it)),
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                Err(error) => Err(error),
            };
        }
        let mut list = get(&self.client, path).await?;
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(items.into_iter().find(is_it).map(|mut there| {
            // Items of a list need not say what they are.
            for field in ["apiVersion", "kind"] {
                there[field] = object[field].clone();
            }
            there
        }))
    }
}

// === impl Unmade ===

impl Unmade {
    /// The server's own words, and what is left to be looked at.
    fn failure(&self, object: &Value) -> Failure {
        let failure = refused(object, &self.error);
        if !self.is_open {
            return failure;
        }
        let meta = &object["metadata"];
        let kind = object["kind"].as_str().unwrap_or_default().to_ascii_lowercase();
        let mut kubectl = "kubectl".to_owned();
        if let Some(namespace) = meta["namespace"].as_str() {
            kubectl = format!("{kubectl} -n {namespace}");
        }
        let look = match meta["name"].as_str() {
            Some(name) => format!("{kubectl} get {kind} {name}"),
            None => format!("{kubectl} get {kind}s --sort-by .metadata.creationTimestamp"),
        };
        Failure::system(format!(
            "{}; it may have been created all the same: look with `{look}`",
            failure.message
        ))
    }
}

fn is_there_already(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// Whether the server may have done what was asked, though it did not say so.
fn may_be_done(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500,
        kube::Error::HttpError(_) | kube::Error::Auth(_) => false,
        _ => true,
    }
}

/// `MXJob digits`. What has no name yet is known by the beginning of it.
fn named(object: &Value) -> String {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().or_else(|| meta["generateName"].as_str()).unwrap_or_default();
    format!("{} {name}", object["kind"].as_str().unwrap_or_default())
}

/// `mxjob.kubeflow.org/digits`, as kubectl says it.
fn shown(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let group = if kind == mxjob::KIND { format!(".{}", mxjob::GROUP) } else { String::new() };
    format!("{}{group}/{name}", kind.to_ascii_lowercase())
}

/// Where objects of this kind are created.
fn collection(object: &Value) -> String {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    match object["kind"].as_str() {
        Some("Secret") => format!("/api/v1/namespaces/{namespace}/secrets"),
        Some("ConfigMap") => format!("/api/v1/namespaces/{namespace}/configmaps"),
        _ => format!("/apis/{}/namespaces/{namespace}/{}", mxjob::API_VERSION, mxjob::PLURAL),
    }
}

/// Whether a ConfigMap or Secret has the data that a file asks for.
fn says_the_same(asked: &Value, there: &Value) -> bool {
    let secret = asked["kind"] == "Secret";
    let map =
        |object: &Value, field: &str| object[field].as_object().cloned().unwrap_or_else(Map::new);
    let mut data = map(asked, "data");
    if secret {
        // The server keeps plain text as base64, over what `data` has of the same key.
        for (key, text) in map(asked, "stringData") {
            let text = text.as_str().unwrap_or_default();
            data.insert(key, json!(BASE64_STANDARD.encode(text)));
        }
    }
    let kind = |object: &Value| object["type"].as_str().unwrap_or("Opaque").to_owned();
    data == map(there, "data")
        && map(asked, "binaryData") == map(there, "binaryData")
        && (!secret || kind(asked) == kind(there))
}

fn request(method: Method, path: &str, body: &Value) -> Result<Request<Vec<u8>>, kube::Error> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)
}

async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    client.request(Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?).await
}

async fn delete(client: &Client, made: &Made) -> Result<(), kube::Error> {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": made.uid},
    });
    client.request::<Value>(request(Method::DELETE, &made.path, &options)?).await.map(drop)
}

/// The server's own words, and whose fault it is.
fn refused(object: &Value, error: &kube::Error) -> Failure {
    let what = format!("cannot create {}", named(object));
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    match error {
        kube::Error::Api(status) if is_no_namespace(status, namespace) => Failure::input(format!(
            "{what}: there is no namespace {namespace} (`kubectl create namespace {namespace}` makes it)"
        )),
        kube::Error::Api(status) if matches!(status.code, 401 | 403 | 429 | 500..) => {
            Failure::system(format!("{what}: {}", status.message))
        }
        kube::Error::Api(status) => Failure::input(format!("{what}: {}", status.message)),
        error => Failure::system(format!("{what}: {}", chain(error))),
    }
}

fn is_no_namespace(status: &kube::core::Status, namespace: &str) -> bool {
    status.code == 404 && status.message.contains(&format!("namespaces \"{namespace}\" not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_compared_as_the_server_keeps_it() {
        let check = |asked: Value, there: Value, want: bool| {
            assert_eq!(says_the_same(&asked, &there), want, "{asked} {there}");
        };
        let map = |data: Value| json!({"kind": "ConfigMap", "metadata": {}, "data": data});
        check(map(json!({"a": "b"})), map(json!({"a": "b"})), true);
        check(map(json!({"a": "b"})), map(json!({"a": "c"})), false);
        check(map(json!({"a": "b"})), map(json!({"a": "b", "c": "d"})), false);
        check(map(Value::Null), map(json!({})), true);
        let there = json!({"kind": "Secret", "type": "Opaque", "data": {"a": "Yg=="}});
        check(json!({"kind": "Secret", "stringData": {"a": "b"}}), there.clone(), true);
        check(json!({"kind": "Secret", "data": {"a": "Yg=="}}), there.clone(), true);
        check(json!({"kind": "Secret", "type": "x/y", "stringData": {"a": "b"}}), there, false);
    }

    #[test]
    fn what_is_wrong_and_whose_fault_it_is() {
        let check = |code: u16, message: &str, want: i32, said: &str| {
            let status = kube::core::Status::failure(message, "").with_code(code);
            let job =
                json!({"kind": "MXJob", "metadata": {"generateName": "a-", "namespace": "n"}});
            let failure = refused(&job, &kube::Error::Api(status.boxed()));
            assert_eq!((failure.code as i32, failure.message.as_str()), (want, said));
        };
        let (input, system) = (crate::exit::Code::Input as i32, crate::exit::Code::System as i32);
        check(422, "bad", input, "cannot create MXJob a-: bad");
        check(403, "forbidden", system, "cannot create MXJob a-: forbidden");
        check(503, "busy", system, "cannot create MXJob a-: busy");
        check(
            404,
            "namespaces \"n\" not found",
            input,
            "cannot create MXJob a-: there is no namespace n (`kubectl create namespace n` makes it)",
        );
    }
}
