//! Creates the objects of a file: either all of them, or none remains.
//!
//! The answer to a creation may be lost after the server has created the object. So every object is
//! written with a unique field manager, which the server stores in `managedFields`: it identifies
//! our objects, whatever their names.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::Method;
use kube::Client;
use mxjob_api::mxjob;
use mxjob_client::request::{self, JSON};
use mxjob_machinery::error::chain;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::describe;
use crate::exit::Failure;
use crate::follow::is_transient;
use crate::manifest::Manifest;

/// How long an object is looked up after the answer to its creation was lost.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Lookups without the object before it counts as not created: the server may still be processing
/// the request.
const MAX_LOOKUPS: usize = 3;
/// Delay between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// The objects that were created, in order.
pub(crate) struct Creation {
    client: Client,
    /// The field manager of our objects.
    manager: String,
    created: Vec<Created>,
}

/// An object that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Created {
    /// As kubectl names it: `configmap/settings`.
    pub(crate) shown: String,
    pub(crate) is_job: bool,
    path: String,
    uid: String,
}

/// Why an object is not known to exist.
#[derive(Debug)]
struct NotCreated {
    error: kube::Error,
    /// Whether it may exist nevertheless.
    may_exist: bool,
}

// === impl Creation ===

impl Creation {
    pub(crate) fn new(client: Client) -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self { client, manager: format!("mxjob-{random:016x}"), created: Vec::new() }
    }

    /// The objects created so far, without those that existed before.
    pub(crate) fn created(&self) -> &[Created] {
        &self.created
    }

    /// Creates missing namespaces.
    pub(crate) async fn namespaces(&mut self, manifest: &Manifest) -> Result<(), Failure> {
        for namespace in manifest.namespaces() {
            let object =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            match request::get(&self.client, &format!("/api/v1/namespaces/{namespace}")).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    self.create("/api/v1/namespaces", &object)
                        .await
                        .map_err(|not_created| not_created.failure(&object))?;
                }
                Err(error) => return Err(rejected(&object, &error)),
            }
        }
        Ok(())
    }

    /// Creates all objects, jobs last. Returns the jobs as the server returned them.
    pub(crate) async fn all(&mut self, manifest: &Manifest) -> Result<Vec<Value>, Failure> {
        for object in &manifest.others {
            self.other(object).await?;
        }
        let mut jobs = Vec::new();
        for object in &manifest.jobs {
            let path = collection(object);
            let job = self
                .create(&path, object)
                .await
                .map_err(|not_created| not_created.failure(object))?;
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Creates a ConfigMap or Secret. An existing one with the same data is used as it is, so that
    /// a file with a `generateName` can be submitted repeatedly.
    async fn other(&mut self, object: &Value) -> Result<(), Failure> {
        let path = collection(object);
        let Err(not_created) = self.create(&path, object).await else { return Ok(()) };
        if let kube::Error::Api(status) = &not_created.error
            && status.reason == "AlreadyExists"
            && let Some(name) = object["metadata"]["name"].as_str()
            && let Ok(existing) = request::get(&self.client, &format!("{path}/{name}")).await
        {
            if has_same_data(object, &existing) {
                return Ok(());
            }
            return Err(Failure::input(format!(
                "cannot create {}: it already exists with different data",
                named(object)
            )));
        }
        Err(not_created.failure(object))
    }

    /// Deletes all objects that were created, newest first. Returns those that could not be
    /// deleted, with the reasons.
    pub(crate) async fn undo(&mut self) -> Vec<String> {
        self.remove(|_| true).await
    }

    /// The same for all objects but the jobs.
    pub(crate) async fn undo_others(&mut self) -> Vec<String> {
        self.remove(|created| !created.is_job).await
    }

    async fn remove(&mut self, which: impl Fn(&Created) -> bool) -> Vec<String> {
        let mut left = Vec::new();
        for created in std::mem::take(&mut self.created).into_iter().rev().filter(which) {
            match delete(&self.client, &created).await {
                Ok(()) => {}
                // It is already deleted, or another object has its name now.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
                Err(error) => left.push(format!("{}: {}", created.shown, describe(&error))),
            }
        }
        left
    }

    async fn create(&mut self, path: &str, object: &Value) -> Result<Value, NotCreated> {
        let deadline = Instant::now() + LOOKUP_TIMEOUT;
        let answer = loop {
            let not_created = match self.post_once(path, object).await {
                Ok(answer) => break answer,
                Err(not_created) => not_created,
            };
            let is_busy = matches!(&not_created.error, kube::Error::Api(status) if matches!(status.code, 429 | 503));
            if !is_busy || not_created.may_exist || Instant::now() + RETRY_DELAY > deadline {
                return Err(not_created);
            }
            sleep(RETRY_DELAY).await;
        };
        let text = |field: &str| answer["metadata"][field].as_str().unwrap_or_default();
        self.created.push(Created {
            shown: shown(&answer),
            is_job: answer["kind"] == mxjob::KIND,
            path: format!("{path}/{}", text("name")),
            uid: text("uid").to_owned(),
        });
        Ok(answer)
    }

    /// Sends one request, and looks the object up if the answer leaves open whether it was created.
    async fn post_once(&self, path: &str, object: &Value) -> Result<Value, NotCreated> {
        match self.post(path, object).await {
            Ok(answer) => Ok(answer),
            // A proxy may have sent the request twice; then the second one finds our object.
            Err(error) if is_already_exists(&error) => match self.find(path, object).await {
                Ok(Some(found)) => Ok(found),
                Ok(None) | Err(_) => Err(NotCreated { error, may_exist: false }),
            },
            Err(error) if may_have_succeeded(&error) => match self.look_up(path, object).await {
                Ok(Some(found)) => Ok(found),
                Ok(None) => Err(NotCreated { error, may_exist: false }),
                Err(_) => Err(NotCreated { error, may_exist: true }),
            },
            Err(error) => Err(NotCreated { error, may_exist: false }),
        }
    }

    async fn post(&self, path: &str, object: &Value) -> Result<Value, kube::Error> {
        let path = format!("{path}?fieldManager={}", self.manager);
        request::send(&self.client, Method::POST, &path, JSON, Some(object)).await
    }

    /// Looks an object up after the answer to its creation was lost. An error leaves open whether
    /// it exists.
    async fn look_up(&self, path: &str, object: &Value) -> Result<Option<Value>, kube::Error> {
        let deadline = Instant::now() + LOOKUP_TIMEOUT;
        let mut lookups = 0;
        loop {
            match timeout_at(deadline, self.find(path, object)).await {
                Ok(Ok(Some(found))) => return Ok(Some(found)),
                Ok(Ok(None)) => {
                    lookups += 1;
                    if lookups == MAX_LOOKUPS {
                        return Ok(None);
                    }
                }
                Ok(Err(kube::Error::Api(status))) if !is_transient(status.code) => {
                    return Err(kube::Error::Api(status));
                }
                Ok(Err(error)) if Instant::now() + RETRY_DELAY > deadline => return Err(error),
                Ok(Err(_)) => {}
                Err(late) => return Err(kube::Error::Service(late.into())),
            }
            sleep(RETRY_DELAY).await;
        }
    }

    /// The object that we created for an object of the file, unless it is already in the list.
    async fn find(&self, path: &str, object: &Value) -> Result<Option<Value>, kube::Error> {
        let is_ours = |found: &Value| {
            let meta = &found["metadata"];
            let managers = meta["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
            managers.iter().any(|entry| entry["manager"] == *self.manager)
                && !self.created.iter().any(|created| meta["uid"] == *created.uid)
        };
        if let Some(name) = object["metadata"]["name"].as_str() {
            let found = request::get_opt(&self.client, &format!("{path}/{name}")).await;
            return found.map(|found| found.filter(is_ours));
        }
        let mut list = request::get(&self.client, path).await?;
        let items = list["items"].as_array_mut().map(std::mem::take).unwrap_or_default();
        Ok(items.into_iter().find(is_ours).map(|mut found| {
            // Items of a list may lack `apiVersion` and `kind`.
            for field in ["apiVersion", "kind"] {
                found[field] = object[field].clone();
            }
            found
        }))
    }
}

// === impl NotCreated ===

impl NotCreated {
    /// The server's message, and how to find out whether the object exists.
    fn failure(&self, object: &Value) -> Failure {
        let failure = rejected(object, &self.error);
        if !self.may_exist {
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
            "{}; it may have been created nevertheless: check with `{look}`",
            failure.message
        ))
    }
}

fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// Whether the server may have created the object although the request failed.
fn may_have_succeeded(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code >= 500,
        kube::Error::HttpError(_) | kube::Error::Auth(_) => false,
        _ => true,
    }
}

/// `MXJob digits`, with the `generateName` of an object without a name.
fn named(object: &Value) -> String {
    let meta = &object["metadata"];
    let name = meta["name"].as_str().or_else(|| meta["generateName"].as_str()).unwrap_or_default();
    format!("{} {name}", object["kind"].as_str().unwrap_or_default())
}

/// `mxjob.kubeflow.org/digits`, as kubectl names it.
fn shown(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let kind = object["kind"].as_str().unwrap_or_default();
    let group = if kind == mxjob::KIND { format!(".{}", mxjob::GROUP) } else { String::new() };
    format!("{}{group}/{name}", kind.to_ascii_lowercase())
}

/// The path of the collection of an object.
fn collection(object: &Value) -> String {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    match object["kind"].as_str() {
        Some("Secret") => format!("/api/v1/namespaces/{namespace}/secrets"),
        Some("ConfigMap") => format!("/api/v1/namespaces/{namespace}/configmaps"),
        _ => format!("/apis/{}/namespaces/{namespace}/{}", mxjob::API_VERSION, mxjob::PLURAL),
    }
}

/// Whether an existing ConfigMap or Secret has the data of the file's one.
fn has_same_data(expected: &Value, existing: &Value) -> bool {
    let secret = expected["kind"] == "Secret";
    let map =
        |object: &Value, field: &str| object[field].as_object().cloned().unwrap_or_else(Map::new);
    let mut data = map(expected, "data");
    if secret {
        // The server stores plain text as base64; it overrides the same key of `data`.
        for (key, text) in map(expected, "stringData") {
            let text = text.as_str().unwrap_or_default();
            data.insert(key, json!(BASE64_STANDARD.encode(text)));
        }
    }
    let kind = |object: &Value| object["type"].as_str().unwrap_or("Opaque").to_owned();
    data == map(existing, "data")
        && map(expected, "binaryData") == map(existing, "binaryData")
        && (!secret || kind(expected) == kind(existing))
}

async fn delete(client: &Client, created: &Created) -> Result<(), kube::Error> {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": created.uid},
    });
    request::send(client, Method::DELETE, &created.path, JSON, Some(&options)).await.map(drop)
}

/// The server's message, and whether the input or the system is the cause.
fn rejected(object: &Value, error: &kube::Error) -> Failure {
    let action = format!("cannot create {}", named(object));
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    match error {
        kube::Error::Api(status) if is_missing_namespace(status, namespace) => {
            Failure::input(format!(
                "{action}: namespace {namespace} does not exist; create it with `kubectl create namespace {namespace}`"
            ))
        }
        kube::Error::Api(status) if matches!(status.code, 401 | 403 | 429 | 500..) => {
            Failure::system(format!("{action}: {}", status.message))
        }
        kube::Error::Api(status) => Failure::input(format!("{action}: {}", status.message)),
        error => Failure::system(format!("{action}: {}", chain(error))),
    }
}

fn is_missing_namespace(status: &kube::core::Status, namespace: &str) -> bool {
    status.code == 404 && status.message.contains(&format!("namespaces \"{namespace}\" not found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_compared_as_the_server_stores_it() {
        let check = |expected: Value, existing: Value, same: bool| {
            assert_eq!(has_same_data(&expected, &existing), same, "{expected} {existing}");
        };
        let map = |data: Value| json!({"kind": "ConfigMap", "metadata": {}, "data": data});
        check(map(json!({"a": "b"})), map(json!({"a": "b"})), true);
        check(map(json!({"a": "b"})), map(json!({"a": "c"})), false);
        check(map(json!({"a": "b"})), map(json!({"a": "b", "c": "d"})), false);
        check(map(Value::Null), map(json!({})), true);
        let existing = json!({"kind": "Secret", "type": "Opaque", "data": {"a": "Yg=="}});
        check(json!({"kind": "Secret", "stringData": {"a": "b"}}), existing.clone(), true);
        check(json!({"kind": "Secret", "data": {"a": "Yg=="}}), existing.clone(), true);
        check(json!({"kind": "Secret", "type": "x/y", "stringData": {"a": "b"}}), existing, false);
    }

    #[test]
    fn rejection_is_input_or_system() {
        let check = |code: u16, message: &str, exit: i32, text: &str| {
            let status = kube::core::Status::failure(message, "").with_code(code);
            let job =
                json!({"kind": "MXJob", "metadata": {"generateName": "a-", "namespace": "n"}});
            let failure = rejected(&job, &kube::Error::Api(status.boxed()));
            assert_eq!((failure.code as i32, failure.message.as_str()), (exit, text));
        };
        let (input, system) = (crate::exit::Code::Input as i32, crate::exit::Code::System as i32);
        check(422, "bad", input, "cannot create MXJob a-: bad");
        check(403, "forbidden", system, "cannot create MXJob a-: forbidden");
        check(503, "busy", system, "cannot create MXJob a-: busy");
        check(
            404,
            "namespaces \"n\" not found",
            input,
            "cannot create MXJob a-: namespace n does not exist; create it with `kubectl create namespace n`",
        );
    }
}
