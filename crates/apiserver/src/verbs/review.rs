//! Creates of reviews: identity and rights. The answer is the object with its status.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mxjob_access::authn::Authenticator;
use mxjob_access::authz::policy;
use mxjob_access::authz::rules::Rule;
use mxjob_access::authz::{Attributes, Authorizer, Verb};
use mxjob_access::identity::{Identity, SYSTEM_MASTERS};
use mxjob_access::tokens::service_account::ISSUER;
use mxjob_machinery::field::{self, Path};
use mxjob_machinery::json::text;
use mxjob_machinery::names::{Namespace, ObjectName};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::kind::Review;
use crate::options::WriteOptions;
use crate::verbs::body;

/// Answers a review.
pub(crate) fn create(
    context: &mut Context<'_>,
    review: Review,
    authenticator: &Authenticator,
) -> Result<Answer, ApiError> {
    let options = WriteOptions::parse(context.query, context.user_agent(), "CreateOptions")?;
    let mut object = body::object(context, options.field_validation)?;
    if !object["spec"].is_object() {
        object["spec"] = json!({});
    }
    let status = match review {
        Review::SelfSubject => json!({ "userInfo": user_info(context.identity) }),
        Review::Token => token_review(authenticator, &object["spec"])?,
        Review::SelfSubjectRules => rules_review(context, &object["spec"])?,
        Review::SelfSubjectAccess | Review::LocalSubjectAccess | Review::SubjectAccess => {
            access_review(context, review, &object)?
        }
    };
    object["status"] = status;
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    if review == Review::SelfSubject {
        let now = mxjob_machinery::time::rfc3339(context.now);
        document::metadata_mut(&mut object).insert("creationTimestamp".to_owned(), now.into());
        object.as_object_mut().map(|object| object.remove("spec"));
    }
    let json = Bytes::from(document::to_vec(&object));
    Ok(Answer::Object { kind: Arc::clone(context.kind), json, code: StatusCode::CREATED })
}

/// `SubjectAccessReview` and its two narrower forms.
fn access_review(context: &Context<'_>, review: Review, object: &Value) -> Result<Value, ApiError> {
    let spec = &object["spec"];
    let own = review == Review::SelfSubjectAccess;
    let local = review == Review::LocalSubjectAccess;
    if local {
        body::check_namespace(context, object)?;
    }
    let identity = if own { context.identity.clone() } else { subject(spec) };
    let errors = validate(context, spec, own, local);
    if !errors.is_empty() {
        return Err(ApiError::invalid(context.kind, document::meta_str(object, "name"), &errors));
    }
    let of = |part: &str, field: &str| text(spec, &format!("/{part}/{field}")).to_owned();
    let resource = |field: &str| of("resourceAttributes", field);
    let [verb, group, version, resource, subresource, namespace, name] =
        ["verb", "group", "version", "resource", "subresource", "namespace", "name"].map(resource);
    let path = of("nonResourceAttributes", "path");
    let attributes = if is_set(spec, "nonResourceAttributes") {
        let verb = of("nonResourceAttributes", "verb");
        return Ok(decide(
            &context.services.authorizer,
            &Attributes { path: &path, ..Attributes::new(&identity, Verb::parse(&verb)) },
        ));
    } else {
        Attributes {
            group: &group,
            version: &version,
            resource: &resource,
            subresource: Some(&*subresource).filter(|name| !name.is_empty()),
            namespace: Namespace::new(&namespace),
            name: ObjectName::new(&name),
            ..Attributes::new(&identity, Verb::parse(&verb))
        }
    };
    Ok(decide(&context.services.authorizer, &attributes))
}

fn decide(authorizer: &Authorizer, attributes: &Attributes<'_>) -> Value {
    let decision = authorizer.authorize(attributes);
    let mut status = json!({ "allowed": decision.is_allowed() });
    let reason = decision.reason();
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

/// Upstream's `pkg/apis/authorization/validation`.
fn validate(context: &Context<'_>, spec: &Value, own: bool, local: bool) -> field::Errors {
    let mut errors = field::Errors::default();
    let path = Path::new("spec");
    let (resource, other) = (path.child("resourceAttributes"), path.child("nonResourceAttributes"));
    match (is_set(spec, "resourceAttributes"), is_set(spec, "nonResourceAttributes")) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.push(field::Error::invalid(&other, &spec["nonResourceAttributes"], detail));
        }
        (false, false) => {
            let detail =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(field::Error::invalid(&resource, &Value::Null, detail));
        }
        _ => {}
    }
    let has_groups = spec["groups"].as_array().is_some_and(|groups| !groups.is_empty());
    if !own && text(spec, "/user").is_empty() && !has_groups {
        errors.push(field::Error::invalid(
            &path.child("user"),
            "",
            "at least one of user or group must be specified",
        ));
    }
    if local {
        let namespace = text(spec, "/resourceAttributes/namespace");
        if is_set(spec, "resourceAttributes") && Namespace::new(namespace) != context.path.namespace
        {
            let detail = "must match metadata.namespace";
            errors.push(field::Error::invalid(&resource.child("namespace"), namespace, detail));
        }
        if is_set(spec, "nonResourceAttributes") {
            let detail = "disallowed on this kind of request";
            errors.push(field::Error::invalid(&other, &spec["nonResourceAttributes"], detail));
        }
    }
    errors
}

fn is_set(spec: &Value, field: &str) -> bool {
    spec.get(field).is_some_and(|value| !value.is_null())
}

/// Whom a review asks about: exactly the groups that it names.
fn subject(spec: &Value) -> Identity {
    let extra = spec["extra"].as_object().into_iter().flatten();
    let extra: BTreeMap<String, Vec<String>> =
        extra.map(|(key, values)| (key.to_ascii_lowercase(), strings(Some(values)))).collect();
    Identity {
        name: text(spec, "/user").into(),
        uid: text(spec, "/uid").into(),
        groups: strings(spec.get("groups")).into(),
        extra: extra.into(),
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn rules_review(context: &Context<'_>, spec: &Value) -> Result<Value, ApiError> {
    let namespace = Namespace::new(text(spec, "/namespace"));
    if namespace.is_none() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let mut held = context.services.authorizer.policy().rules_of(context.identity, namespace);
    if context.identity.is_member(SYSTEM_MASTERS) && held.rules.is_empty() {
        // The group has all rights even if its binding was deleted.
        held.rules = vec![Rule::on(&["*"], &["*"], &["*"]), Rule::on_paths(&["*"], &["*"])];
    }
    let shown = |on_paths: bool| -> Vec<Value> {
        let rules = held.rules.iter().filter(|rule| rule.urls.is_empty() != on_paths);
        rules.map(Rule::to_json).collect()
    };
    let mut status = json!({
        "incomplete": !held.missing.is_empty(),
        "nonResourceRules": shown(true),
        "resourceRules": shown(false),
    });
    if !held.missing.is_empty() {
        let reason = policy::missing_reason(&held.missing);
        status["evaluationError"] = reason.trim_start_matches("RBAC: ").into();
    }
    Ok(status)
}

fn token_review(authenticator: &Authenticator, spec: &Value) -> Result<Value, ApiError> {
    let token = text(spec, "/token");
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let mut audiences = strings(spec.get("audiences"));
    let asked = !audiences.is_empty();
    if !asked {
        audiences.push(ISSUER.to_owned());
    }
    Ok(match authenticator.find(token, &audiences) {
        Ok((identity, met)) => {
            let mut status = json!({ "authenticated": true, "user": user_info(&identity) });
            if asked {
                status["audiences"] = json!(met);
            } else {
                status["audiences"] = json!([ISSUER]);
            }
            status
        }
        Err(error) => json!({ "error": error.to_string(), "user": {} }),
    })
}

fn user_info(identity: &Identity) -> Value {
    let mut info = json!({ "groups": *identity.groups, "username": *identity.name });
    if !identity.uid.is_empty() {
        info["uid"] = (*identity.uid).into();
    }
    if !identity.extra.is_empty() {
        info["extra"] = json!(*identity.extra);
    }
    info
}
