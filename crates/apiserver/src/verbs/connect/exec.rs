//! A command (or a container's output) over the channels of a WebSocket.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::closed;
use super::handshake::Protocol;
use super::socket::{GOODBYE, Incoming, Outbound, Stream, split};
use crate::node::{ExecSession, LogStream, Resize, Stdin};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Closes the channel whose number is its content (version 5).
const CLOSE: u8 = 255;

/// How long output may be silent after the command's end before it is closed: processes that the
/// command started may keep it open forever.
const SILENCE: Duration = Duration::from_millis(250);
/// How long a command whose client is gone may take to read a message of its input, and after the
/// last one, to end.
const GRACE: Duration = Duration::from_secs(30);

/// Runs a session to its end. When the client disconnects, a command gets the input that the client
/// has sent, and some time to end. Then the session and with it the command are dropped. A command
/// without input, or in a terminal, is dropped immediately.
pub(super) async fn run(
    stream: Stream,
    protocol: Protocol,
    session: ExecSession,
    closing: watch::Receiver<bool>,
) {
    tokio::select! {
        () = serve(stream, protocol, session) => {}
        () = closed(closing) => {}
    }
}

async fn serve(stream: Stream, protocol: Protocol, session: ExecSession) {
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let outlives = stdin.is_some() && resize.is_none();
    let (incoming, sender, carry) = split(stream, protocol.framing());
    let gone = watch::Sender::new(false);
    let mut input = pin!(read(incoming, stdin, resize, gone.subscribe()));
    let mut work = pin!(work(stdout, stderr, exit, sender, protocol));
    let mut carry = Box::pin(carry);
    let input_ended = tokio::select! {
        () = input.as_mut() => true,
        _ = carry.as_mut() => false,
        () = work.as_mut() => {
            tokio::select! {
                () = input.as_mut() => {}
                // Closing earlier could lose data in flight.
                sent = carry.as_mut() => if sent.is_ok() {
                    let _ = timeout(GOODBYE, input.as_mut()).await;
                },
            }
            return;
        }
    };
    if !outlives {
        return;
    }
    // From now on output is discarded.
    drop(carry);
    gone.send_replace(true);
    if !input_ended {
        tokio::select! {
            () = input => {}
            () = work.as_mut() => return,
        }
    }
    let _ = timeout(GRACE, work).await;
}

/// Sends the output of a command, and its result at the end.
async fn work(
    stdout: Option<LogStream>,
    stderr: Option<LogStream>,
    exit: Option<BoxFuture<'static, io::Result<i32>>>,
    sender: Outbound,
    protocol: Protocol,
) {
    let (ended, seen) = watch::channel(false);
    // Tells the client that the streams are ready, as upstream does.
    let first = match (&stdout, &stderr) {
        (Some(_), _) => STDOUT,
        (None, Some(_)) => STDERR,
        (None, None) => ERROR,
    };
    let _ = sender.send_on(first, &[]).await;
    let outputs = async {
        tokio::join!(
            pump(stdout, STDOUT, &sender, seen.clone()),
            pump(stderr, STDERR, &sender, seen.clone())
        );
    };
    let result = finish(outputs, exit, &ended).await;
    if let Some(text) = report(&result, protocol) {
        let _ = sender.send_on(ERROR, text.as_bytes()).await;
    }
}

/// Waits for the command's end and for all its output.
async fn finish(
    outputs: impl Future<Output = ()>,
    exit: Option<BoxFuture<'static, io::Result<i32>>>,
    ended: &watch::Sender<bool>,
) -> io::Result<i32> {
    let Some(exit) = exit else {
        outputs.await;
        return Ok(0);
    };
    let exit = async {
        let result = exit.await;
        ended.send_replace(true);
        result
    };
    tokio::join!(outputs, exit).1
}

/// Sends an output until it ends, or is silent after the command's end.
async fn pump(
    output: Option<LogStream>,
    channel: u8,
    sender: &Outbound,
    mut ended: watch::Receiver<bool>,
) {
    let Some(mut output) = output else { return };
    let mut discards = false;
    loop {
        let silence = async {
            if ended.wait_for(|ended| *ended).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(SILENCE).await;
        };
        let read = tokio::select! {
            read = output.next() => read,
            () = silence => return,
        };
        match read {
            Some(Ok(data)) if data.is_empty() => {}
            // A client that is gone does not make the command's writes fail.
            Some(Ok(data)) => {
                discards = discards || sender.send_on(channel, &data).await.is_err();
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "reading a command's output failed");
                return;
            }
            None => return,
        }
    }
}

/// Receives messages until the client disconnects.
async fn read(
    mut incoming: Incoming,
    mut stdin: Option<Box<dyn Stdin>>,
    resize: Option<Resize>,
    gone: watch::Receiver<bool>,
) {
    while let Some(Some((channel, content))) = within(&gone, incoming.next_on_channel()).await {
        match channel {
            STDIN => {
                if let Some(input) = &mut stdin
                    && !content.is_empty()
                {
                    match within(&gone, input.write(content)).await {
                        Some(Ok(())) => {}
                        // A command that stopped reading its input is not an error.
                        Some(Err(_)) => stdin = None,
                        None => return,
                    }
                }
            }
            CLOSE if content.first() == Some(&STDIN) => stdin = None,
            RESIZE => {
                if let (Some(resize), Some((columns, rows))) = (&resize, size(&content)) {
                    resize(columns, rows);
                }
            }
            _ => {}
        }
    }
}

/// Waits for one step of the input; `None` if it takes too long after the client is gone.
async fn within<T>(gone: &watch::Receiver<bool>, step: impl Future<Output = T>) -> Option<T> {
    let mut gone = gone.clone();
    let too_long = async {
        // An error means that the session ends anyway.
        let _ = gone.wait_for(|gone| *gone).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        result = step => Some(result),
        () = too_long => None,
    }
}

/// The columns and rows in a message of the resize channel.
fn size(content: &Bytes) -> Option<(u16, u16)> {
    #[derive(Deserialize)]
    struct Size {
        #[serde(rename = "Width")]
        width: u16,
        #[serde(rename = "Height")]
        height: u16,
    }
    let Size { width, height } = serde_json::from_slice(content).ok()?;
    Some((width, height))
}

/// The message on the error channel at the end.
fn report(result: &io::Result<i32>, protocol: Protocol) -> Option<String> {
    let status = status(result);
    if protocol.reports_status() {
        return Some(status.to_string());
    }
    status["message"].as_str().map(str::to_owned)
}

fn status(result: &io::Result<i32>) -> Value {
    match result {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("cannot determine the command's exit code: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_reported_at_the_end() {
        assert_eq!(status(&Ok(0))["status"], "Success");
        let failed = status(&Ok(3));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
        assert_eq!(status(&Err(io::Error::other("x")))["reason"], "InternalError");
    }

    #[test]
    fn older_protocols_report_errors_as_text() {
        for protocol in [Protocol::Unnamed, Protocol::Channel, Protocol::Base64Channel] {
            assert_eq!(report(&Ok(0), protocol), None);
            let text = "command terminated with non-zero exit code: exit status 3";
            assert_eq!(report(&Ok(3), protocol).as_deref(), Some(text));
        }
        for protocol in [Protocol::V4, Protocol::Base64V4, Protocol::V5] {
            assert_eq!(report(&Ok(0), protocol), Some(status(&Ok(0)).to_string()));
        }
    }

    #[test]
    fn terminal_sizes_are_parsed_and_invalid_ones_ignored() {
        let check = |text: &'static str, want| {
            assert_eq!(size(&Bytes::from_static(text.as_bytes())), want, "{text}");
        };
        check(r#"{"Width":80,"Height":24}"#, Some((80, 24)));
        check(r#"{"Width":-1,"Height":24}"#, None);
        check("", None);
    }
}
