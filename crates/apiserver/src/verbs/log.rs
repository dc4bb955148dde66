//! `GET pods/{name}/log`.

use futures_util::{StreamExt, TryStreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;

use crate::answer::Answer;
use crate::document;
use crate::error::ApiError;
use crate::kinds::{list, text};
use crate::node::LogRequest;
use crate::options;
use crate::server::Context;

/// Answers with the log of one container.
pub(crate) async fn log(context: &Context<'_>) -> Result<Answer, ApiError> {
    let entry = context.entry()?;
    let pod = document::decode(&entry.value);
    let request = request(context, &pod)?;
    if text(&pod, "/spec/nodeName").is_empty() {
        let message = format!("container \"{}\" in pod \"{}\" is waiting to start: the pod is not bound to a node", request.container, request.pod);
        return Err(ApiError::bad_request(message));
    }
    let Some(node) = context.server.node.get() else {
        return Err(ApiError::unavailable("no node is connected to this API server, so there is no log to read"));
    };
    let follow = request.follow;
    let stream = node.logs(request).await.map_err(|error| match &error {
        crate::node::LogError::Read { source, .. } => ApiError::internal(format!("{error}: {source}")),
        _ => ApiError::bad_request(error.to_string()),
    })?;
    let mut closing = context.server.closing.subscribe();
    let closed = Box::pin(async move {
        if !follow {
            std::future::pending::<()>().await;
        }
        let _ = closing.wait_for(|closing| *closing).await;
    });
    let frames = stream.take_until(closed).map_ok(Frame::data).map_err(Into::into);
    Ok(Answer::Stream { body: StreamBody::new(frames).boxed_unsync(), content_type: "text/plain" })
}

fn request(context: &Context<'_>, pod: &Value) -> Result<LogRequest, ApiError> {
    let query = context.query;
    let positive = |name: &str| {
        let value = options::integer(query, name)?;
        match value.map(u64::try_from) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(ApiError::bad_request(format!("{name} must not be negative"))),
        }
    };
    let since_time = match query.get("sinceTime").filter(|time| !time.is_empty()) {
        None => None,
        Some(time) => Some(time.parse().map_err(|_| {
            ApiError::bad_request(format!("sinceTime must be a time in RFC 3339 form, got \"{time}\""))
        })?),
    };
    Ok(LogRequest {
        namespace: context.namespace().to_owned(),
        pod: context.name().to_owned(),
        uid: document::meta_str(pod, "uid").to_owned(),
        container: container(context, pod)?,
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: positive("tailLines")?,
        timestamps: query.flag("timestamps"),
        since_seconds: positive("sinceSeconds")?,
        since_time,
        limit_bytes: positive("limitBytes")?,
    })
}

/// The container asked for, or the only one there is.
fn container(context: &Context<'_>, pod: &Value) -> Result<String, ApiError> {
    let names = |group: &str| -> Vec<&str> { list(pod, group).iter().map(|item| text(item, "/name")).collect() };
    let (containers, init) = (names("/spec/containers"), names("/spec/initContainers"));
    let asked = context.query.get("container").unwrap_or_default();
    let pod_name = context.name();
    if !asked.is_empty() {
        return if containers.contains(&asked) || init.contains(&asked) {
            Ok(asked.to_owned())
        } else {
            Err(ApiError::bad_request(format!("container {asked} is not valid for pod {pod_name}")))
        };
    }
    match *containers.as_slice() {
        [only] => Ok(only.to_owned()),
        _ => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            containers.join(" ")
        ))),
    }
}
