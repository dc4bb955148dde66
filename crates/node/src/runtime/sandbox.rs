//! One pod's place on the machine, and the attempts to run its containers there.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    path::PathBuf,
    process::{self, Stdio},
    time::Duration,
};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Error, Running, Runtime};
use crate::{
    cgroup, hosts,
    state::{AttemptDir, Bind, DnsLabel, ExitRecord, PodDir, PodRecord, Spec},
    stop,
    sys::bpf,
};

/// A shim that says nothing for so long is stuck in the kernel; the attempt goes on without its word.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// How long the killed processes of a lost shim may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A prepared pod.
#[derive(Debug, Clone)]
pub struct Sandbox {
    runtime: Runtime,
    record: PodRecord,
    dir: PodDir,
}

/// What to run in a container: the part of a spec that the sandbox does not know itself.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// User to run as.
    pub user: Option<u32>,
    /// Group to run as.
    pub group: Option<u32>,
    /// Mounts, in order.
    pub binds: Vec<Bind>,
    /// Seconds between SIGTERM and SIGKILL when nobody says otherwise.
    pub grace_seconds: u64,
}

/// What is known about an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// Nothing was run yet, so it may be started.
    NotStarted,
    /// Its shim lives.
    Running(Running),
    /// It is over.
    Ended(ExitRecord),
}

impl Sandbox {
    pub(super) fn prepare(
        runtime: Runtime,
        mut record: PodRecord,
        hosts: &str,
    ) -> Result<Self, Error> {
        let dir = PodDir::new(runtime.state_dir(), &record.uid);
        if let Some(known) = dir.record() {
            let sandbox = Self::existing(runtime, known);
            // A pod of before the last boot has lost its group.
            sandbox.make_cgroup()?;
            sandbox.write_hosts(hosts)?;
            return Ok(sandbox);
        }
        record.cgroup = runtime.isolation().cgroup_of(&record.uid);
        let sandbox = Self { runtime, record, dir };
        let path = sandbox.dir.path();
        fs::create_dir_all(path).map_err(|error| sandbox.failed("make its folder", error))?;
        sandbox.make_cgroup()?;
        sandbox.write_hosts(hosts)?;
        // Last: a pod with a record is complete.
        sandbox
            .dir
            .write_record(&sandbox.record)
            .map_err(|error| sandbox.failed("write its record", error))?;
        Ok(sandbox)
    }

    pub(super) fn existing(runtime: Runtime, record: PodRecord) -> Self {
        let dir = PodDir::new(runtime.state_dir(), &record.uid);
        Self { runtime, record, dir }
    }

    /// Which pod this is.
    #[must_use]
    pub const fn record(&self) -> &PodRecord {
        &self.record
    }

    /// The pod's address.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        self.record.address
    }

    /// The pod's folder.
    #[must_use]
    pub const fn dir(&self) -> &PodDir {
        &self.dir
    }

    /// Replaces the content of the pod's hosts file; running containers see it at once.
    ///
    /// # Errors
    /// What the system says about the file.
    pub fn write_hosts(&self, content: &str) -> Result<(), Error> {
        hosts::write_in_place(&self.dir.hosts(), content)
            .map_err(|error| self.failed("write its hosts file", error))
    }

    fn make_cgroup(&self) -> Result<(), Error> {
        let Some(folder) = &self.record.cgroup else { return Ok(()) };
        if folder.exists() {
            return Ok(());
        }
        mxjob_files::public_dir(folder).map_err(|error| self.failed("make its cgroup", error))?;
        if self.runtime.isolation().owns_addresses() && !self.record.host_network {
            bpf::attach_address(folder, self.record.address)
                .map_err(|error| self.failed("give it its address", error))?;
        }
        Ok(())
    }

    /// Runs an attempt, unless it was run already; then this finds it. Blocks until the program runs, or is known
    /// not to (some milliseconds). Needs a tokio runtime around it.
    ///
    /// # Errors
    /// When the attempt cannot be written down or its shim not be started. A program that cannot be
    /// started is not an error but an attempt that has ended.
    pub fn start(
        &self,
        container: &DnsLabel,
        attempt: u32,
        command: Command,
    ) -> Result<Attempt, Error> {
        match self.find(container, attempt)? {
            Attempt::NotStarted => {}
            found => return Ok(found),
        }
        let failed = |what, source| Error::Shim { container: container.to_string(), what, source };
        let dir = self.dir.attempt(container, attempt);
        let cgroup =
            self.record.cgroup.as_ref().map(|pod| pod.join(format!("{container}.{attempt}")));
        // The pod's own group is gone after a new start of the machine, and its address with it.
        self.make_cgroup()?;
        if let Some(folder) = &cgroup {
            mxjob_files::public_dir(folder).map_err(|source| failed("make its cgroup", source))?;
        }
        let spec = Spec {
            pod: self.record.name.clone(),
            argv: command.argv,
            env: command.env,
            cwd: command.cwd,
            user: command.user,
            group: command.group,
            hosts: self.runtime.isolation().has_mounts().then(|| self.dir.hosts()),
            binds: command.binds,
            cgroup,
            grace_seconds: command.grace_seconds,
            umask: self.runtime.inner.shim.umask,
            boot_id: self.runtime.inner.boot_id.clone(),
        };
        dir.write_spec(&spec).map_err(|source| failed("write the spec", source))?;
        let child = self.spawn(&dir).map_err(|source| failed("spawn it", source))?;
        if let Some(exit) = dir.exit() {
            // Over already: reap the shim, which is about to end.
            let mut child = child;
            let _ = child.wait();
            return Ok(Attempt::Ended(exit));
        }
        match Running::attach(container.as_str(), dir, Some(child)) {
            Ok(Some(running)) => Ok(Attempt::Running(running)),
            Ok(None) => self.find(container, attempt),
            Err(source) => Err(failed("watch it", source)),
        }
    }

    /// `posix_spawn`, never fork: this process may be large and has many threads.
    fn spawn(&self, dir: &AttemptDir) -> io::Result<process::Child> {
        let shim = &self.runtime.inner.shim;
        let errors = File::create(dir.shim_errors())?;
        let mut child = process::Command::new(&shim.program)
            .args(&shim.args)
            .arg("--state")
            .arg(dir.path())
            .env_clear()
            .envs(shim.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        if let Some(mut ready) = child.stdout.take() {
            let timeout = Timespec::try_from(READY_LIMIT).ok();
            let mut fds = [PollFd::from_borrowed_fd(ready.as_fd(), PollFlags::IN)];
            if matches!(poll(&mut fds, timeout.as_ref()), Ok(1..)) {
                // One word or the end of a shim that failed; both are seen in the folder.
                let _ = ready.read(&mut [0; 16]);
            }
        }
        Ok(child)
    }

    /// What is known about an attempt. A lost one is cleaned up and recorded as lost.
    ///
    /// # Errors
    /// When that record cannot be written.
    pub fn find(&self, container: &DnsLabel, attempt: u32) -> Result<Attempt, Error> {
        let dir = self.dir.attempt(container, attempt);
        if let Some(exit) = dir.exit() {
            return Ok(Attempt::Ended(exit));
        }
        let Some(spec) = dir.spec() else { return Ok(Attempt::NotStarted) };
        if spec.boot_id == self.runtime.inner.boot_id {
            let watched = Running::attach(container.as_str(), dir.clone(), None)
                .map_err(|source| Error::Record { container: container.to_string(), source })?;
            if let Some(running) = watched {
                return Ok(Attempt::Running(running));
            }
            if let Some(exit) = dir.exit() {
                return Ok(Attempt::Ended(exit));
            }
            if dir.run().is_none() {
                // Written down, but no shim ever took it.
                return Ok(Attempt::NotStarted);
            }
        }
        end_lost(container.as_str(), &dir, &spec).map(Attempt::Ended)
    }

    /// The newest attempt of a container that was written down, if any.
    #[must_use]
    pub fn newest_attempt(&self, container: &DnsLabel) -> Option<u32> {
        self.dir.attempts(container).last().map(|(number, _)| *number)
    }

    /// Writes down that an attempt ended without having been run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record_end(
        &self,
        container: &DnsLabel,
        attempt: u32,
        exit: &ExitRecord,
    ) -> Result<ExitRecord, Error> {
        self.dir
            .attempt(container, attempt)
            .write_exit(exit)
            .map_err(|source| Error::Record { container: container.to_string(), source })
    }

    /// Removes the attempts of a container before `oldest`, logs and all.
    pub fn forget_before(&self, container: &DnsLabel, oldest: u32) {
        for (number, dir) in self.dir.attempts(container) {
            if number < oldest && dir.exit().is_some() {
                let _ = fs::remove_dir_all(dir.path());
            }
        }
    }

    /// Kills what is left of the pod and removes its folder and cgroup.
    ///
    /// # Errors
    /// When a process would not die or a folder cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        if !stop::end_pod(&self.dir) {
            let error = io::Error::other("a shim does not end");
            return Err(self.failed("stop its containers", error));
        }
        if let Some(folder) = &self.record.cgroup {
            if !cgroup::kill_and_wait(folder, KILL_LIMIT) {
                let error = io::Error::other("a process cannot be killed");
                return Err(self.failed("kill its processes", error));
            }
            cgroup::remove(folder).map_err(|error| self.failed("remove its cgroup", error))?;
        }
        crate::volumes::remove_shared_memory(&self.record.uid);
        match fs::remove_dir_all(self.dir.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove its folder", error))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &'static str, source: io::Error) -> Error {
        Error::Sandbox {
            namespace: self.record.namespace.clone(),
            name: self.record.name.clone(),
            what,
            source,
        }
    }
}

/// Ends an attempt whose shim is gone without having recorded an end: kills what is left, and says so.
pub(super) fn end_lost(
    container: &str,
    dir: &AttemptDir,
    spec: &Spec,
) -> Result<ExitRecord, Error> {
    let run = dir.run();
    if spec.boot_id == crate::state::boot_id() {
        match &spec.cgroup {
            Some(folder) => {
                cgroup::kill_and_wait(folder, KILL_LIMIT);
                let _ = cgroup::remove(folder);
            }
            None => kill_session(run.as_ref().and_then(|run| run.pid)),
        }
    }
    let exit = ExitRecord::lost(run.and_then(|run| run.started_at), Timestamp::now());
    dir.write_exit(&exit)
        .map_err(|source| Error::Record { container: container.to_owned(), source })
}

/// Without cgroups the best that can be done: the program died with its shim, but not what it started in its session.
fn kill_session(program: Option<i32>) {
    let Some(program) = program.and_then(rustix::process::Pid::from_raw) else { return };
    for pid in crate::proc::descendants(program, program.as_raw_nonzero().get()) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
