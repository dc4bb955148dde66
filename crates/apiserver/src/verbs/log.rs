//! `GET pods/{name}/log`. This module selects the log and its part; the node reads it.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mxjob_machinery::field;
use mxjob_machinery::json::{list, text};
use serde_json::Value;

use crate::answer::Answer;
use crate::context::Context;
use crate::document;
use crate::error::ApiError;
use crate::node::{LogRequest, NodeConnector};
use crate::options;
use crate::server::Closing;

/// Responds with the log of one container.
pub(crate) async fn log(
    context: &Context<'_>,
    node: Option<&Arc<dyn NodeConnector>>,
    mut closing: Closing,
) -> Result<Answer, ApiError> {
    let options = options(context)?;
    let entry = context.entry()?;
    let pod = document::decode(&entry.value);
    let container = container(context, &pod)?;
    let request =
        LogRequest { uid: document::meta_str(&pod, "uid").to_owned(), container, ..options };
    if text(&pod, "/spec/nodeName").is_empty() {
        return Ok(Answer::Nothing); // upstream's answer for a pod that is nowhere yet
    }
    let Some(node) = node else {
        return Err(ApiError::unavailable(
            "no node is connected to this API server, so there is no log to read",
        ));
    };
    let follow = request.follow;
    let stream = node.logs(request).await.map_err(|error| match &error {
        crate::node::LogError::Read { source, .. } => {
            ApiError::internal(format!("{error}: {source}"))
        }
        _ => ApiError::bad_request(error.to_string()),
    })?;
    let closed = Box::pin(async move {
        if !follow {
            std::future::pending::<()>().await;
        }
        let _ = closing.wait_for(|closing| *closing).await;
    });
    let frames = stream.take_until(closed).map_ok(Frame::data).map_err(Into::into);
    Ok(Answer::Stream { body: StreamBody::new(frames).boxed_unsync(), content_type: "text/plain" })
}

/// Parses the options and validates them as upstream's `ValidatePodLogOptions` does.
fn options(context: &Context<'_>) -> Result<LogRequest, ApiError> {
    let query = context.query;
    let integer = |name: &str| options::integer(query, name);
    let (tail, since, limit) =
        (integer("tailLines")?, integer("sinceSeconds")?, integer("limitBytes")?);
    let since_time = match query.get("sinceTime").filter(|time| !time.is_empty()) {
        None => None,
        Some(time) => Some(time.parse().map_err(|_| {
            ApiError::bad_request(format!(
                "parsing time \"{time}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{time}\" as \"2006\""
            ))
        })?),
    };
    let mut errors = field::Errors::default();
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(field::Error::invalid(&field::Path::new("tailLines"), tail, detail));
    }
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        errors.push(field::Error::invalid(
            &field::Path::new("limitBytes"),
            limit,
            "must be greater than 0",
        ));
    }
    if since.is_some() && since_time.is_some() {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(field::Error::forbidden(&field::Path::new(""), detail));
    } else if let Some(since) = since.filter(|since| *since < 1) {
        errors.push(field::Error::invalid(
            &field::Path::new("sinceSeconds"),
            since,
            "must be greater than 0",
        ));
    }
    if !errors.is_empty() {
        return Err(ApiError::invalid_as("PodLogOptions", "", context.name(), &errors));
    }
    let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    Ok(LogRequest {
        namespace: context.path.namespace.map(|it| it.to_string()).unwrap_or_default(),
        pod: context.name().to_owned(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        tail_lines: unsigned(tail),
        timestamps: query.flag("timestamps"),
        since_seconds: unsigned(since),
        since_time,
        limit_bytes: unsigned(limit),
        ..LogRequest::default()
    })
}

/// The requested container, or the only one.
pub(super) fn container(context: &Context<'_>, pod: &Value) -> Result<String, ApiError> {
    let names = |group: &str| -> Vec<&str> {
        list(pod, group).iter().map(|item| text(item, "/name")).collect()
    };
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
    if let [only] = *containers.as_slice() {
        return Ok(only.to_owned());
    }
    let mut message = format!(
        "a container name must be specified for pod {pod_name}, choose one of: [{}]",
        containers.join(" ")
    );
    if !init.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    Err(ApiError::bad_request(message))
}
