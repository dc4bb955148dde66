//! One client cannot stop the others: what a server of its own process gives to clients that take
//! no answers, that only connect, or that have too many requests in flight.

use std::convert::Infallible;
use std::fs;
use std::net::TcpStream as Connection;
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Done, LIMIT, Place, Server};

/// As many streams as a connection allows, less a few.
const STREAMS: usize = 990;
/// The most memory of the server while four connections take nothing, in KiB: `SECURITY.md` names
/// it.
const MEMORY_MAX: u64 = 256 * 1024;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An HTTP/2 connection to a server, with the requests of one user.
struct Client {
    sender: SendRequest<Body>,
    token: String,
    user: Option<&'static str>,
}

impl Client {
    /// `window`: how much of each answer the server may send before the client has read it.
    async fn connect(place: &Place, address: &str, window: u32) -> Self {
        let config = fs::read_to_string(place.data().join("kubeconfig")).unwrap();
        let (_, ca) = config.split_once("certificate-authority-data: ").unwrap();
        let ca = ca.lines().next().unwrap().trim().trim_matches('"');
        let pem = base64::prelude::BASE64_STANDARD.decode(ca).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let token = fs::read_to_string(place.data().join("admin-token")).unwrap();
        Self { sender, token: token.trim().to_owned(), user: None }
    }

    fn request(&self, method: &str, path: &str, body: Body) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if let Some(user) = self.user {
            request = request.header("impersonate-user", user);
        }
        request.body(body).unwrap()
    }

    /// Sends a request; the answer's head, within the limit.
    fn send(
        &mut self,
        request: Request<Body>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + Send + 'static {
        let answer = self.sender.send_request(request);
        async { tokio::time::timeout(LIMIT, answer).await.expect("no answer came") }
    }

    async fn get(&mut self, path: &str) -> (StatusCode, Bytes) {
        let request = self.request("GET", path, Empty::new().boxed_unsync());
        let answer = self.send(request).await.unwrap();
        let status = answer.status();
        (status, answer.into_body().collect().await.unwrap().to_bytes())
    }
}

/// The highest memory of a process so far, in KiB.
fn peak_memory(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Sends all requests over four connections that take no byte of any answer, while others are
/// served.
fn check_untaken_answers(path: &str, prepare: impl FnOnce(&Server<'_>)) {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    prepare(&server);
    let address = server.address();
    runtime().block_on(async {
        let mut other = Client::connect(&place, &address, 1 << 20).await;
        let mut deaf = Vec::new();
        for _ in 0..4 {
            let mut client = Client::connect(&place, &address, 0).await;
            let answers: Vec<_> = (0..STREAMS)
                .map(|_| {
                    let request = client.request("GET", path, Empty::new().boxed_unsync());
                    client.sender.send_request(request)
                })
                .collect();
            // Kept, since a dropped answer would end its stream.
            let answers = tokio::spawn(join_all(answers));
            deaf.push((client, answers));
            for _ in 0..20 {
                let (status, _) = other.get("/api/v1/namespaces/default").await;
                assert_eq!(status, StatusCode::OK);
            }
        }
        let (status, body) = other.get(path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.len() > 100_000, "{}", body.len());
        let peak = peak_memory(server.id());
        assert!(peak < MEMORY_MAX, "{path}: {peak} KiB");
        drop(deaf);
    });
}

#[test]
fn documents_that_nobody_takes_cost_little_memory() {
    check_untaken_answers("/openapi/v2", |_| {});
}

#[test]
fn lists_that_nobody_takes_cost_little_memory() {
    check_untaken_answers("/api/v1/configmaps", |server| {
        let text = "x".repeat(900_000);
        for name in ["a", "b", "c", "d"] {
            server.create(&json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name}, "data": {"text": text},
            }));
        }
    });
}

#[test]
fn idle_connections_leave_the_others_their_descriptors() {
    let place = Place::with_open_files(1_024);
    let server = Server::start(&place, "up", &[]);
    // This process needs as many.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let address = server.address();
    let mut idle = Vec::new();
    for round in 0..12 {
        idle.extend((0..100).map(|_| Connection::connect(&address).unwrap()));
        let name = format!("settings-{round}");
        server.kubectl(&["create", "configmap", &name, "--from-literal=key=value"]);
    }
    // Pods need descriptors, too.
    server.create(&place.job("job", "true", "true", "true"));
    server.wait_for("job", "Succeeded");
    let open = fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    assert!(open < 700, "{open}");
    let log = server.log();
    let reports = log.lines().filter(|line| line.contains("too many connections")).count();
    assert!((1..=3).contains(&reports), "{log}");
    drop(idle);
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
}

/// Requests of a user that never send their bodies, until one is rejected.
#[test]
fn a_user_with_too_many_requests_gets_429_and_others_are_served() {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    for user in ["ann", "bob"] {
        server.kubectl(&["create", "rolebinding", user, "--clusterrole", "edit", "--user", user]);
    }
    let address = server.address();
    runtime().block_on(async {
        let path = "/api/v1/namespaces/default/configmaps";
        let mut ann = Client::connect(&place, &address, 1 << 20).await;
        ann.user = Some("ann");
        // Her rights are in force before she uses them up.
        while ann.get(path).await.0 != StatusCode::OK {}
        let unfinished = |ann: &mut Client| {
            let pending = futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>();
            let request = ann.request("POST", path, StreamBody::new(pending).boxed_unsync());
            tokio::spawn(ann.send(request))
        };
        let mut open: Vec<_> = (0..400).map(|_| unfinished(&mut ann)).collect();
        let rejected = loop {
            let request = ann.request("GET", path, Empty::new().boxed_unsync());
            let answer = ann.send(request).await.unwrap();
            if answer.status() != StatusCode::OK {
                break answer;
            }
            // That request may have taken the place of one of the others, which was rejected.
            open.push(unfinished(&mut ann));
        };
        assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(rejected.headers()["retry-after"], "1");
        let status = rejected.into_body().collect().await.unwrap().to_bytes();
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        assert_eq!(status["reason"], "TooManyRequests");
        for (user, expected) in [(Some("bob"), 200), (None, 200), (Some("ann"), 429)] {
            let mut client = Client::connect(&place, &address, 1 << 20).await;
            client.user = user;
            assert_eq!(client.get(path).await.0, expected, "{user:?}");
        }
        check_429_reaches_curl(&place, &server, &ann.token, path);
        drop(open);
        let mut admin = Client::connect(&place, &address, 1 << 20).await;
        let (_, metrics) = admin.get("/metrics").await;
        let metrics = String::from_utf8(metrics.to_vec()).unwrap();
        let name = "apiserver_flowcontrol_rejected_requests_total";
        let line = format!("{name}{{priority_level=\"global-default\",reason=\"queue-full\"}} ");
        assert!(metrics.contains(&line) && metrics.ends_with("# EOF\n"), "{metrics}");
    });
}

/// curl sends a large body, and sees the answer that comes before it is read.
fn check_429_reaches_curl(place: &Place, server: &Server<'_>, token: &str, path: &str) {
    place.write("body", &"x".repeat(3_000_000));
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let url = format!("https://{}{path}?try=[1-20]", server.address());
        let mut command = Command::new("curl");
        command.current_dir(place.path()).args(["--silent", "--insecure", "--max-time", "60"]);
        command.args([option, "--data-binary", "@body", "--header", "Impersonate-User: ann"]);
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
        command.args(["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}\n"]);
        let printed = Done::of(command.arg(url).output().unwrap()).stdout;
        assert_eq!(printed, format!("429 {version}\n").repeat(20), "{option}");
    }
}
