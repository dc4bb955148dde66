//! Reads container logs for `kubectl logs`.
//!
//! Needs only the state directory, so logs can be read whether or not the container, or the agent
//! that started it, still runs. Several records of one line are joined.

mod files;
mod tail;

use std::{io, path::Path};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};

use self::files::LogFiles;
use super::format::Record;
use crate::{
    changes::{self, Changes},
    state::{AttemptDir, DnsLabel, PodDir},
    sys::readable::Readable,
};

/// Bytes per read.
const BLOCK: u64 = 64 * 1024;

/// The log to read, and the part of it.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod; without it the pod is looked up by name.
    pub uid: Option<String>,
    /// Name of the container; optional if the pod has only one.
    pub container: Option<String>,
    /// Continue until the container ends.
    pub follow: bool,
    /// Read the log of the attempt before the newest one.
    pub previous: bool,
    /// Number of lines to read from the end.
    pub tail_lines: Option<u64>,
    /// Prefix each line with its time.
    pub timestamps: bool,
    /// Only lines of this many last seconds.
    pub since_seconds: Option<u64>,
    /// Only lines from this time on.
    pub since_time: Option<Timestamp>,
    /// Stop after this many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This node has no such pod.
    #[error("pod {namespace}/{pod} does not run on this node")]
    NoPod {
        /// Namespace asked for.
        namespace: String,
        /// Name asked for.
        pod: String,
    },
    /// The name of the container is invalid.
    #[error("container {container:?} is not valid for pod {pod:?}")]
    NoContainer {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// The container was not started yet, or does not exist.
    #[error("container {container:?} in pod {pod:?} is waiting to start: ContainerCreating")]
    NotStarted {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// The container has no earlier attempt.
    #[error("previous terminated container {container:?} in pod {pod:?} not found")]
    NoPrevious {
        /// Name of the pod.
        pod: String,
        /// Name of the container.
        container: String,
    },
    /// The pod has several containers, and the request names none.
    #[error("a container name must be specified for pod {pod}, choose one of: [{}]", choices.join(" "))]
    Ambiguous {
        /// Name of the pod.
        pod: String,
        /// Names of the containers.
        choices: Vec<String>,
    },
    /// The files could not be read.
    #[error("cannot read the log of container {container:?}")]
    Read {
        /// Name of the container.
        container: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Opens a log. `since_seconds` counts back from `now`. The stream needs a tokio runtime.
///
/// # Errors
/// When the pod, container or attempt does not exist, or its files cannot be read.
pub fn open(
    state_dir: &Path,
    request: &Request,
    now: Timestamp,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Error> {
    let pod = find_pod(state_dir, request)?;
    let container = find_container(&pod, request)?;
    let dir = find_attempt(&pod, &container, request)?;
    let reader = LogReader::open(dir, request, now)
        .map_err(|source| Error::Read { container: container.to_string(), source })?;
    Ok(stream::try_unfold(reader, LogReader::next))
}

fn find_pod(state_dir: &Path, request: &Request) -> Result<PodDir, Error> {
    let missing =
        || Error::NoPod { namespace: request.namespace.clone(), pod: request.pod.clone() };
    if let Some(uid) = &request.uid {
        let dir = PodDir::new(state_dir, &uid.parse().map_err(|_| missing())?);
        return dir.record().map(|_| dir).ok_or_else(missing);
    }
    let pods = PodDir::all(state_dir).unwrap_or_default();
    pods.into_iter()
        .find(|dir| {
            dir.record().is_some_and(|record| {
                record.namespace == request.namespace && record.name == request.pod
            })
        })
        .ok_or_else(missing)
}

fn find_container(pod: &PodDir, request: &Request) -> Result<DnsLabel, Error> {
    if let Some(container) = &request.container {
        return container.parse().map_err(|_| Error::NoContainer {
            pod: request.pod.clone(),
            container: container.clone(),
        });
    }
    let mut choices = pod.containers();
    match choices.len() {
        0 => Err(Error::NotStarted { pod: request.pod.clone(), container: String::new() }),
        1 => Ok(choices.swap_remove(0)),
        _ => {
            let choices = choices.iter().map(DnsLabel::to_string).collect();
            Err(Error::Ambiguous { pod: request.pod.clone(), choices })
        }
    }
}

fn find_attempt(
    pod: &PodDir,
    container: &DnsLabel,
    request: &Request,
) -> Result<AttemptDir, Error> {
    let mut attempts = pod.attempts(container);
    attempts.retain(|(_, dir)| dir.run().is_some() || dir.exit().is_some());
    let newest = attempts.pop().ok_or_else(|| Error::NotStarted {
        pod: request.pod.clone(),
        container: container.to_string(),
    })?;
    if !request.previous {
        return Ok(newest.1);
    }
    attempts.pop().map(|(_, dir)| dir).ok_or_else(|| Error::NoPrevious {
        pod: request.pod.clone(),
        container: container.to_string(),
    })
}

/// The state of one stream.
struct LogReader {
    dir: AttemptDir,
    files: LogFiles,
    /// Readable after a change in the folder; only when following.
    changes: Option<Readable>,
    timestamps: bool,
    since: Option<Timestamp>,
    /// Bytes that may still be returned.
    left: Option<u64>,
    /// Bytes of an incomplete record.
    raw: Vec<u8>,
    /// Whether the last record was partial, so that the next one continues its line.
    within_line: bool,
    /// Whether the current line is too old to be shown.
    skip_line: bool,
}

/// The result of one read.
enum Step {
    Text(Bytes),
    Wait,
    End,
}

impl LogReader {
    fn open(dir: AttemptDir, request: &Request, now: Timestamp) -> io::Result<Self> {
        // Watched before the file is opened, so that no change is missed.
        let changes = request
            .follow
            .then(|| Readable::new(Changes::watch(dir.path())?.into_fd()))
            .transpose()?;
        let files = LogFiles::open(dir.clone(), request.tail_lines)?;
        let since = request.since_time.or_else(|| {
            now.checked_sub(SignedDuration::from_secs(i64::try_from(request.since_seconds?).ok()?))
                .ok()
        });
        Ok(Self {
            dir,
            files,
            changes,
            timestamps: request.timestamps,
            since,
            left: request.limit_bytes,
            raw: Vec::new(),
            within_line: false,
            skip_line: false,
        })
    }

    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        loop {
            // Disk reads may block, and other tasks share this thread.
            let (reader, step) = tokio::task::spawn_blocking(move || {
                let step = self.step();
                (self, step)
            })
            .await
            .map_err(io::Error::other)?;
            self = reader;
            match step? {
                Step::Text(text) => return Ok(Some((text, self))),
                Step::End => return Ok(None),
                Step::Wait => match &self.changes {
                    Some(changes) => changes.consume(changes::drain).await?,
                    None => return Ok(None),
                },
            }
        }
    }

    fn step(&mut self) -> io::Result<Step> {
        if self.left == Some(0) {
            return Ok(Step::End);
        }
        // Checked before reading: then all output before the end is in the files.
        let ended = self.dir.exit().is_some() || !self.dir.path().exists();
        let is_complete = self.files.is_complete()?;
        let read = self.files.read(BLOCK, &mut self.raw)?;
        let text = self.next_lines();
        if !text.is_empty() {
            return Ok(Step::Text(text.into()));
        }
        if read == 0 && is_complete && self.files.advance()? {
            return Ok(Step::Text(Bytes::new()));
        }
        Ok(match (read, ended) {
            (0, true) => Step::End,
            (0, false) => Step::Wait,
            _ => Step::Text(Bytes::new()),
        })
    }

    /// Converts the whole records read so far to text.
    fn next_lines(&mut self) -> Vec<u8> {
        let Some(end) = self.raw.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
        let rest = self.raw.split_off(end + 1);
        let whole = std::mem::replace(&mut self.raw, rest);
        let mut out = Vec::with_capacity(whole.len());
        for record in whole.split_inclusive(|&byte| byte == b'\n').filter_map(Record::parse) {
            if !self.within_line {
                self.skip_line = self
                    .since
                    .is_some_and(|since| record.timestamp().is_some_and(|time| time < since));
                if self.timestamps && !self.skip_line {
                    out.extend_from_slice(record.time);
                    out.push(b' ');
                }
            }
            if !self.skip_line {
                out.extend_from_slice(record.text);
                if record.full {
                    out.push(b'\n');
                }
            }
            self.within_line = !record.full;
        }
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out
    }
}
