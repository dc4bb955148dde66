//! A runtime in its own folder, without an API server, and helpers for tests of it.

use std::{
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use mxjob_node::{
    runtime::{Attempt, Command, Error, IsolationMode, Running, Runtime, Sandbox, ShimCommand},
    state::{DnsLabel, ExitRecord, Groups, PodRecord, ResourceLimits},
};

/// A runtime that is cleaned up after the test.
pub(crate) struct Node {
    pub(crate) runtime: Option<Runtime>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) mode: IsolationMode,
    shim: ShimCommand,
}

impl Node {
    pub(crate) fn new(mode: IsolationMode) -> Self {
        Self::with_shim(mode, ShimCommand::current_exe().unwrap())
    }

    /// A runtime that starts its shims with this command.
    pub(crate) fn with_shim(mode: IsolationMode, shim: ShimCommand) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Some(open(dir.path(), mode, &shim));
        Self { runtime, dir, mode, shim }
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Restarts the runtime, as after a crash of the agent.
    pub(crate) fn restart(&mut self) {
        self.runtime = None;
        self.runtime = Some(open(self.dir.path(), self.mode, &self.shim));
    }

    pub(crate) fn pod(&self, name: &str) -> Sandbox {
        self.pod_with_hosts(name, address(), "127.0.0.1 localhost\n")
    }

    pub(crate) fn pod_on_host_network(&self, name: &str) -> Sandbox {
        let record = PodRecord { host_network: true, ..self.record(name, address()) };
        self.runtime().prepare(record, "127.0.0.1 localhost\n").unwrap()
    }

    pub(crate) fn pod_with_hosts(&self, name: &str, address: Ipv4Addr, hosts: &str) -> Sandbox {
        self.runtime().prepare(self.record(name, address), hosts).unwrap()
    }

    pub(crate) fn record(&self, name: &str, address: Ipv4Addr) -> PodRecord {
        // The memory of pods is found by their uid: no two may be the same on the machine.
        let node = self.dir.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.');
        PodRecord {
            namespace: "ns".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}-{node}").parse().unwrap(),
            address,
            host_network: false,
            cgroup: None,
            groups: Groups::default(),
            limits: ResourceLimits::default(),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A failed test may leave running pods.
        let stopped = mxjob_node::stop_all(self.dir.path(), Duration::ZERO);
        let pods = self.runtime.as_ref().map(|runtime| runtime.sandboxes().unwrap_or_default());
        let removed: Result<(), _> = pods.unwrap_or_default().iter().try_for_each(Sandbox::remove);
        if !std::thread::panicking() {
            stopped.unwrap();
            removed.unwrap();
        }
    }
}

fn open(dir: &Path, mode: IsolationMode, shim: &ShimCommand) -> Runtime {
    // A process that another test is starting has a copy of the lock until its exec.
    eventually("the release of the earlier runtime's lock", || {
        match Runtime::open(dir, shim.clone(), mode) {
            Err(Error::InUse { .. }) => None,
            result => Some(result.unwrap()),
        }
    })
}

/// An address that no other test uses: from the process id and a counter.
pub(crate) fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 128 | (high & 0x3f), low, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a test body in a small async runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The name of the only container of the pods in these tests.
pub(crate) fn main() -> DnsLabel {
    "main".parse().unwrap()
}

pub(crate) fn shell(script: &str) -> Command {
    argv(&["/bin/sh", "-c", script])
}

pub(crate) fn argv(words: &[&str]) -> Command {
    Command {
        argv: words.iter().map(|&word| word.to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/".into(),
        grace_seconds: 30,
        ..Command::default()
    }
}

pub(crate) fn start(pod: &Sandbox, command: Command) -> Running {
    match pod.start(&main(), 0, command).unwrap() {
        Attempt::Running(running) => running,
        other => panic!("not running: {other:?}"),
    }
}

/// Runs a command to its end.
pub(crate) fn run(pod: &Sandbox, command: Command) -> ExitRecord {
    block_on(async {
        match pod.start(&main(), 0, command).unwrap() {
            Attempt::Running(running) => running.wait().await.unwrap(),
            Attempt::Ended(exit) => exit,
            Attempt::NotStarted => panic!("not started"),
        }
    })
}

pub(crate) fn log(pod: &Sandbox) -> String {
    fs::read_to_string(pod.dir().attempt(&main(), 0).log()).unwrap()
}

/// The texts of the log, without time, stream and tag.
pub(crate) fn lines(pod: &Sandbox) -> Vec<String> {
    log(pod).lines().map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned()).collect()
}

/// Waits for an action of another process. The timeout only ends a broken test.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::yield_now();
    }
}

/// Whether a process exists and is not a zombie.
pub(crate) fn lives(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

/// A number that the program printed as its n-th line.
pub(crate) fn printed_pid(pod: &Sandbox, line: usize) -> i32 {
    eventually("the output of a process id", || {
        lines(pod).get(line).and_then(|text| text.parse().ok())
    })
}
