//! The shim: a small process between the agent and one container.
//!
//! The shim starts the program, writes its log, reaps its orphaned processes and records how it
//! ended. It outlives the agent, so neither a crash nor an upgrade of the agent affects a running
//! job. It is a re-exec of the product's own binary and runs before anything else in it, with one
//! thread, no async runtime and a few hundred kilobytes of memory.
//!
//! The shim makes no decisions: it runs one attempt once. SIGTERM to the shim ends the whole
//! container: all its processes get SIGTERM, and SIGKILL after the grace period (of the file
//! `stop`, or else of the spec).

mod child;
mod enter;
mod intercept;
mod output;
mod probe;
mod supervise;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    process::ExitCode,
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{getpid, set_child_subreaper, setsid},
};

use self::{child::Failure, intercept::Passage, output::Output, supervise::Supervisor};
use crate::{
    cgroup, clock, proc,
    state::{AttemptDir, ExitReason, ExitRecord, RunRecord, Spec},
    sys::process::{Fork, SignalFd, exit_now, fork_single_threaded},
};

/// The shim writes this to its standard output once the program runs or could not be started.
pub(crate) const READY: &[u8] = b"ready\n";

/// Runs a shim. `args` are the arguments after `shim`: `--state DIR`, with the folder of the
/// attempt; `--exec DIR [--tty] -- COMMAND…`, which runs a command in the container of that
/// attempt; or `--probe`, which prints what the machine permits.
///
/// Call this first in `main`, before any thread exists. The exit code says only whether the shim
/// itself worked; the end of the program is recorded in the folder.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter().peekable();
    if args.next_if(|word| word == "--exec").is_some() {
        return enter::main(args);
    }
    if args.next_if(|word| word == "--probe").is_some() {
        return probe::main();
    }
    let Some(dir) = parse(args) else {
        report("usage: shim --state DIR");
        return ExitCode::from(2);
    };
    match run(&AttemptDir::new(dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Option<PathBuf> {
    let mut args = args.into_iter();
    (args.next()? == "--state").then_some(())?;
    let dir = args.next()?;
    args.next().is_none().then(|| dir.into())
}

fn report(text: &str) {
    let _ = writeln!(io::stderr(), "mxjob shim: {text}");
}

fn run(dir: &AttemptDir) -> io::Result<()> {
    let spec =
        dir.spec().ok_or_else(|| io::Error::other("cannot read spec.json of the attempt"))?;
    let Some(_lock) = lock(dir)? else { return Ok(()) };
    if dir.exit().is_some() || dir.run().is_some() {
        // Another shim ran this attempt; no attempt is run twice.
        return Ok(());
    }
    let pid = getpid();
    // Fails only for the leader of a process group, which serves as well.
    let _ = setsid();
    set_child_subreaper(Some(pid))?;
    let signals = SignalFd::open(
        &[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT],
        &[libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGPIPE],
    )?;
    let mut run = RunRecord {
        shim: pid.as_raw_nonzero().get(),
        shim_start: proc::start_time(pid).unwrap_or_default(),
        pid: None,
        started_at: None,
    };
    dir.write_run(&run)?;
    // Best effort: some file systems cannot reserve space.
    let _ = dir.reserve_exit();

    let mut output = Output::open(dir, spec.log)?;
    let (stdout, stderr) = (output_pipe()?, output_pipe()?);
    let (failure, failure_writer) = pipe_with(PipeFlags::CLOEXEC)?;
    let passage = spec.intercept.map(|_| Passage::new()).transpose()?;
    let started_at = clock::now();
    let program = match fork_single_threaded()? {
        Fork::Child => {
            let failed = child::exec(&spec, pid, stdout.1.as_fd(), stderr.1.as_fd(), passage);
            let text = serde_json::to_vec(&failed).unwrap_or_default();
            let _ = rustix::io::write(&failure_writer, &text);
            exit_now(i32::from(failed.code));
        }
        Fork::Parent(program) => program,
    };
    drop((stdout.1, stderr.1, failure_writer));
    output.attach(stdout.0, stderr.0)?;
    let failure = read_failure(failure)?;
    let calls = match (passage, spec.intercept) {
        (Some(passage), Some(address)) => passage.calls(address)?,
        _ => None,
    };

    if failure.is_none() {
        run.pid = Some(program.as_raw_nonzero().get());
        run.started_at = Some(started_at);
        // The program keeps running: the first record, which claims the attempt, is on disk.
        if let Err(error) = dir.write_run(&run) {
            report(&format!("cannot record the id of the program: {error}"));
        }
        notify_ready();
    }
    let mut supervisor = Supervisor::new(dir, &spec, program, signals, output, calls);
    let mut exit = supervisor.run(started_at)?;
    if let Some(failure) = &failure {
        exit = ExitRecord::not_started(
            i32::from(failure.code),
            ExitReason::StartError,
            failure.message.clone(),
            exit.finished_at,
        );
    }
    dir.write_exit(&exit)?;
    remove_cgroups(&spec);
    if failure.is_some() {
        notify_ready();
    }
    Ok(())
}

/// `None` if another shim has taken the attempt.
fn lock(dir: &AttemptDir) -> io::Result<Option<File>> {
    match dir.lock(false) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        result => return result.map(Some),
    }
    if dir.run().is_some() {
        return Ok(None);
    }
    // A process that checks the lock holds it for a moment.
    dir.lock(true).map(Some)
}

fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe_with(PipeFlags::CLOEXEC)?)
}

/// Exec closes the pipe, so no output means that the program runs.
fn read_failure(pipe: OwnedFd) -> io::Result<Option<Failure>> {
    let mut text = Vec::new();
    File::from(pipe).read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&text).unwrap_or_else(|_| Failure {
        code: child::SETUP_FAILED,
        message: "cannot set up the container".to_owned(),
    })))
}

/// Notifies the agent, which may have ended.
fn notify_ready() {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(READY);
    let _ = stdout.flush();
}

fn remove_cgroups(spec: &Spec) {
    // Best effort: the agent removes what is left with the pod.
    let _ = cgroup::remove_all(spec.cgroup.as_deref(), &spec.groups);
}
