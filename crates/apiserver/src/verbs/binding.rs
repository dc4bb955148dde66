//! `POST pods/{name}/binding`: a pod gets its node, once.

use http::StatusCode;
use mxjob_machinery::json::text;
use mxjob_machinery::status::Status;
use mxjob_protobuf::MEDIA_TYPE;
use mxjob_store::{Expect, Op, Transaction};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::options::WriteOptions;
use crate::request::media_type;

/// Binds a pod.
pub(crate) async fn bind(context: &mut Context<'_>) -> Result<Answer, ApiError> {
    let binding = mxjob_machinery::json::decode(&context.body).map_err(|error| {
        ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    if media_type(context.headers, "application/json") != "application/json" {
        return Err(ApiError::unsupported_media_type(&["application/json", MEDIA_TYPE]));
    }
    let options = WriteOptions::parse(context.query, context.user_agent(), "CreateOptions")?;
    let node = text(&binding, "/target/name").to_owned();
    if node.is_empty() {
        return Err(ApiError::bad_request("target.name: Required value: the name of a node"));
    }
    loop {
        let entry = context.entry()?;
        let mut pod = document::decode(&entry.value);
        let taken = text(&pod, "/spec/nodeName");
        if !taken.is_empty() {
            let why = format!("pod {} is already assigned to node \"{taken}\"", context.name());
            return Err(ApiError::conflict(context.kind, context.name(), &why));
        }
        let uid = document::uid(&binding);
        if uid.is_some() && uid != document::uid(&pod) {
            let why = format!("pod {} is another one than the binding means", context.name());
            return Err(ApiError::conflict(context.kind, context.name(), &why));
        }
        if document::is_terminating(&pod) {
            let why =
                format!("pod {} is being deleted, cannot be assigned to a host", context.name());
            return Err(ApiError::conflict(context.kind, context.name(), &why));
        }
        assign(&mut pod, &node, &mxjob_machinery::time::rfc3339(context.now));
        let put = Op::Put {
            key: entry.key.clone(),
            expect: Expect::At(entry.revision),
            value: document::encode(&pod),
        };
        if options.dry_run || context.services.commit(Transaction(vec![put])).await?.is_ok() {
            let status =
                Status { code: Some(StatusCode::CREATED.as_u16()), ..Status::success(None) };
            return Ok(Answer::Status(Box::new(status)));
        }
    }
}

fn assign(pod: &mut Value, node: &str, now: &str) {
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("nodeName".to_owned(), node.into());
    }
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    });
    if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) {
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Some(conditions) = conditions.as_array_mut() {
            conditions.retain(|condition| text(condition, "/type") != "PodScheduled");
            conditions.push(scheduled);
        }
    }
}
