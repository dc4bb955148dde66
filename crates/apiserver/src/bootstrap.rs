//! Objects that every server has from its first start on: namespaces, default roles, the system's
//! priority classes and the definition of MXJobs.

use http::{Method, StatusCode};
use mxjob_access::identity::{Identity, SYSTEM_MASTERS};
use mxjob_machinery::time::rfc3339;
use mxjob_store::{Expect, Op, Transaction};
use serde_json::{Value, json};

use crate::document;
use crate::kinds::priority;
use crate::registry;
use crate::server::ApiServer;

/// Namespaces that every server has.
const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Why the first objects could not be created.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namespace could not be created.
    #[error("could not create namespace {name}: {message}")]
    Namespace {
        /// Its name.
        name: &'static str,
        /// Message of the API.
        message: String,
    },
    /// The default roles and bindings could not be stored.
    #[error("could not store the default roles: {message}")]
    Roles {
        /// Message of the API.
        message: String,
    },
    /// A priority class of the system could not be created.
    #[error("could not create priority class {name}: {message}")]
    PriorityClass {
        /// Its name.
        name: &'static str,
        /// Message of the API.
        message: String,
    },
    /// The definition of MXJobs could not be stored.
    #[error("could not store the definition of MXJobs: {message}")]
    Definition {
        /// Message of the API.
        message: String,
    },
}

impl ApiServer {
    /// Creates missing objects.
    ///
    /// # Errors
    /// Where a write fails, except because the object already exists.
    pub async fn bootstrap(&self) -> Result<(), Error> {
        let api = self.connector(
            Identity::new("system:apiserver", "", [SYSTEM_MASTERS.to_owned()]),
            "mxjob-apiserver",
        );
        for name in NAMESPACES {
            let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let (status, answer) =
                api.send(Method::POST, "/api/v1/namespaces", "application/json", Some(&body)).await;
            if !status.is_success() && status != StatusCode::CONFLICT {
                let message = answer["message"].as_str().unwrap_or_default().to_owned();
                return Err(Error::Namespace { name, message });
            }
        }
        self.store_default_roles().await.map_err(|error| Error::Roles {
            message: error.status().message.clone().unwrap_or_default(),
        })?;
        for (name, value, description) in priority::SYSTEM {
            let body = json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name}, "value": value, "description": description,
            });
            let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
            let (status, answer) =
                api.send(Method::POST, path, "application/json", Some(&body)).await;
            if !status.is_success() && status != StatusCode::CONFLICT {
                let message = answer["message"].as_str().unwrap_or_default().to_owned();
                return Err(Error::PriorityClass { name, message });
            }
        }
        if self.registry().has_mxjobs() { self.store_definition().await } else { Ok(()) }
    }

    /// The definition is read-only for clients, so it is stored directly. It is rewritten if a new
    /// version of the program has another one.
    async fn store_definition(&self) -> Result<(), Error> {
        let Some(kind) = registry::find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        else {
            return Ok(());
        };
        let mut definition = mxjob_api::crd::crd();
        let Some(key) = document::name(&definition).map(|name| kind.key(None, name)) else {
            return Ok(());
        };
        loop {
            let stored = self.0.services.store.get(&key);
            // One that is being deleted, from a time when jobs were a custom resource, is replaced;
            // its jobs become built in.
            let old = stored.as_ref().map(|entry| document::decode(&entry.value));
            let old = old.filter(|old| !document::is_terminating(old));
            if old.as_ref().is_some_and(|old| old.get("spec") == definition.get("spec")) {
                return Ok(());
            }
            self.stamp(&mut definition, old.as_ref());
            let expect = stored.map_or(Expect::Absent, |entry| Expect::At(entry.revision));
            let value = document::encode(&definition);
            let put = Op::Put { key: key.as_str().into(), expect, value };
            match self.0.services.commit(Transaction(vec![put])).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(_)) => {} // changed meanwhile: try again
                Err(error) => {
                    let message = error.status().message.clone().unwrap_or_default();
                    return Err(Error::Definition { message });
                }
            }
        }
    }

    /// Sets the fields of a definition that the server decides.
    fn stamp(&self, definition: &mut Value, old: Option<&Value>) {
        let environment = &self.0.services.environment;
        let now = rfc3339(environment.now());
        let kept = |field: &str| old.and_then(|old| document::metadata(old)?.get(field).cloned());
        let generation = kept("generation").and_then(|value| value.as_i64()).unwrap_or(0) + 1;
        let (uid, created) = (kept("uid"), kept("creationTimestamp"));
        let meta = document::metadata_mut(definition);
        meta.insert("uid".to_owned(), uid.unwrap_or_else(|| environment.uid().into()));
        meta.insert("creationTimestamp".to_owned(), created.unwrap_or_else(|| now.clone().into()));
        meta.insert("generation".to_owned(), generation.into());
        definition["status"] = status(definition, &now);
    }
}

fn status(definition: &Value, now: &str) -> Value {
    let condition = |kind: &str, reason: &str, message: &str| json!({"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now});
    json!({
        "acceptedNames": definition["spec"]["names"],
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": ["v1"],
    })
}
