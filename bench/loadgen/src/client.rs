//! A small HTTP/1.1 client: one keep-alive connection, no pool, no retry, no hidden buffer, so that
//! a measured latency is the server's and the kernel's.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls;

/// The largest head of an answer in bytes.
const LONGEST_HEAD: usize = 64 * 1024;

/// The server and the user of the requests.
#[derive(Clone)]
pub(crate) struct Target {
    address: SocketAddr,
    token: String,
    tls: Option<TlsConnector>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One open connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    target: Target,
    /// Bytes that were read and not used yet.
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Target {
    /// `url` is `http://IP:PORT` or `https://IP:PORT` with a loopback address.
    pub(crate) fn new(url: &str, token: &str) -> Result<Self> {
        let (tls, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Some(tls::connector()?), rest),
            Some(("http", rest)) => (None, rest),
            _ => bail!("{url}: expected an http or https address"),
        };
        let address: SocketAddr = rest
            .trim_end_matches('/')
            .parse()
            .with_context(|| format!("{url}: expected https://127.0.0.1:PORT"))?;
        ensure!(
            address.ip().is_loopback(),
            "{url} is not a loopback address; no other one is allowed"
        );
        Ok(Self { address, token: token.to_owned(), tls })
    }

    pub(crate) async fn connect(&self) -> Result<Connection> {
        let address = self.address;
        let tcp = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        tcp.set_nodelay(true).context("cannot set up the connection")?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some(connector) => {
                let name = ServerName::from(address.ip());
                let tls = connector.connect(name, tcp).await;
                Box::new(tls.with_context(|| format!("the TLS handshake with {address} failed"))?)
            }
            None => Box::new(tcp),
        };
        Ok(Connection { stream, target: self.clone(), input: Vec::new(), output: Vec::new() })
    }
}

impl Connection {
    /// Sends a request, reads the whole answer into `answer`, and returns the status.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        answer: &mut Vec<u8>,
    ) -> Result<u16> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: mxjob-loadgen\r\nAccept: application/json\r\n",
            self.target.address
        );
        if !self.target.token.is_empty() {
            write!(head, "Authorization: Bearer {}\r\n", self.target.token)?;
        }
        if !body.is_empty() {
            write!(head, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())?;
        }
        head.push_str("\r\n");
        // One write, so that the request is one packet where it fits.
        self.output.clear();
        self.output.extend_from_slice(head.as_bytes());
        self.output.extend_from_slice(body);
        self.stream.write_all(&self.output).await.context("cannot send the request")?;
        self.stream.flush().await.context("cannot send the request")?;

        let head = self.head().await?;
        answer.clear();
        match head.length {
            Length::Known(length) => self.take(length, answer).await?,
            Length::Chunked => self.chunks(answer).await?,
        }
        Ok(head.status)
    }

    async fn head(&mut self) -> Result<Head> {
        let end = loop {
            if let Some(end) = find(&self.input, b"\r\n\r\n") {
                break end;
            }
            ensure!(self.input.len() < LONGEST_HEAD, "the head of the answer is too long");
            self.fill().await?;
        };
        let text: Vec<u8> = self.input.drain(..end + 4).collect();
        Head::parse(&String::from_utf8_lossy(&text))
    }

    async fn chunks(&mut self, answer: &mut Vec<u8>) -> Result<()> {
        loop {
            let line = self.line().await?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).context("a chunk has no size")?;
            self.take(size, answer).await?;
            self.line().await?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = find(&self.input, b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize, answer: &mut Vec<u8>) -> Result<()> {
        while self.input.len() < length {
            self.fill().await?;
        }
        answer.extend(self.input.drain(..length));
        Ok(())
    }

    async fn fill(&mut self) -> Result<()> {
        let read = self.stream.read_buf(&mut self.input).await.context("cannot read the answer")?;
        ensure!(read > 0, "the server closed the connection in the middle of an answer");
        Ok(())
    }
}

/// The parts of an answer's head that are needed to read its body.
#[derive(Debug)]
struct Head {
    status: u16,
    length: Length,
}

#[derive(Debug)]
enum Length {
    Known(usize),
    Chunked,
}

impl Head {
    fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?;
        let status = status.parse().context("the status is not a number")?;
        let mut length = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => {
                    length =
                        Some(Length::Known(value.parse().context("the length is not a number")?));
                }
                ("transfer-encoding", "chunked") => length = Some(Length::Chunked),
                _ => {}
            }
        }
        Ok(Self { status, length: length.context("the answer has no length")? })
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}
