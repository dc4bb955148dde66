//! Servers as child processes, kubectl, and waiting for other processes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The program under test.
pub(crate) const MXJOB: &str = env!("CARGO_BIN_EXE_mxjob");
/// Maximum wait: long enough for a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// Waits until `look` returns a value. `what` completes "waited until …" in the failure message.
#[allow(clippy::disallowed_methods, reason = "other processes send no events to wait for")]
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "timed out: waited until {what}");
        std::thread::sleep(POLL);
    }
}

/// The folder of a test. At the end the processes of its pods are ended and the folder is deleted.
pub(crate) struct Place {
    dir: TempDir,
    /// What a shell does before it becomes our program, such as `umask 022`.
    before: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// A folder in which `mxjob` is started with this umask.
    pub(crate) fn with_umask(umask: &'static str) -> Self {
        Self::with(&format!("umask {umask};"))
    }

    /// One where `mxjob` may open so many files and no more.
    pub(crate) fn with_open_files(count: u64) -> Self {
        Self::with(&format!("ulimit -n {count};"))
    }

    fn with(before: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("mxjob-it-").tempdir().unwrap();
        Self { dir, before: before.to_owned() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs `mxjob` with arguments to its end.
    pub(crate) fn mxjob(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    /// Starts a program with its standard error in a file.
    pub(crate) fn start(&self, mut command: Command) -> Lines {
        let stderr = File::create(self.path().join("stderr")).unwrap();
        Lines::of(command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap())
    }

    /// The standard error of the program that was started last.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.path().join("stderr")).unwrap()
    }

    /// `mxjob` with arguments, without the variables of the environment that it reads.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(if self.before.is_empty() { MXJOB } else { "/bin/sh" });
        if !self.before.is_empty() {
            command.args(["-c", &format!("{} exec \"$0\" \"$@\"", self.before), MXJOB]);
        }
        command.args(args).stdin(Stdio::null()).current_dir(self.path());
        for name in ["MXJOB_DATA_DIR", "MXJOB_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// The processes with this folder in their command line or environment: the server, shims and
    /// pods.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let needle = self.path().display().to_string();
        let mentions = |file: PathBuf| {
            // The files of a process that has just ended cannot be read.
            let bytes = fs::read(file).unwrap_or_default();
            bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
        };
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let is_ours = pid == i32::try_from(std::process::id()).unwrap();
            if !is_ours
                && (mentions(entry.path().join("cmdline"))
                    || mentions(entry.path().join("environ")))
            {
                found.push(pid);
            }
        }
        found
    }

    /// Waits until no process of this folder is left.
    pub(crate) fn wait_until_nothing_runs(&self) {
        wait_until("no process is left", || self.processes().is_empty().then_some(()));
    }

    /// Waits until the server is the only process of this folder.
    pub(crate) fn wait_until_only_the_server_runs(&self, server: &Server<'_>) {
        wait_until("only the server is left", || (self.processes() == [server.id()]).then_some(()));
    }

    /// A job of shell scripts. `$PLACE` in them is this folder.
    pub(crate) fn job(&self, name: &str, scheduler: &str, server: &str, worker: &str) -> Value {
        let replica = |count: u32, script: &str| {
            json!({"replicas": count, "restartPolicy": "Never", "template": {"spec": {"containers": [{
                "name": "mxnet", "image": "none",
                "command": ["/bin/sh", "-c", script],
                "env": [{"name": "PLACE", "value": self.path()}],
            }]}}})
        };
        json!({
            "apiVersion": "kubeflow.org/v1", "kind": "MXJob", "metadata": {"name": name},
            "spec": {"cleanPodPolicy": "None", "mxReplicaSpecs": {
                "Scheduler": replica(1, scheduler), "Server": replica(1, server), "Worker": replica(2, worker),
            }},
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Ends pods that a failed test has left.
        if self.data().exists() {
            let data = self.data().display().to_string();
            let _ = self.command(&["down", "--grace", "0", "--data-dir", &data]).output();
        }
    }
}

/// A shell command that waits until a file exists.
pub(crate) fn until(file: &str) -> String {
    format!("while [ ! -e \"$PLACE/{file}\" ]; do sleep 0.02; done")
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// Checks of a text, with the text in the failure message.
pub(crate) trait Text {
    fn must_contain(&self, part: &str);
    fn must_start_with(&self, start: &str);
    fn must_end_with(&self, end: &str);
}

impl Text for str {
    #[track_caller]
    fn must_contain(&self, part: &str) {
        assert!(self.contains(part), "{self:?} must contain {part:?}");
    }

    #[track_caller]
    fn must_start_with(&self, start: &str) {
        assert!(self.starts_with(start), "{self:?} must start with {start:?}");
    }

    #[track_caller]
    fn must_end_with(&self, end: &str) {
        assert!(self.ends_with(end), "{self:?} must end with {end:?}");
    }
}

/// A running server. Its pods are ended with its [`Place`].
pub(crate) struct Server<'a> {
    place: &'a Place,
    child: Child,
}

impl<'a> Server<'a> {
    /// Starts `mxjob up` on a free port and waits until it is ready.
    pub(crate) fn up(place: &'a Place) -> Self {
        Self::start(place, "up", &[])
    }

    /// Starts a server command with arguments and waits until it is ready.
    pub(crate) fn start(place: &'a Place, command: &str, args: &[&str]) -> Self {
        let data = place.data().display().to_string();
        // The kubeconfig of an earlier server must not count as a sign of readiness.
        let _ = fs::remove_file(place.data().join("kubeconfig"));
        let log = File::create(place.path().join("server.err")).unwrap();
        let out = File::create(place.path().join("server.out")).unwrap();
        let mut words = vec![command, "--data-dir", &data];
        if !args.contains(&"--listen") {
            words.extend(["--listen", "127.0.0.1:0"]);
        }
        words.extend(args);
        let mut child = place.command(&words).stdout(out).stderr(log).spawn().unwrap();
        let ready = place.data().join("kubeconfig");
        wait_until("the server is ready", || {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the server ended: {}",
                fs::read_to_string(place.path().join("server.err")).unwrap()
            );
            ready.exists().then_some(())
        });
        Self { place, child }
    }

    pub(crate) fn id(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// The address, for `--listen` of a later server.
    pub(crate) fn address(&self) -> String {
        let kubeconfig = fs::read_to_string(self.place.data().join("kubeconfig")).unwrap();
        let (_, rest) = kubeconfig.split_once("https://").unwrap();
        rest.chars()
            .take_while(|&char| char == '.' || char == ':' || char.is_ascii_digit())
            .collect()
    }

    /// Its standard error so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("server.err")).unwrap()
    }

    /// Its standard output so far.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(self.place.path().join("server.out")).unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and waits for the end. Returns the status and the log.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        signal(self.id(), "TERM");
        let status = wait_until("the server has stopped", || self.child.try_wait().unwrap());
        (status, self.log())
    }

    /// Waits for the end. Returns the status and the log.
    pub(crate) fn ended(mut self) -> (ExitStatus, String) {
        let status = wait_until("the server has stopped", || self.child.try_wait().unwrap());
        (status, self.log())
    }

    /// Runs kubectl with arguments as the administrator.
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Done {
        Done::of(self.kubectl_command(args).output().unwrap_or_else(|error| no_kubectl(&error)))
    }

    /// Runs kubectl, which must succeed, and returns its output.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let done = self.try_kubectl(args);
        assert!(done.status.success(), "kubectl {args:?}: {done:?}");
        done.stdout
    }

    /// Runs kubectl with an object on standard input.
    pub(crate) fn kubectl_with(&self, args: &[&str], input: &Value) -> Done {
        let mut command = self.kubectl_command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| no_kubectl(&error));
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        Done::of(child.wait_with_output().unwrap())
    }

    pub(crate) fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        // The discovery cache of kubectl is keyed by address, and the server of another test may
        // have had the same port.
        command.arg("--kubeconfig").arg(self.place.data().join("kubeconfig"));
        command.arg("--cache-dir").arg(self.place.path().join("cache")).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Starts kubectl and returns its output line by line.
    pub(crate) fn follow(&self, args: &[&str]) -> Lines {
        let mut command = self.kubectl_command(args);
        Lines::of(command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| no_kubectl(&error)))
    }

    /// Creates an object.
    pub(crate) fn create(&self, object: &Value) {
        let done = self.kubectl_with(&["create", "-f", "-"], object);
        assert!(done.status.success(), "{}", done.stderr);
    }

    /// An object as JSON.
    pub(crate) fn get(&self, kind: &str, name: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])).unwrap()
    }

    /// Waits for a condition of a job to be true.
    pub(crate) fn wait_for(&self, job: &str, condition: &str) {
        self.kubectl(&[
            "wait",
            &format!("mxjob/{job}"),
            &format!("--for=condition={condition}"),
            "--timeout=60s",
        ]);
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn no_kubectl(error: &std::io::Error) -> ! {
    panic!("cannot start kubectl ({error}); `cargo xtask test` installs it")
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: i32, name: &str) {
    let status =
        Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "cannot send {name} to {pid}");
}

/// The output of a child process, line by line. The process is killed at the end.
pub(crate) struct Lines {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    /// The standard output of a child that was started with a pipe for it.
    pub(crate) fn of(mut child: Child) -> Self {
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line that contains a text, and returns it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(LIMIT) else {
                panic!("no line contains {text:?}: {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for the end. Returns the status and all lines.
    pub(crate) fn finish(mut self) -> (ExitStatus, Vec<String>) {
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.seen.push(line);
        }
        let status = wait_until("the program has ended", || self.child.try_wait().unwrap());
        (status, std::mem::take(&mut self.seen))
    }

    pub(crate) fn id(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code of a process that no signal ended.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()))
}
