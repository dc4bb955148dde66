//! Commands in running containers, with the container's cgroup, mounts, host name, environment,
//! user and working directory.
//!
//! The agent never forks: it spawns the shim in its second mode (`shim --exec`), which becomes the
//! command. A command is killed when its [`Program`] is dropped, and at the latest when its
//! container ends.

mod terminal;

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open},
};
use tokio::io::Interest;

use crate::{
    cgroup, proc,
    runtime::ShimCommand,
    state::{AttemptDir, PodDir},
    sys::{duplex::Duplex, readable::Readable},
};

pub use self::terminal::Terminal;

/// How long killed processes may take to end. After that their cgroup is removed with the
/// container's.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A command and its container.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Uid of the pod.
    pub uid: String,
    /// Name of the container.
    pub container: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether to connect its standard input; otherwise it is empty.
    pub stdin: bool,
    /// Whether to connect its standard output; otherwise it is discarded.
    pub stdout: bool,
    /// Whether to connect its standard error; otherwise it is discarded. In a terminal it is part
    /// of the output.
    pub stderr: bool,
    /// Whether it runs in a terminal of its own.
    pub tty: bool,
}

/// A running command.
#[derive(Debug)]
pub struct Session {
    /// Its standard input, which ends when this is dropped.
    pub stdin: Option<Writer>,
    /// Its standard output.
    pub stdout: Option<Reader>,
    /// Its standard error.
    pub stderr: Option<Reader>,
    /// Its terminal.
    pub terminal: Option<Terminal>,
    /// The process.
    pub program: Program,
}

/// Why a command cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container does not exist here, or does not run.
    #[error("container {container:?} does not run on this node")]
    NotRunning {
        /// Name of the container.
        container: String,
    },
    /// A system call failed.
    #[error("cannot start a command in container {container:?}")]
    Start {
        /// Name of the container.
        container: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// The writing end of a command's input.
#[derive(Debug)]
pub struct Writer(Duplex);

/// The reading end of a command's output.
#[derive(Debug)]
pub struct Reader(Duplex);

/// The process of a command. Dropping it kills the command and its child processes.
#[derive(Debug)]
pub struct Program {
    /// `None` once it was reaped. Until then no other process gets its id.
    child: Option<Child>,
    pidfd: Readable,
    /// The command's own cgroup.
    group: Option<PathBuf>,
    /// Readable when the container has ended; only without cgroups, which would end the command
    /// with it.
    container: Option<Readable>,
}

/// Starts a command.
pub(crate) fn start(
    state_dir: &Path,
    shim: &ShimCommand,
    request: &Request,
) -> Result<Session, Error> {
    let container = || request.container.clone();
    let dir = newest_attempt(state_dir, request)
        .filter(|dir| dir.exit().is_none() && dir.is_locked())
        .ok_or_else(|| Error::NotRunning { container: container() })?;
    spawn(&dir, shim, request).map_err(|source| Error::Start { container: container(), source })
}

/// `None` also for an invalid uid or container name.
fn newest_attempt(state_dir: &Path, request: &Request) -> Option<AttemptDir> {
    let (uid, container) = (request.uid.parse().ok()?, request.container.parse().ok()?);
    PodDir::new(state_dir, &uid).attempts(&container).pop().map(|(_, dir)| dir)
}

/// The two ends of the command's standard streams.
#[derive(Default)]
struct Ends {
    /// For the command.
    theirs: [Option<OwnedFd>; 3],
    stdin: Option<Writer>,
    stdout: Option<Reader>,
    stderr: Option<Reader>,
    terminal: Option<Terminal>,
}

fn spawn(dir: &AttemptDir, shim: &ShimCommand, request: &Request) -> io::Result<Session> {
    let spec =
        dir.spec().ok_or_else(|| io::Error::other("cannot read spec.json of the attempt"))?;
    let run = dir.run().ok_or_else(|| io::Error::other("cannot read run.json of the attempt"))?;
    let container = match &spec.cgroup {
        Some(_) => None,
        None => Some(watch(run.shim, run.shim_start)?),
    };
    let ends =
        if request.tty { Ends::terminal(spec.user, request)? } else { Ends::pipes(request)? };
    let Ends { theirs, stdin, stdout, stderr, terminal } = ends;
    let [input, output, errors] = theirs.map(|end| end.map_or_else(Stdio::null, Stdio::from));
    let mut command = Command::new(&shim.program);
    command.args(&shim.args).arg("--exec").arg(dir.path());
    if request.tty {
        command.arg("--tty");
    }
    let child = command
        .arg("--")
        .args(&request.command)
        .env_clear()
        .envs(shim.env.iter().map(|(name, value)| (name, value)))
        .stdin(input)
        .stdout(output)
        .stderr(errors)
        .spawn()?;
    // This closes our copies of the command's ends; otherwise its output would never end.
    drop(command);
    let program = Program::of(child, spec.cgroup.as_deref(), container)?;
    Ok(Session { stdin, stdout, stderr, terminal, program })
}

/// A descriptor that becomes readable when this process ends.
fn watch(pid: i32, start: u64) -> io::Result<Readable> {
    let ended = || io::Error::other("the container has ended");
    let pid = Pid::from_raw(pid).ok_or_else(ended)?;
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    // The descriptor pins the process: if it is the recorded one now, it stays so.
    if proc::start_time(pid) != Some(start) {
        return Err(ended());
    }
    Readable::new(pidfd)
}

// === impl Ends ===

impl Ends {
    fn pipes(request: &Request) -> io::Result<Self> {
        let mut ends = Self::default();
        if request.stdin {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            ends.stdin = Some(Writer(Duplex::new(writer, Interest::WRITABLE)?));
            ends.theirs[0] = Some(reader);
        }
        if request.stdout {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            ends.stdout = Some(Reader(Duplex::new(reader, Interest::READABLE)?));
            ends.theirs[1] = Some(writer);
        }
        if request.stderr {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            ends.stderr = Some(Reader(Duplex::new(reader, Interest::READABLE)?));
            ends.theirs[2] = Some(writer);
        }
        Ok(ends)
    }

    fn terminal(user: Option<u32>, request: &Request) -> io::Result<Self> {
        let (ours, theirs) = terminal::open(user)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let ours = Duplex::new(ours, both)?;
        Ok(Self {
            theirs: [Some(theirs.try_clone()?), Some(theirs.try_clone()?), Some(theirs)],
            stdin: request.stdin.then(|| Writer(ours.clone())),
            stdout: request.stdout.then(|| Reader(ours.clone())),
            stderr: None,
            terminal: Some(Terminal::of(ours)),
        })
    }
}

// === impl Writer ===

impl Writer {
    /// Writes all of `data`.
    ///
    /// # Errors
    /// When the command has closed its input.
    pub async fn write(&self, data: &[u8]) -> io::Result<()> {
        self.0.write(data).await
    }
}

// === impl Reader ===

impl Reader {
    /// The output of the command, as it is written.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::try_unfold(self, async |reader| {
            let read = reader.0.read().await?;
            Ok(read.map(|data| (data, reader)))
        })
    }
}

// === impl Program ===

impl Program {
    fn of(child: Child, cgroup: Option<&Path>, container: Option<Readable>) -> io::Result<Self> {
        let pid = pid_of(&child)?;
        let pidfd = Readable::new(pidfd_open(pid, PidfdFlags::NONBLOCK)?)?;
        let group = cgroup.map(|folder| cgroup::of_command(folder, pid));
        Ok(Self { child: Some(child), pidfd, group, container })
    }

    /// Waits for the end. Returns the exit code, or 128 plus the number of the signal that ended
    /// the command.
    ///
    /// # Errors
    /// The system's error.
    pub async fn wait(mut self) -> io::Result<i32> {
        match &self.container {
            None => self.pidfd.readable().await?,
            Some(container) => {
                let container_ended = tokio::select! {
                    ended = self.pidfd.readable() => { ended?; false }
                    ended = container.readable() => { ended?; true }
                };
                if container_ended {
                    self.kill();
                    self.pidfd.readable().await?;
                }
            }
        }
        let Some(mut child) = self.child.take() else { return Ok(0) };
        // It has ended, so this does not block.
        let status = child.wait()?;
        self.remove_group();
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
    }

    fn kill(&self) {
        let Some(pid) = self.child.as_ref().and_then(|child| pid_of(child).ok()) else { return };
        // Not reaped yet, so the id is still the command's. It may not lead a process group yet.
        let _ = kill_process(pid, Signal::KILL);
        let _ = kill_process_group(pid, Signal::KILL);
        if let Some(group) = self.group.as_deref().filter(|group| group.exists()) {
            cgroup::kill(group);
        }
    }

    fn remove_group(&self) {
        if let Some(group) = &self.group {
            // If the command left processes, the cgroup is removed with the container's.
            let _ = fs::remove_dir(group);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.kill();
        let (child, group) = (self.child.take(), self.group.take());
        // Waiting for a killed process takes a moment and must not block the caller.
        std::thread::spawn(move || {
            if let Some(mut child) = child {
                let _ = child.wait();
            }
            if let Some(group) = group {
                cgroup::kill_and_wait(&group, KILL_TIMEOUT);
                let _ = fs::remove_dir(group);
            }
        });
    }
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the process has no id"))
}
