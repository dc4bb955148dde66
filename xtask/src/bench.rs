//! `bench`: measures the promised figures, each beside a reference from the same run, and writes
//! the reference page.
//!
//! Absolute figures depend on the machine; compare the ratios of two runs.

mod disk;
mod flow;
mod job;
mod page;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::interrupt::Flag;
use crate::run;
use crate::server::Server;

/// The build profile of the measured programs.
const PROFILE: &str = "release-fast";
/// Odd, so that the median is one of the runs.
const STARTS: usize = 11;
const JOBS: usize = 11;
/// After this time the memory of an idle server is stable.
const SETTLE: Duration = Duration::from_secs(3);
/// Connections of the replace load.
const CONNECTIONS: &[usize] = &[1, 16, 64];
/// The first user is exempt from flow control.
const TOKENS: &str = "bench,bench,1,\"system:masters\"\ncontrolled,controlled,2,\"bench\"\n";
/// Turns with flow control.
const FLOW_ROUNDS: usize = 21;

/// Programs and folders of a run.
#[derive(Debug)]
struct Bench {
    mxjob: PathBuf,
    loadgen: PathBuf,
    /// On the disk that is measured.
    folder: PathBuf,
}

/// Measures everything. `--quick` takes a tenth of the time and writes no file.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let quick = match arguments {
        [] => false,
        [one] if one == "--quick" => true,
        _ => bail!("unknown argument; the only one is --quick"),
    };
    let interrupted = Flag::install()?;
    // `release` without link-time optimization, in a third of its build time.
    run::check(run::cargo().args(["build", "--profile", PROFILE, "--locked"]).args([
        "--package",
        "mxjob",
        "--package",
        "mxjob-loadgen",
    ]))?;
    let binaries = run::target()?.join(PROFILE);
    let folder = run::local().join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let bench = Bench {
        mxjob: binaries.join("mxjob"),
        loadgen: binaries.join("mxjob-loadgen"),
        folder: folder.clone(),
    };
    let outcome = bench.measure(quick, &interrupted);
    std::fs::remove_dir_all(&folder)
        .with_context(|| format!("cannot remove {}", folder.display()))?;
    let page = page::markdown(&outcome?);
    println!("{page}");
    if !quick {
        let path = run::root().join("docs/reference/benchmarks.md");
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The measured figures.
#[derive(Debug)]
struct Figures {
    start: Duration,
    idle_kib: u64,
    job: job::Figures,
    replaces: Vec<Replaces>,
    flow: flow::Figures,
    binary_bytes: u64,
}

/// Durable replaces over one number of connections, beside the disk's own rate.
#[derive(Debug)]
struct Replaces {
    connections: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Appends with fdatasync a second, the mean of before and after.
    disk_per_second: f64,
}

impl Bench {
    fn measure(&self, quick: bool, interrupted: &Flag) -> Result<Figures> {
        let binary_bytes =
            std::fs::metadata(&self.mxjob).context("cannot find the mxjob binary")?.len();
        eprintln!("start to ready …");
        let (start, idle_kib) = self.start(if quick { 3 } else { STARTS })?;
        interrupted.check()?;
        eprintln!("from POST to the last process …");
        let job = job::measure(self, if quick { 3 } else { JOBS }, interrupted)?;
        let seconds = if quick { 1 } else { 10 };
        let mut replaces = Vec::new();
        let server = self.server("apiserver", "replaces")?;
        self.load(&server, "bench", "create", &["--object", &self.object()?, "--conns", "8"])?;
        let mut before =
            disk::appends_per_second(&self.folder, Duration::from_secs(seconds.min(3)))?;
        for connections in CONNECTIONS {
            interrupted.check()?;
            eprintln!("durable replaces, {connections} connection(s) …");
            let count = connections.to_string();
            let figures = self.load(
                &server,
                "bench",
                "put",
                &["--conns", &count, "--seconds", &seconds.to_string(), "--warmup", "1"],
            )?;
            let after =
                disk::appends_per_second(&self.folder, Duration::from_secs(seconds.min(3)))?;
            replaces.push(Replaces {
                connections: *connections,
                per_second: number(&figures["per_second"])?,
                p50_ms: number(&figures["p50_ms"])?,
                p99_ms: number(&figures["p99_ms"])?,
                disk_per_second: f64::midpoint(before, after),
            });
            before = after;
        }
        server.stop()?;
        eprintln!("reads with and without flow control …");
        let rounds = if quick { 3 } else { FLOW_ROUNDS };
        let flow = flow::measure(self, rounds, seconds.min(2), interrupted)?;
        Ok(Figures { start, idle_kib, job, replaces, flow, binary_bytes })
    }

    /// The median time from starting `mxjob up` on an empty data directory until it is ready, and
    /// the memory of the last server when idle.
    fn start(&self, count: usize) -> Result<(Duration, u64)> {
        let mut took = Vec::new();
        let mut idle_kib = 0;
        for round in 0..count {
            let server = self.server("up", &format!("start-{round}"))?;
            took.push(server.start_took);
            if round + 1 == count {
                run::poll(SETTLE, SETTLE, || Ok(None::<()>))?;
                idle_kib = resident_kib(server.id())?;
            }
            server.stop()?;
        }
        Ok((median(&mut took), idle_kib))
    }

    /// Starts `mxjob COMMAND` with a data directory of this name.
    fn server(&self, command: &str, name: &str) -> Result<Server> {
        let tokens = self.folder.join("tokens.csv");
        std::fs::write(&tokens, TOKENS).context("cannot write the token file")?;
        Server::start(
            &self.mxjob,
            &[command, "--token-file", &tokens.to_string_lossy()],
            &self.folder.join(name),
            &self.folder.join(format!("{name}.log")),
        )
    }

    /// Runs the load generator as the user with this token; returns the figures that it prints.
    fn load(
        &self,
        server: &Server,
        token: &str,
        scenario: &str,
        arguments: &[&str],
    ) -> Result<Value> {
        let mut command = run::command(&self.loadgen);
        command.arg(scenario).args(["--url", &server.url, "--token", token]).args(arguments);
        serde_json::from_str(&run::output(&mut command)?)
            .context("the load generator printed no figures")
    }

    /// The object that is replaced, as a file. It has the size of a usual job, about 1.5 KB.
    fn object(&self) -> Result<String> {
        self.write_object("object.json", &["/bin/true"])
    }

    fn write_object(&self, name: &str, command: &[&str]) -> Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, object(command).to_string())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.to_string_lossy().into_owned())
    }
}

/// A job with one scheduler, one server and two workers that run `command`.
fn object(command: &[&str]) -> Value {
    let replicas = |count: u32| {
        json!({
            "replicas": count,
            "restartPolicy": "Never",
            "template": { "spec": { "containers": [{
                "name": "mxnet",
                "image": "mxnet:1.5.1",
                "command": command,
                "env": [{ "name": "OMP_NUM_THREADS", "value": "1" }],
                "ports": [{ "name": "mxjob-port", "containerPort": 9091 }],
                "resources": { "limits": { "cpu": "100m", "memory": "64Mi" } },
            }]}},
        })
    };
    json!({
        "apiVersion": "kubeflow.org/v1",
        "kind": "MXJob",
        "spec": {
            "jobMode": "MXTrain",
            "cleanPodPolicy": "All",
            "ttlSecondsAfterFinished": 10000,
            "mxReplicaSpecs": { "Scheduler": replicas(1), "Server": replicas(1), "Worker": replicas(2) },
        },
    })
}

/// The resident memory of a process.
fn resident_kib(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/status");
    let text =
        std::fs::read_to_string(Path::new(&path)).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number =
        line.and_then(|line| line.split_whitespace().next()).and_then(|word| word.parse().ok());
    number.with_context(|| format!("{path} has no VmRSS"))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("{value} is not a number"))
}
