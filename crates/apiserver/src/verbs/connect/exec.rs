//! A command (or a container's output) over the channels of `v4.channel.k8s.io` and
//! `v5.channel.k8s.io`.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_util::future::try_join;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::closed;
use super::socket::{Incoming, Outbound, Stream, channel_of, next, on_channel, split};
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
/// How long a client may take to close the connection.
const GOODBYE: Duration = Duration::from_secs(5);

/// Runs a session to its end. When the client disconnects, the session and with it the command are
/// dropped.
pub(super) async fn run(stream: Stream, session: ExecSession, closing: watch::Receiver<bool>) {
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let (incoming, sender, carry) = split(stream);
    let (ended, seen) = watch::channel(false);
    let work = async move {
        // Tells the client that the streams are ready, as upstream does.
        let first = if stdout.is_some() { STDOUT } else { ERROR };
        let _ = sender.send(on_channel(first, &[])).await;
        let outputs = async {
            tokio::join!(
                pump(stdout, STDOUT, &sender, seen.clone()),
                pump(stderr, STDERR, &sender, seen.clone())
            );
        };
        let result = finish(outputs, exit, &ended).await;
        let _ = sender.send(on_channel(ERROR, status(&result).to_string().as_bytes())).await;
    };
    let mut input = pin!(read(incoming, stdin, resize));
    tokio::select! {
        () = input.as_mut() => return,
        () = closed(closing) => return,
        both = try_join(work.map(Ok), carry) => if both.is_err() { return },
    }
    // Closing earlier could lose data in flight.
    let _ = timeout(GOODBYE, input).await;
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
            Some(Ok(data)) => {
                if sender.send(on_channel(channel, &data)).await.is_err() {
                    return;
                }
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
async fn read(mut incoming: Incoming, mut stdin: Option<Box<dyn Stdin>>, resize: Option<Resize>) {
    while let Some(message) = next(&mut incoming).await {
        let Some((channel, content)) = channel_of(message) else { continue };
        match channel {
            STDIN => {
                if let Some(input) = &mut stdin
                    && !content.is_empty()
                    && input.write(content).await.is_err()
                {
                    // A command that stopped reading its input is not an error.
                    stdin = None;
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

/// The `Status` on the error channel at the end.
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
    fn terminal_sizes_are_parsed_and_invalid_ones_ignored() {
        let check = |text: &'static str, want| {
            assert_eq!(size(&Bytes::from_static(text.as_bytes())), want, "{text}");
        };
        check(r#"{"Width":80,"Height":24}"#, Some((80, 24)));
        check(r#"{"Width":-1,"Height":24}"#, None);
        check("", None);
    }
}
