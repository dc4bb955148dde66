//! HTTP requests of probes and hooks.

use std::{net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT},
};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::{Answer, MAX_OUTPUT, connect};

/// The redirects that are followed, as by the kubelet.
const MAX_REDIRECTS: u32 = 10;

/// What servers see as the client, with the version of Kubernetes whose API is served.
pub(super) const AGENT: &str = "kube-probe/1.37";

/// A GET request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Get {
    is_https: bool,
    /// Without it the pod's own address.
    host: Option<String>,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

/// The relevant part of an answer.
struct Reply {
    status: StatusCode,
    location: Option<String>,
    body: String,
}

impl Get {
    pub(super) fn new(action: &HTTPGetAction, port: u16) -> Self {
        let path = action.path.as_deref().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        let header = |header: &k8s_openapi::api::core::v1::HTTPHeader| {
            (header.name.clone(), header.value.clone())
        };
        Self {
            is_https: action.scheme.as_deref() == Some("HTTPS"),
            host: action.host.clone().filter(|host| !host.is_empty()),
            port,
            path: format!("{slash}{path}"),
            headers: action.http_headers.iter().flatten().map(header).collect(),
        }
    }

    pub(super) fn url(&self, address: Ipv4Addr) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(address), self.path)
    }

    fn authority(&self, address: Ipv4Addr) -> String {
        match &self.host {
            Some(host) => format!("{host}:{}", self.port),
            None => format!("{address}:{}", self.port),
        }
    }

    /// Sends the request, and judges the answer: success from 200 to 399. Redirects to the same
    /// host are followed.
    pub(super) async fn probe(&self, address: Ipv4Addr) -> Answer {
        let mut request = self.clone();
        for _ in 0..=MAX_REDIRECTS {
            let reply = match request.send(address).await {
                Ok(reply) => reply,
                Err(why) => {
                    return Answer::Failure(format!("Get {:?}: {why}", request.url(address)));
                }
            };
            let Some(location) = reply.location.filter(|_| reply.status.is_redirection()) else {
                return match reply.status.as_u16() {
                    200..=399 => Answer::Success,
                    code => Answer::Failure(format!("HTTP probe failed with statuscode: {code}")),
                };
            };
            match request.redirected(&location, address) {
                Some(next) => request = next,
                None => {
                    let body = reply.body;
                    return Answer::Warning(format!(
                        "Probe terminated redirects, Response body: {body}"
                    ));
                }
            }
        }
        let url = request.url(address);
        Answer::Failure(format!("Get {url:?}: stopped after {MAX_REDIRECTS} redirects"))
    }

    /// Sends the request. Every answer is a success.
    pub(super) async fn notify(&self, address: Ipv4Addr) -> Answer {
        match self.send(address).await {
            Ok(_) => Answer::Success,
            Err(why) => Answer::Failure(format!("Get {:?}: {why}", self.url(address))),
        }
    }

    /// The next request of a redirect to the same host; `None` for another host.
    fn redirected(&self, location: &str, address: Ipv4Addr) -> Option<Self> {
        let mut next = self.clone();
        if !location.contains("://") {
            let path = self.path.split(['?', '#']).next().unwrap_or_default();
            let folder = path.rfind('/').and_then(|end| path.get(..=end)).unwrap_or("/");
            let folder = if location.starts_with('/') { "" } else { folder };
            next.path = format!("{folder}{location}");
            return Some(next);
        }
        let uri: Uri = location.parse().ok()?;
        let authority = uri.authority()?;
        next.is_https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let own = self.host.clone().unwrap_or_else(|| address.to_string());
        (authority.host() == own).then_some(())?;
        next.port = authority.port_u16().unwrap_or(if next.is_https { 443 } else { 80 });
        next.path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Some(next)
    }

    async fn send(&self, address: Ipv4Addr) -> Result<Reply, String> {
        let request = self.request(address)?;
        let stream = connect(self.host.as_deref(), self.port, address).await?;
        if !self.is_https {
            return exchange(stream, request).await;
        }
        let name = self.host.clone().unwrap_or_else(|| address.to_string());
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(tls()?);
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        exchange(stream, request).await
    }

    fn request(&self, address: Ipv4Addr) -> Result<Request<Empty<Bytes>>, String> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let mut given = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|_| format!("invalid header {name:?}"))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("invalid value of header {name}"))?;
            given.append(name, value);
        }
        headers.extend(given);
        if !headers.contains_key(HOST) {
            let host = HeaderValue::from_str(&self.authority(address));
            headers.insert(HOST, host.map_err(|error| error.to_string())?);
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        let mut request = Request::get(&self.path)
            .body(Empty::new())
            .map_err(|error| format!("invalid path {:?}: {error}", self.path))?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Reply, String> {
    let failed = |error: hyper::Error| mxjob_machinery::error::chain(&error);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // The connection ends when the set is dropped.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(failed)?;
    let (parts, mut body) = response.into_parts();
    let location = parts.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(str::to_owned);
    let body = String::from_utf8_lossy(&beginning(&mut body).await?).into_owned();
    Ok(Reply { status: parts.status, location, body })
}

/// The beginning of a body.
pub(super) async fn beginning(body: &mut Incoming) -> Result<Vec<u8>, String> {
    let mut kept = Vec::new();
    while kept.len() < MAX_OUTPUT
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| error.to_string())?;
        let Some(data) = frame.data_ref() else { break };
        kept.extend_from_slice(data.get(..MAX_OUTPUT - kept.len()).unwrap_or(data));
    }
    Ok(kept)
}

/// The certificate of a probed server is not verified, as by the kubelet: the answer decides
/// whether a container is ready, and no secret is sent.
fn tls() -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Get {
        Get { is_https: false, host: None, port: 80, path: path.to_owned(), headers: Vec::new() }
    }

    #[test]
    fn redirects_are_followed_to_the_same_host_only() {
        let address = Ipv4Addr::new(127, 1, 2, 3);
        for (location, expect) in [
            ("/b", Some("http://127.1.2.3:80/b")),
            ("b?c", Some("http://127.1.2.3:80/x/b?c")),
            ("http://127.1.2.3:81/b", Some("http://127.1.2.3:81/b")),
            ("https://127.1.2.3/b?d", Some("https://127.1.2.3:443/b?d")),
            ("http://127.0.0.1/b", None),
            ("ftp://127.1.2.3/b", None),
        ] {
            let next = get("/x/a?q").redirected(location, address).map(|next| next.url(address));
            assert_eq!(next.as_deref(), expect, "{location}");
        }
    }

    #[test]
    fn headers_of_the_probe_replace_the_defaults() {
        let given = [("Host", "a.example"), ("X-A", "1"), ("X-A", "2"), ("user-agent", "me")];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = Get { headers: given.to_vec(), ..get("/") };
        let request = request.request(Ipv4Addr::LOCALHOST).unwrap();
        let all = |name: &str| {
            let values = request.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(all("host"), ["a.example"]);
        assert_eq!(all("x-a"), ["1", "2"]);
        assert_eq!(all("user-agent"), ["me"]);
        let bad = Get { headers: vec![("a b".to_owned(), String::new())], ..get("/") };
        assert!(bad.request(Ipv4Addr::LOCALHOST).is_err());
        assert!(get("/a b").request(Ipv4Addr::LOCALHOST).is_err());
    }
}
