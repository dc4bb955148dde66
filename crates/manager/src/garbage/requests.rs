//! Writes of the collector.

use http::Method;
use kube::Client;
use mxjob_client::request::{self, MERGE_PATCH};
use mxjob_machinery::json::list;
use mxjob_machinery::object;
use serde_json::{Value, json};

use crate::api::Settled;

/// A client that reports which writes have to be retried.
pub(super) struct Requests(pub(super) Client);

// === impl Requests ===

impl Requests {
    /// The definition of a custom resource; `None` if it does not exist.
    pub(super) async fn definition(&self, name: &str) -> kube::Result<Option<Value>> {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        request::get_opt(&self.0, &path).await
    }

    /// Removes references to owners from an object.
    pub(super) async fn drop_owners(&self, path: &str, uid: &str, gone: &[String]) -> Settled {
        self.edit(path, uid, |object| {
            let is_gone = |owner: &Value| gone.iter().any(|uid| owner["uid"] == uid.as_str());
            let owners = list(object, "/metadata/ownerReferences").iter();
            json!({"ownerReferences": owners.filter(|owner| !is_gone(owner)).collect::<Vec<_>>()})
        })
        .await
    }

    /// Keeps an object's references to owners, which need not wait for it any more.
    pub(super) async fn unblock_owners(&self, path: &str, uid: &str) -> Settled {
        self.edit(path, uid, |object| {
            let mut owners = list(object, "/metadata/ownerReferences").to_vec();
            for owner in owners.iter_mut().filter_map(Value::as_object_mut) {
                owner.insert("blockOwnerDeletion".to_owned(), false.into());
            }
            json!({ "ownerReferences": owners })
        })
        .await
    }

    /// Removes a finalizer from an object.
    pub(super) async fn drop_finalizer(&self, path: &str, uid: &str, finalizer: &str) -> Settled {
        self.edit(path, uid, |object| {
            let finalizers = list(object, "/metadata/finalizers").iter();
            json!({"finalizers": finalizers.filter(|it| *it != finalizer).collect::<Vec<_>>()})
        })
        .await
    }

    /// Changes metadata of an object as it is now; a change by another client in between is a
    /// conflict, which is retried.
    async fn edit(&self, path: &str, uid: &str, change: impl Fn(&Value) -> Value) -> Settled {
        let object = match request::get_opt(&self.0, path).await {
            Ok(Some(object)) if object::meta_str(&object, "uid") == uid => object,
            Ok(_) => return true,
            Err(error) => return is_settled(&error, &Method::GET, path),
        };
        let mut patch = change(&object);
        patch["resourceVersion"] = object::meta_str(&object, "resourceVersion").into();
        self.call(Method::PATCH, path, MERGE_PATCH, Some(&json!({"metadata": patch}))).await
    }

    /// Returns true if the call succeeded or the object does not exist; anything else is retried.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Option<&Value>,
    ) -> Settled {
        match request::send(&self.0, method.clone(), path, content_type, body).await {
            Ok(_) => true,
            Err(error) => is_settled(&error, &method, path),
        }
    }
}

/// Reports an error. Returns true if the object does not exist; a conflict is usual.
pub(super) fn is_settled(error: &kube::Error, method: &Method, path: &str) -> Settled {
    let code = request::code(error);
    if !matches!(code, Some(404 | 409)) {
        tracing::warn!(%method, path, %error, "garbage collection failed; will retry");
    }
    code == Some(404)
}
