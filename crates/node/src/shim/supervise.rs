//! Supervises a started program: its output, signals, its end, and the processes that it leaves.

use std::{
    io,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait},
};

use super::{intercept::Calls, output::Output};
use crate::{
    cgroup, clock, proc,
    state::{AttemptDir, ExitReason, ExitRecord, Spec, UsedRecord},
    sys::process::{SignalFd, use_of_children},
};

/// How long to wait for output after the end of the program while another process holds the pipes
/// open.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

/// How long killed processes may take to end. After that the end of the container is recorded
/// without them.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Supervisor<'a> {
    dir: &'a AttemptDir,
    spec: &'a Spec,
    program: Pid,
    signals: SignalFd,
    output: Output,
    /// System calls that the shim answers.
    calls: Option<Calls>,
    status: Option<WaitStatus>,
    /// The end of the grace period.
    kill_at: Option<Instant>,
    oom_kills: u64,
}

impl<'a> Supervisor<'a> {
    pub(super) fn new(
        dir: &'a AttemptDir,
        spec: &'a Spec,
        program: Pid,
        signals: SignalFd,
        output: Output,
        calls: Option<Calls>,
    ) -> Self {
        let oom_kills = spec.groups.oom_kills();
        Self { dir, spec, program, signals, output, calls, status: None, kill_at: None, oom_kills }
    }

    /// Supervises the program until it ends, and kills the processes that it leaves.
    pub(super) fn run(&mut self, started_at: Timestamp) -> io::Result<ExitRecord> {
        while self.status.is_none() {
            let timeout = self.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
            self.poll_once(timeout)?;
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                self.kill_at = None;
                self.kill();
            }
        }
        let finished_at = clock::now();
        let drained = Instant::now() + DRAIN_TIMEOUT;
        while !self.output.ended() {
            let left = drained.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.poll_once(Some(left))?;
        }
        let unkillable = self.kill_survivors()?;
        self.output.finish();
        Ok(self.record(started_at, finished_at, unkillable))
    }

    /// Waits for a signal, output or the timeout, and handles it.
    fn poll_once(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.and_then(|limit| Timespec::try_from(limit).ok());
        let mut fds = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        fds.extend(
            self.calls.iter().map(|calls| PollFd::from_borrowed_fd(calls.as_fd(), PollFlags::IN)),
        );
        self.output.poll_fds(&mut fds);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let call = fds.get(1).map_or(PollFlags::empty(), PollFd::revents);
        drop(fds);
        if self.calls.as_ref().is_some_and(|calls| !calls.handle(call)) {
            self.calls = None;
        }
        while let Some(signal) = self.signals.next() {
            if signal != libc::SIGCHLD {
                self.terminate();
            }
        }
        self.output.read_once();
        self.reap();
        Ok(())
    }

    /// Reaps ended children: the program and processes that were re-parented to the shim.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.program {
                self.status = Some(status);
            }
        }
    }

    fn terminate(&mut self) {
        let grace = self.dir.stop_request().unwrap_or(self.spec.grace_seconds);
        let kill_at = Instant::now() + Duration::from_secs(grace.min(u64::from(u32::MAX)));
        // A second request can only shorten the grace period.
        let first = self.kill_at.is_none();
        self.kill_at = Some(self.kill_at.map_or(kill_at, |at| at.min(kill_at)));
        if first && grace > 0 {
            match &self.spec.cgroup {
                Some(folder) => cgroup::signal(folder, Signal::TERM),
                None => signal_descendants(Signal::TERM),
            }
        }
    }

    fn kill(&self) {
        match &self.spec.cgroup {
            Some(folder) => cgroup::kill(folder),
            None => signal_descendants(Signal::KILL),
        }
    }

    /// Kills the processes that the program left. Returns those that did not end.
    fn kill_survivors(&mut self) -> io::Result<Vec<i32>> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        loop {
            self.reap();
            let survivors = self.survivors();
            if survivors.is_empty() || Instant::now() >= deadline {
                return Ok(survivors.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect());
            }
            self.kill();
            // The end of a child causes SIGCHLD. The short timeout is for processes that are not
            // children (yet).
            self.poll_once(Some(Duration::from_millis(10)))?;
        }
    }

    fn survivors(&self) -> Vec<Pid> {
        match &self.spec.cgroup {
            Some(folder) if cgroup::is_empty(folder) => Vec::new(),
            Some(folder) => cgroup::processes(folder),
            None => proc::descendants(getpid(), 0),
        }
    }

    fn record(
        &self,
        started_at: Timestamp,
        finished_at: Timestamp,
        unkillable: Vec<i32>,
    ) -> ExitRecord {
        let code = self.status.and_then(WaitStatus::exit_status);
        let signal = self.status.and_then(WaitStatus::terminating_signal);
        let out_of_memory = self.spec.groups.oom_kills() > self.oom_kills;
        let reason = match code {
            _ if out_of_memory => ExitReason::OOMKilled,
            Some(0) => ExitReason::Completed,
            _ => ExitReason::Error,
        };
        ExitRecord {
            code,
            signal,
            reason,
            message: self.output.last_line().filter(|_| reason != ExitReason::Completed),
            started_at: Some(started_at),
            finished_at,
            dropped_log_lines: self.output.dropped(),
            unkillable,
            used: used().ok(),
        }
    }
}

/// All processes of the container are children of the shim in the end.
fn used() -> io::Result<UsedRecord> {
    let (cpu, peak_memory) = use_of_children()?;
    Ok(UsedRecord { cpu_millis: u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX), peak_memory })
}

fn signal_descendants(signal: Signal) {
    for pid in proc::descendants(getpid(), 0) {
        let _ = kill_process(pid, signal);
    }
}
