//! One pod on the machine, and the attempts to run its containers.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    net::Ipv4Addr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{self, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    Error, Running,
    lost::{KILL_TIMEOUT, end_lost},
    shared::Shared,
    stop,
};
use crate::{
    cgroup, hosts,
    state::{
        AttemptDir, Bind, DnsLabel, ExitRecord, PodDir, PodRecord, ResourceLimits, Security, Spec,
    },
    sys::bpf,
    volumes,
};

/// How long to wait for a shim to report. One that takes longer is stuck in the kernel; the attempt
/// continues.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A prepared pod.
#[derive(Debug, Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
    record: PodRecord,
    dir: PodDir,
}

/// The program of a container: the part of a spec that the sandbox does not know.
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
    /// Mounts. Those with shorter paths are mounted first.
    pub binds: Vec<Bind>,
    /// What it may use.
    pub limits: ResourceLimits,
    /// What the program may do.
    pub security: Security,
    /// The host name inside, if it is not the pod's name.
    pub host_name: Option<String>,
    /// Default seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
}

/// The state of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// No program was run, so it may be started.
    NotStarted,
    /// Its shim runs.
    Running(Running),
    /// It has ended.
    Ended(ExitRecord),
}

impl Sandbox {
    pub(super) fn prepare(
        shared: Arc<Shared>,
        mut record: PodRecord,
        hosts: &str,
    ) -> Result<Self, Error> {
        let dir = PodDir::new(&shared.state_dir, &record.uid);
        if let Some(known) = dir.record() {
            let sandbox = Self::existing(shared, known);
            // The cgroups of a pod do not survive a reboot.
            sandbox.make_cgroups()?;
            sandbox.write_hosts(hosts)?;
            return Ok(sandbox);
        }
        let cgroups = shared.isolation.cgroups().of_pod(record.uid.as_str());
        (record.cgroup, record.groups) = cgroups;
        let sandbox = Self { shared, record, dir };
        let path = sandbox.dir.path();
        fs::create_dir_all(path).map_err(|error| sandbox.failed("create its folder", error))?;
        sandbox.make_cgroups()?;
        sandbox.write_hosts(hosts)?;
        // Written last: a pod with a record is complete.
        sandbox
            .dir
            .write_record(&sandbox.record)
            .map_err(|error| sandbox.failed("write its record", error))?;
        Ok(sandbox)
    }

    pub(super) fn existing(shared: Arc<Shared>, record: PodRecord) -> Self {
        let dir = PodDir::new(&shared.state_dir, &record.uid);
        Self { shared, record, dir }
    }

    /// The record of the pod.
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

    /// Replaces the content of the pod's hosts file. Running containers see the change immediately.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_hosts(&self, content: &str) -> Result<(), Error> {
        hosts::write_in_place(&self.dir.hosts(), content)
            .map_err(|error| self.failed("write its hosts file", error))
    }

    fn make_cgroups(&self) -> Result<(), Error> {
        if let Some(folder) = &self.record.cgroup {
            self.make_cgroup(folder)?;
        }
        let PodRecord { groups, limits, .. } = &self.record;
        groups.create(limits).map_err(|error| self.failed("limit its resources", error))?;
        groups.pass_on();
        Ok(())
    }

    fn make_cgroup(&self, folder: &Path) -> Result<(), Error> {
        if folder.exists() {
            return Ok(());
        }
        mxjob_files::public_dir(folder).map_err(|error| self.failed("create its cgroup", error))?;
        if self.shared.isolation.has_network_programs() && !self.record.host_network {
            bpf::attach_address(folder, self.record.address)
                .map_err(|error| self.failed("assign its address", error))?;
        }
        Ok(())
    }

    /// Runs an attempt, or finds it if it was run before. Blocks until the program runs or has
    /// failed to start (some milliseconds). Needs a tokio runtime.
    ///
    /// # Errors
    /// When the attempt cannot be recorded or its shim cannot be started. A program that cannot be
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
        let failed =
            |action, source| Error::Shim { container: container.to_string(), action, source };
        let dir = self.dir.attempt(container, attempt);
        let (cgroup, groups) = self.record.cgroups_of(container, attempt);
        // The pod's own cgroups, and its address with them, do not survive a reboot.
        self.make_cgroups()?;
        if let Some(folder) = &cgroup {
            mxjob_files::public_dir(folder)
                .map_err(|source| failed("create its cgroup", source))?;
        }
        groups.create(&command.limits).map_err(|source| failed("limit its resources", source))?;
        groups.kill_together();
        let mut binds = command.binds;
        self.add_shared_memory(&mut binds)
            .map_err(|source| failed("create its shared memory", source))?;
        let spec = Spec {
            pod: self.record.name.clone(),
            host_name: command.host_name,
            argv: command.argv,
            env: command.env,
            cwd: command.cwd,
            user: command.user,
            group: command.group,
            hosts: self.shared.isolation.has_mounts().then(|| self.dir.hosts()),
            binds,
            user_namespace: self.shared.isolation.needs_user_namespace(),
            intercept: self.intercepted(),
            security: command.security,
            cgroup,
            groups,
            grace_seconds: command.grace_seconds,
            umask: self.shared.shim.umask,
            log: self.shared.shim.log,
            boot_id: self.shared.boot_id.clone(),
        };
        dir.write_spec(&spec).map_err(|source| failed("write the spec", source))?;
        let child = self.spawn(&dir).map_err(|source| failed("spawn its process", source))?;
        if let Some(exit) = dir.exit() {
            // The shim is about to end, and must be reaped.
            let mut child = child;
            let _ = child.wait();
            return Ok(Attempt::Ended(exit));
        }
        match Running::attach(container.as_str(), dir, Some(child)) {
            Ok(Some(running)) => Ok(Attempt::Running(running)),
            Ok(None) => self.find(container, attempt),
            Err(source) => Err(failed("watch its process", source)),
        }
    }

    /// The address that the shim holds.
    fn intercepted(&self) -> Option<Ipv4Addr> {
        let needed = self.shared.isolation.needs_interception() && !self.record.host_network;
        needed.then_some(self.record.address)
    }

    /// Adds the pod's own shared memory, unless the container mounts something else there.
    fn add_shared_memory(&self, binds: &mut Vec<Bind>) -> io::Result<()> {
        let target = Path::new(volumes::SHARED_MEMORY);
        if !self.shared.isolation.has_mounts() || binds.iter().any(|bind| bind.target == target) {
            return Ok(());
        }
        let source = match volumes::shared_memory(&self.record.uid) {
            // The machine has no shared memory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            source => source?,
        };
        binds.push(Bind { source, sub_path: None, target: target.to_owned(), read_only: false });
        Ok(())
    }

    /// Spawns the shim. The standard library uses `posix_spawn` and not fork: this process may be
    /// large.
    fn spawn(&self, dir: &AttemptDir) -> io::Result<process::Child> {
        let shim = &self.shared.shim;
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
            let timeout = Timespec::try_from(READY_TIMEOUT).ok();
            let mut fds = [PollFd::from_borrowed_fd(ready.as_fd(), PollFlags::IN)];
            if matches!(poll(&mut fds, timeout.as_ref()), Ok(1..)) {
                // The shim is ready or has failed; the files in the folder tell which.
                let _ = ready.read(&mut [0; 16]);
            }
        }
        Ok(child)
    }

    /// The state of an attempt. A lost one is cleaned up and recorded as lost.
    ///
    /// # Errors
    /// When that record cannot be written.
    pub fn find(&self, container: &DnsLabel, attempt: u32) -> Result<Attempt, Error> {
        let dir = self.dir.attempt(container, attempt);
        if let Some(exit) = dir.exit() {
            return Ok(Attempt::Ended(exit));
        }
        let Some(spec) = dir.spec() else { return Ok(Attempt::NotStarted) };
        if spec.boot_id == self.shared.boot_id {
            let watched = Running::attach(container.as_str(), dir.clone(), None)
                .map_err(|source| Error::Record { container: container.to_string(), source })?;
            if let Some(running) = watched {
                return Ok(Attempt::Running(running));
            }
            if let Some(exit) = dir.exit() {
                return Ok(Attempt::Ended(exit));
            }
            if dir.run().is_none() {
                // It has a spec, but no shim took it.
                return Ok(Attempt::NotStarted);
            }
        }
        end_lost(container.as_str(), &dir, &spec).map(Attempt::Ended)
    }

    /// The number of the newest attempt of a container, if there is one.
    #[must_use]
    pub fn newest_attempt(&self, container: &DnsLabel) -> Option<u32> {
        self.dir.attempts(container).last().map(|(number, _)| *number)
    }

    /// Records the end of an attempt that was not run. Returns the record that is kept.
    ///
    /// # Errors
    /// When the record cannot be written.
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

    /// Removes the attempts of a container before `oldest`, including their logs.
    pub fn forget_before(&self, container: &DnsLabel, oldest: u32) {
        for (number, dir) in self.dir.attempts(container) {
            if number < oldest && dir.exit().is_some() {
                let _ = mxjob_files::remove_tree(dir.path());
            }
        }
    }

    /// Kills the processes of the pod and removes its folder and cgroup.
    ///
    /// # Errors
    /// When a process does not end or a folder cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        if !stop::end_pod(&self.dir) {
            let error = io::Error::other("a shim did not end in time");
            return Err(self.failed("stop its containers", error));
        }
        if let Some(folder) = &self.record.cgroup
            && !cgroup::kill_and_wait(folder, KILL_TIMEOUT)
        {
            let error = io::Error::other("a killed process did not end in time");
            return Err(self.failed("kill its processes", error));
        }
        cgroup::remove_all(self.record.cgroup.as_deref(), &self.record.groups)
            .map_err(|error| self.failed("remove its cgroups", error))?;
        volumes::remove_memory(&self.dir, &self.record.uid);
        mxjob_files::remove_tree(self.dir.path())
            .map_err(|error| self.failed("remove its folder", error))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Sandbox {
            namespace: self.record.namespace.clone(),
            name: self.record.name.clone(),
            action,
            source,
        }
    }
}
