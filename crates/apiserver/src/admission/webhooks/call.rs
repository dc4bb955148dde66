//! Asking a webhook: one HTTPS request, on a connection that is kept for the next one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::hook::Hook;
use super::review::{self, Answer, CallError};
use crate::document;

/// The largest answer that is read.
const ANSWER_MAX: usize = 3 * 1024 * 1024;
/// How many idle connections to one webhook are kept.
const IDLE_MAX: usize = 8;

type Sender = SendRequest<Full<Bytes>>;

/// Idle connections, by where they lead and what was trusted when they were made.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<Key, Vec<Sender>>>);

/// The address, and the place in memory of the trust; a changed configuration has another.
type Key = (String, usize);

// === impl Connections ===

impl Connections {
    /// Asks one webhook.
    pub(super) async fn ask(
        &self,
        hook: &Hook,
        address: Result<String, CallError>,
        review: &Value,
    ) -> Result<Answer, CallError> {
        let failed =
            |why: String| CallError(format!("failed to call webhook: Post {:?}: {why}", hook.url));
        let address = address.map_err(|CallError(why)| failed(why))?;
        let call = self.send(hook, &address, Bytes::from(document::to_vec(review)));
        let answer = match tokio::time::timeout(hook.timeout, call).await {
            Ok(answer) => answer.map_err(failed)?,
            Err(_) => return Err(failed("context deadline exceeded".to_owned())),
        };
        let answer = serde_json::from_slice(&answer)
            .map_err(|error| CallError(format!("received invalid webhook response: {error}")))?;
        review::read(&answer, review)
    }

    async fn send(&self, hook: &Hook, address: &str, body: Bytes) -> Result<Bytes, String> {
        let tls = hook.tls.as_ref().map_err(Clone::clone)?;
        let key: Key = (address.to_owned(), Arc::as_ptr(tls).addr());
        // A connection that was kept may be gone by now; then a new one is made.
        if let Some(mut sender) = self.take(&key)
            && let Ok(response) = sender.send_request(request(hook, body.clone())?).await
        {
            return self.finish(key, sender, response).await;
        }
        let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                format!("dial tcp {address}: connect: connection refused")
            }
            _ => format!("dial tcp {address}: {error}"),
        })?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(hook.host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, stream)
            .await
            .map_err(|error| format!("tls: {error}"))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            // Its end shows in the sender.
            let _ = connection.await;
        });
        let response =
            sender.send_request(request(hook, body)?).await.map_err(|error| error.to_string())?;
        self.finish(key, sender, response).await
    }

    async fn finish(
        &self,
        key: Key,
        sender: Sender,
        response: Response<Incoming>,
    ) -> Result<Bytes, String> {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX);
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        self.keep(key, sender);
        if status != StatusCode::OK {
            return Err(format!("the webhook answered {status}"));
        }
        Ok(body)
    }

    fn take(&self, key: &Key) -> Option<Sender> {
        let mut idle = self.0.lock();
        let senders = idle.get_mut(key)?;
        while let Some(sender) = senders.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    fn keep(&self, key: Key, sender: Sender) {
        let mut idle = self.0.lock();
        // Closed connections are dropped, also those of deleted configurations.
        idle.retain(|_, senders| {
            senders.retain(|sender| !sender.is_closed());
            !senders.is_empty()
        });
        let senders = idle.entry(key).or_default();
        if senders.len() < IDLE_MAX {
            senders.push(sender);
        }
    }
}

fn request(hook: &Hook, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
    Request::post(hook.path.as_str())
        .header(header::HOST, hook.host.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "mxjob-admission")
        .body(Full::new(body))
        .map_err(|error| error.to_string())
}
