//! Commands, ports, watches and logs over WebSocket, on real connections.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, SinkExt, StreamExt, stream};
use mxjob_apiserver::node::{
    ExecRequest, ExecSession, Link, LogError, LogRequest, LogStream, NodeConnector, PortRequest,
    Stdin,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::server::{JOBS, Listening, PATIENCE, Server, job};

const POD: &str = "/api/v1/namespaces/default/pods/p";
const EXEC: &str = "exec?command=cat&stdin=1&stdout=1";

/// Commands write their input to their output, and at its end a last word. Ports are echoes. The
/// log has two parts.
#[derive(Debug, Default)]
struct Node {
    /// Gets the whole input of a command at its end.
    inputs: Option<mpsc::Sender<Vec<u8>>>,
}

/// The input of a command.
struct Input(mpsc::Sender<Bytes>);

impl Stdin for Input {
    fn write(&mut self, data: Bytes) -> BoxFuture<'_, io::Result<()>> {
        async move { self.0.send(data).await.map_err(|_| io::ErrorKind::BrokenPipe.into()) }.boxed()
    }
}

impl NodeConnector for Node {
    fn logs(&self, _: LogRequest) -> BoxFuture<'static, Result<LogStream, LogError>> {
        let parts = [Ok(Bytes::from_static(b"one\n")), Ok(Bytes::from_static(b"two\n"))];
        async move { Ok(stream::iter(parts).boxed() as LogStream) }.boxed()
    }

    fn exec(&self, request: ExecRequest) -> BoxFuture<'static, io::Result<ExecSession>> {
        let inputs = self.inputs.clone();
        let (stdin, mut data) = mpsc::channel::<Bytes>(1);
        let (output, stdout) = mpsc::channel::<io::Result<Bytes>>(1);
        let exit = async move {
            let mut all = Vec::new();
            while let Some(data) = data.recv().await {
                all.extend_from_slice(&data);
                // The output must not fail for a client that is gone.
                output.send(Ok(data)).await.map_err(io::Error::other)?;
            }
            output.send(Ok(Bytes::from_static(b"end"))).await.map_err(io::Error::other)?;
            if let Some(inputs) = inputs {
                let _ = inputs.send(all).await;
            }
            Ok(if request.command == ["fail"] { 3 } else { 0 })
        };
        let stdout = stream::unfold(stdout, async |mut stdout| {
            let read = stdout.recv().await?;
            Some((read, stdout))
        });
        let session = ExecSession {
            stdin: Some(Box::new(Input(stdin))),
            stdout: Some(stdout.boxed()),
            stderr: None,
            resize: None,
            exit: Some(exit.boxed()),
        };
        async move { Ok(session) }.boxed()
    }

    fn connect(&self, request: PortRequest) -> BoxFuture<'static, io::Result<Box<dyn Link>>> {
        async move {
            if request.port == 1 {
                return Err(io::Error::other("nobody listens"));
            }
            let (ours, theirs): (DuplexStream, _) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(theirs);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
            Ok(Box::new(ours) as Box<dyn Link>)
        }
        .boxed()
    }
}

/// A server on a real port, with a running pod.
struct Served {
    server: Server,
    listening: Listening,
}

impl Served {
    async fn start(node: Node) -> Self {
        let server = Server::start().await;
        server.api.connect_node(Arc::new(node));
        let spec = json!({"containers": [{"name": "c", "image": "i"}], "nodeName": "here"});
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        server.make("/api/v1/namespaces/default/pods", &pod).await;
        let status = json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }]}});
        server.patch(&format!("{POD}/status"), &status).await;
        let listening = server.listen();
        Self { server, listening }
    }

    /// The head of the response to a handshake, and the connection.
    async fn ask(&self, path: &str, headers: &str) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(self.listening.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timely(stream.read_u8()).await.unwrap());
        }
        (String::from_utf8(head).unwrap(), stream)
    }

    /// An open WebSocket with this protocol, which the server must confirm; none if it is empty.
    async fn open(&self, path: &str, protocol: &str) -> Socket {
        let mut headers = "Authorization: Bearer good\r\n".to_owned();
        let name = format!("Sec-Websocket-Protocol: {protocol}\r\n");
        if !protocol.is_empty() {
            headers.push_str(&name);
        }
        let (head, stream) = self.ask(path, &headers).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let head = head.to_lowercase();
        let confirms = head.contains("sec-websocket-protocol");
        assert_eq!(confirms, !protocol.is_empty(), "{head}");
        assert!(!confirms || head.contains(&name.to_lowercase()), "{head}");
        Socket(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }
}

async fn timely<T>(step: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, step).await.expect("nothing came")
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn send(&mut self, message: impl Into<Message>) {
        timely(self.0.send(message.into())).await.unwrap();
    }

    /// The next message with content.
    async fn next(&mut self) -> Message {
        loop {
            let message = timely(self.0.next()).await.unwrap().unwrap();
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                return message;
            }
        }
    }

    async fn expect(&mut self, wanted: impl Into<Message>) {
        assert_eq!(self.next().await, wanted.into());
    }

    async fn expect_close(&mut self, wanted: CloseCode) {
        let message = self.next().await;
        let Message::Close(Some(frame)) = message else { panic!("{message:?}") };
        assert_eq!(frame.code, wanted, "{frame:?}");
    }
}

fn binary(data: &'static [u8]) -> Message {
    Message::Binary(Bytes::from_static(data))
}

#[tokio::test]
async fn commands_run_in_binary_protocols() {
    let served = Served::start(Node::default()).await;
    for protocol in ["", "channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"] {
        let mut socket = served.open(&format!("{POD}/{EXEC}"), protocol).await;
        socket.expect(binary(b"\x01")).await;
        socket.send(Message::Binary(Bytes::new())).await;
        socket.send(binary(b"\x00abc")).await;
        socket.expect(binary(b"\x01abc")).await;
        // Text messages have the same form.
        socket.send(Message::text("\0def")).await;
        socket.expect(binary(b"\x01def")).await;
        socket.send(binary(b"\xff\x00")).await;
        socket.expect(binary(b"\x01end")).await;
        if protocol.starts_with('v') {
            let Message::Binary(status) = socket.next().await else { panic!("{protocol}") };
            assert_eq!(status[0], 3, "{protocol}");
            let status: Value = serde_json::from_slice(&status[1..]).unwrap();
            assert_eq!(status["status"], "Success", "{protocol}");
        }
        socket.expect_close(CloseCode::Normal).await;
    }
}

#[tokio::test]
async fn commands_run_in_base64_protocols() {
    let served = Served::start(Node::default()).await;
    for protocol in ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let mut socket = served.open(&format!("{POD}/{EXEC}"), protocol).await;
        socket.expect(Message::text("1")).await;
        socket.send(Message::text("0YWJj")).await;
        socket.expect(Message::text("1YWJj")).await;
        socket.send(binary(b"0ZGVm")).await;
        socket.expect(Message::text("1ZGVm")).await;
    }
}

#[tokio::test]
async fn errors_of_commands_are_a_status_or_a_text() {
    let served = Served::start(Node::default()).await;
    let path = format!("{POD}/exec?command=fail&stdin=1&stdout=1");
    for (protocol, is_status) in
        [("", false), ("channel.k8s.io", false), ("v4.channel.k8s.io", true)]
    {
        let mut socket = served.open(&path, protocol).await;
        socket.expect(binary(b"\x01")).await;
        socket.send(binary(b"\xff\x00")).await;
        socket.expect(binary(b"\x01end")).await;
        let Message::Binary(error) = socket.next().await else { panic!("{protocol}") };
        let text = String::from_utf8(error.to_vec()).unwrap();
        let plain = "\u{3}command terminated with non-zero exit code: exit status 3";
        assert_eq!(text == plain, !is_status, "{protocol}: {text}");
        assert_eq!(text.contains("NonZeroExitCode"), is_status, "{protocol}: {text}");
    }
}

#[tokio::test]
async fn input_before_a_close_reaches_the_command() {
    let (sender, mut inputs) = mpsc::channel(1);
    let served = Served::start(Node { inputs: Some(sender) }).await;
    for closes in [true, false] {
        let mut socket = served.open(&format!("{POD}/{EXEC}"), "v4.channel.k8s.io").await;
        for _ in 0..100 {
            let mut message = vec![0];
            message.extend_from_slice(&[b'x'; 1000]);
            timely(socket.0.feed(Message::from(message))).await.unwrap();
        }
        timely(socket.0.flush()).await.unwrap();
        if closes {
            timely(socket.0.close(None)).await.unwrap();
            // The close is answered.
            while !matches!(socket.next().await, Message::Close(_)) {}
        } else {
            // Without a handshake. Unread output would make the kernel discard what was sent.
            let raw = socket.0.get_mut();
            timely(raw.shutdown()).await.unwrap();
            timely(tokio::io::copy(raw, &mut tokio::io::sink())).await.unwrap();
        }
        drop(socket);
        let input = timely(inputs.recv()).await.expect("the command was stopped");
        assert_eq!(input.len(), 100_000, "{closes}");
    }
}

#[tokio::test]
async fn ports_are_forwarded_over_channels() {
    let served = Served::start(Node::default()).await;
    let path = format!("{POD}/portforward?ports=8080&ports=1");
    for protocol in ["", "v4.channel.k8s.io"] {
        let mut socket = served.open(&path, protocol).await;
        let mut first = Vec::new();
        for _ in 0..5 {
            let Message::Binary(message) = socket.next().await else { panic!("{protocol}") };
            first.push(message.to_vec());
        }
        first.sort();
        let error = b"\x03error forwarding port 1: nobody listens".to_vec();
        let numbers = [vec![0, 0x90, 0x1f], vec![1, 0x90, 0x1f], vec![2, 1, 0], vec![3, 1, 0]];
        assert_eq!(first, [numbers.as_slice(), &[error]].concat());
        socket.send(binary(b"\x00abc")).await;
        socket.expect(binary(b"\x00abc")).await;
    }
    let path = format!("{POD}/portforward?ports=8080");
    let mut socket = served.open(&path, "v4.base64.channel.k8s.io").await;
    socket.expect(Message::text("0kB8=")).await;
    socket.expect(Message::text("1kB8=")).await;
    socket.send(Message::text("0YWJj")).await;
    socket.expect(Message::text("0YWJj")).await;
}

#[tokio::test]
async fn ports_are_forwarded_through_a_tunnel() {
    let served = Served::start(Node::default()).await;
    let path = format!("{POD}/portforward");
    let mut socket = served.open(&path, "SPDY/3.1+portforward.k8s.io").await;
    // Two streams for port 8080, as `kubectl` opens them; the header blocks are compressed.
    let open = |stream: u8, block: &str| {
        let block = unhex(block);
        let length = u8::try_from(10 + block.len()).unwrap();
        let head = [0x80, 3, 0, 1, 0, 0, 0, length, 0, 0, 0, stream, 0, 0, 0, 0, 0, 0];
        Message::from([head.as_slice(), &block].concat())
    };
    let error = "78f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c6061606100a4398b20d198094ade8c0600000000ffff";
    socket.send(open(1, error)).await;
    socket.send(open(3, "c2aa19540e2512d60b000000ffff")).await;
    for stream in [1, 3] {
        let Message::Binary(reply) = socket.next().await else { panic!("no reply") };
        assert_eq!((&reply[..4], reply[11]), (&[0x80, 3, 0, 2][..], stream));
    }
    socket.send(binary(b"\0\0\0\x03\0\0\0\x03abc")).await;
    socket.expect(binary(b"\0\0\0\x03\0\0\0\x03abc")).await;
    // The end of the client's data ends both streams, since the echo ends.
    socket.send(binary(b"\0\0\0\x03\x01\0\0\0")).await;
    socket.expect(binary(b"\0\0\0\x01\x01\0\0\0")).await;
    socket.expect(binary(b"\0\0\0\x03\x01\0\0\0")).await;
    socket.send(binary(b"\x80\x02\0\x01\0\0\0\0")).await;
    socket.expect_close(CloseCode::Protocol).await;
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

#[tokio::test]
async fn invalid_messages_are_answered_with_a_close() {
    let served = Served::start(Node::default()).await;
    let base64 = "v4.base64.channel.k8s.io";
    for (path, message) in [(EXEC, "0***"), (EXEC, "/YWJj"), ("portforward?ports=80", "0YWI")] {
        let mut socket = served.open(&format!("{POD}/{path}"), base64).await;
        socket.send(Message::text(message)).await;
        loop {
            match socket.next().await {
                Message::Text(_) => {}
                Message::Close(Some(frame)) => break assert_eq!(frame.code, CloseCode::Invalid),
                other => panic!("{other:?}"),
            }
        }
    }
    // A reserved opcode; a message that announces 16 MiB; a text that is not UTF-8. All masked with
    // zeros.
    let checks: [(&[u8], CloseCode); 3] = [
        (b"\x83\x80\0\0\0\0", CloseCode::Protocol),
        (b"\x82\xff\0\0\0\0\x01\0\0\0\0\0\0\0", CloseCode::Size),
        (b"\x81\x81\0\0\0\0\xff", CloseCode::Invalid),
    ];
    let version = served.server.api.store().revision();
    let watch = format!("{JOBS}?watch=1&resourceVersion={version}");
    for (frame, code) in checks {
        for (path, protocol, first) in
            [(format!("{POD}/{EXEC}"), "v4.channel.k8s.io", true), (watch.clone(), "", false)]
        {
            let mut socket = served.open(&path, protocol).await;
            if first {
                socket.expect(binary(b"\x01")).await;
            }
            timely(socket.0.get_mut().write_all(frame)).await.unwrap();
            socket.expect_close(code).await;
        }
    }
}

#[tokio::test]
async fn a_watch_sends_one_text_message_for_each_event() {
    let served = Served::start(Node::default()).await;
    served.server.make(JOBS, &job("a")).await;
    // The messages do not depend on the protocol, but browsers want theirs confirmed.
    for (index, protocol) in ["", "base64.binary.k8s.io"].into_iter().enumerate() {
        let mut socket = served
            .open(&format!("{JOBS}?watch=true&fieldSelector=metadata.name!=x"), protocol)
            .await;
        for number in 0..=index {
            assert_eq!(event(socket.next().await).0, "ADDED", "{number}");
        }
        let name = format!("b{index}");
        served.server.make(JOBS, &job(&name)).await;
        assert_eq!(event(socket.next().await), ("ADDED".to_owned(), name));
        // What the client says is ignored, and its close is answered.
        socket.send(Message::text("hello")).await;
        timely(socket.0.close(None)).await.unwrap();
        assert!(matches!(socket.next().await, Message::Close(_)));
    }
    let mut socket = served.open(&format!("{JOBS}?watch=true"), "").await;
    for _ in 0..3 {
        event(socket.next().await);
    }
    served.server.api.close_streams();
    socket.expect_close(CloseCode::Normal).await;
}

/// The type and the name in an event.
fn event(message: Message) -> (String, String) {
    let Message::Text(text) = message else { panic!("{message:?}") };
    let event: Value = serde_json::from_str(&text).unwrap();
    let name = event["object"]["metadata"]["name"].as_str().unwrap().to_owned();
    (event["type"].as_str().unwrap().to_owned(), name)
}

#[tokio::test]
async fn a_log_is_sent_as_bytes_or_in_base64() {
    let served = Served::start(Node::default()).await;
    for follow in ["true", "false"] {
        let path = format!("{POD}/log?follow={follow}");
        for protocol in ["", "binary.k8s.io"] {
            let mut socket = served.open(&path, protocol).await;
            for part in [&b""[..], b"one\n", b"two\n"] {
                socket.expect(binary(part)).await;
            }
            socket.expect_close(CloseCode::Normal).await;
        }
        let mut socket = served.open(&path, "base64.binary.k8s.io").await;
        for part in ["", "b25lCg==", "dHdvCg=="] {
            socket.expect(Message::text(part)).await;
        }
        socket.expect_close(CloseCode::Normal).await;
    }
}

#[tokio::test]
async fn errors_are_ordinary_responses_before_the_upgrade() {
    let served = Served::start(Node::default()).await;
    let check = async |path: &str, headers: &str, code: &str| {
        let (head, _) = served.ask(path, headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{path}: {head}");
    };
    let (watch, log) = (format!("{JOBS}?watch=1"), format!("{POD}/log"));
    for path in [&watch, &log] {
        check(path, "", "401").await;
        check(path, "Authorization: Bearer limited\r\n", "403").await;
    }
    let admin = "Authorization: Bearer good\r\n";
    check(&format!("{watch}&labelSelector=app%20in%20("), admin, "400").await;
    check(&format!("{log}?container=x"), admin, "400").await;
    check(&log, &format!("{admin}Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"), "400").await;
    let token =
        "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.Z29vZA, binary.k8s.io\r\n";
    check(&watch, token, "101").await;
    check(&log, token, "101").await;
    // Other requests are no streams.
    check(JOBS, admin, "200").await;
}
