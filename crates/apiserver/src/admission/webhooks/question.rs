//! The question to a webhook: an `AdmissionReview` with a request.

use std::sync::Arc;

use mxjob_machinery::names::{Namespace, ObjectName};
use serde_json::{Value, json};

use super::Request;
use super::review::API_VERSION;
use crate::context::Context;
use crate::kind::Kind;

/// The question about a request, as a webhook for `kind` wants to see it.
pub(super) fn request(context: &Context<'_>, request: &Request<'_>, kind: &Arc<Kind>) -> Value {
    let shown = context.shown;
    let gvk =
        |kind: &Kind| json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    let resource = |kind: &Kind| json!({ "group": kind.group, "version": kind.version, "resource": kind.plural });
    let identity = context.identity;
    let mut user = json!({ "username": &*identity.name, "groups": &*identity.groups });
    if !identity.uid.is_empty() {
        user["uid"] = (*identity.uid).into();
    }
    if !identity.extra.is_empty() {
        user["extra"] = json!(*identity.extra);
    }
    let mut options =
        json!({ "kind": request.operation.options(), "apiVersion": "meta.k8s.io/v1" });
    if !request.manager.is_empty() {
        options["fieldManager"] = request.manager.into();
    }
    if request.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let object = |object: Option<&Value>| {
        let mut object = object.cloned().unwrap_or_default();
        if !Arc::ptr_eq(kind, shown) && object.is_object() {
            object["apiVersion"] = kind.api_version().into();
        }
        object
    };
    let mut about = json!({
        "uid": context.services.environment.uid(),
        "kind": gvk(kind), "resource": resource(kind),
        "requestKind": gvk(shown), "requestResource": resource(shown),
        "operation": request.operation.name(), "userInfo": user,
        "object": object(request.object), "oldObject": object(request.old),
        "dryRun": request.dry_run, "options": options,
    });
    let subresource = context.path.subresource;
    for (field, value) in [
        ("name", request.name.map(ObjectName::as_str)),
        ("namespace", request.namespace.map(Namespace::as_str)),
        ("subResource", subresource),
        ("requestSubResource", subresource),
    ] {
        if let Some(value) = value {
            about[field] = value.into();
        }
    }
    json!({ "kind": "AdmissionReview", "apiVersion": API_VERSION, "request": about })
}
