//! What the containers of this node use: CPU time and memory, from their cgroups, or else from
//! `/proc`.
//!
//! Nothing is measured while nobody asks. A rate of CPU time needs two samples, so the first answer
//! takes a second. All callers share the samples, of which there is at most one in some seconds.

use std::{
    cell::OnceCell,
    collections::HashMap,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    cgroup, clock,
    proc::{self, Processes},
    state::{AttemptDir, DnsLabel, PodDir, PodRecord},
};

/// The shortest time between two samples.
const INTERVAL: Duration = Duration::from_secs(10);
/// An older sample is no base for a rate: it would hide what happens now.
const MAX_WINDOW: Duration = Duration::from_secs(60);
/// The window of the first answer.
const FIRST_WINDOW: Duration = Duration::from_secs(1);

/// What a container, or the machine, uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time for each second, in nanoseconds.
    pub cpu_nanos: u64,
    /// Memory in bytes, without the cached files that the kernel drops first.
    pub memory: u64,
}

/// What a pod uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its running containers by name.
    pub containers: Vec<(String, Usage)>,
}

/// What this machine and its pods use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUsage {
    /// When the second sample was taken.
    pub time: Timestamp,
    /// The time between the two samples.
    pub window: Duration,
    /// The whole machine.
    pub node: Usage,
    /// The pods with running containers.
    pub pods: Vec<PodUsage>,
}

/// Counters of a container, or of the machine.
#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    cpu: Duration,
    memory: u64,
}

#[derive(Debug)]
struct PodSample {
    record: PodRecord,
    /// By name and attempt.
    containers: Vec<(DnsLabel, u32, Counters)>,
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    time: Timestamp,
    node: Counters,
    pods: Vec<PodSample>,
}

/// Takes samples, and keeps the last two.
#[derive(Debug)]
pub(super) struct Sampler {
    state_dir: PathBuf,
    samples: Mutex<Samples>,
    /// Held while a sample is taken, so that callers share it.
    taking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Samples {
    before: Option<Arc<Sample>>,
    last: Option<Arc<Sample>>,
}

impl Sampler {
    pub(super) fn new(state_dir: &Path) -> Self {
        let state_dir = state_dir.to_owned();
        Self { state_dir, samples: Mutex::default(), taking: tokio::sync::Mutex::default() }
    }

    /// What is used now. The first call in a minute waits for a second.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub(super) async fn usage(&self) -> io::Result<NodeUsage> {
        let _taking = self.taking.lock().await;
        if self.age().is_none_or(|age| age > MAX_WINDOW) {
            self.samples.lock().last = None;
            self.take().await?;
        }
        let has_rate = self.samples.lock().before.is_some();
        if !has_rate {
            tokio::time::sleep(FIRST_WINDOW).await;
        }
        if !has_rate || self.age().is_none_or(|age| age >= INTERVAL) {
            self.take().await?;
        }
        let samples = self.samples.lock();
        match (&samples.before, &samples.last) {
            (Some(before), Some(last)) => Ok(rates(before, last)),
            _ => Err(io::Error::other("nothing was measured")),
        }
    }

    /// Takes a sample unless the last one is new.
    async fn refresh(&self) -> io::Result<()> {
        let _taking = self.taking.lock().await;
        if self.age().is_none_or(|age| age >= INTERVAL) {
            self.take().await?;
        }
        Ok(())
    }

    fn age(&self) -> Option<Duration> {
        self.samples.lock().last.as_ref().map(|last| last.at.elapsed())
    }

    async fn take(&self) -> io::Result<()> {
        let dir = self.state_dir.clone();
        let sample = tokio::task::spawn_blocking(move || sample(&dir)).await;
        let sample = Arc::new(sample.map_err(io::Error::other)??);
        let mut samples = self.samples.lock();
        samples.before = samples.last.replace(sample);
        Ok(())
    }

    /// The counters of the last sample in the OpenMetrics text format. A newer sample is taken in
    /// the background, so that the next scrape gets it: this call does not block.
    pub(super) fn metrics(self: &Arc<Self>) -> String {
        let sampler = Arc::clone(self);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = sampler.refresh().await {
                    tracing::warn!(%error, "cannot measure what the pods use");
                }
            });
        }
        let last = self.samples.lock().last.clone();
        last.map(|last| metrics(&last)).unwrap_or_default()
    }
}

/// Reads the counters of everything that runs. The work is in proportion to the pods on disk, of
/// which a node has a bounded number.
fn sample(state_dir: &Path) -> io::Result<Sample> {
    let processes = OnceCell::new();
    let mut pods = Vec::new();
    for dir in PodDir::all(state_dir)? {
        let Some(record) = dir.record() else { continue };
        let mut containers = Vec::new();
        for container in dir.containers() {
            let Some((attempt, attempt_dir)) = dir.attempts(&container).pop() else { continue };
            if let Some(counters) = counters(&record, &container, attempt, &attempt_dir, &processes)
            {
                containers.push((container, attempt, counters));
            }
        }
        if !containers.is_empty() {
            pods.push(PodSample { record, containers });
        }
    }
    let node = Counters { cpu: proc::busy_time(), memory: proc::memory_in_use() };
    Ok(Sample { at: Instant::now(), time: clock::now(), node, pods })
}

/// The counters of a container; `None` if it does not run.
fn counters(
    record: &PodRecord,
    container: &DnsLabel,
    attempt: u32,
    dir: &AttemptDir,
    processes: &OnceCell<Processes>,
) -> Option<Counters> {
    if dir.exit().is_some() {
        return None;
    }
    let shim = dir.run()?;
    let (folder, groups) = record.cgroups_of(container, attempt);
    let cpu = folder.as_deref().and_then(cgroup::cpu_time);
    let memory = groups.memory().map(|memory| memory.working_set);
    if let (Some(cpu), Some(memory)) = (cpu, memory) {
        return Some(Counters { cpu, memory });
    }
    let used = processes.get_or_init(Processes::read).below(shim.shim, shim.shim_start)?;
    Some(Counters { cpu: cpu.unwrap_or(used.cpu), memory: memory.unwrap_or(used.memory) })
}

fn rates(before: &Sample, last: &Sample) -> NodeUsage {
    let window = last.at.duration_since(before.at);
    let rate = |before: Duration, last: Duration| {
        let used = last.saturating_sub(before).as_nanos();
        let rate = used.saturating_mul(1_000_000_000) / window.as_nanos().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    let known: HashMap<(&str, &DnsLabel, u32), Duration> = before
        .pods
        .iter()
        .flat_map(|pod| {
            let uid = pod.record.uid.as_str();
            pod.containers.iter().map(move |(name, attempt, one)| ((uid, name, *attempt), one.cpu))
        })
        .collect();
    let pods = last.pods.iter().map(|pod| PodUsage {
        namespace: pod.record.namespace.clone(),
        name: pod.record.name.clone(),
        uid: pod.record.uid.to_string(),
        containers: pod
            .containers
            .iter()
            .map(|(name, attempt, one)| {
                // One that has started since then had used nothing.
                let before = known.get(&(pod.record.uid.as_str(), name, *attempt));
                let cpu_nanos = rate(before.copied().unwrap_or_default(), one.cpu);
                (name.to_string(), Usage { cpu_nanos, memory: one.memory })
            })
            .collect(),
    });
    let node = Usage { cpu_nanos: rate(before.node.cpu, last.node.cpu), memory: last.node.memory };
    NodeUsage { time: last.time, window, node, pods: pods.collect() }
}

/// The names are those of a kubelet. A container has two lines as long as it runs, so the number of
/// lines is bounded by the pods that a node takes.
fn metrics(sample: &Sample) -> String {
    let mut text = format!(
        "# TYPE node_cpu_usage_seconds counter\n# UNIT node_cpu_usage_seconds seconds\n\
         # HELP node_cpu_usage_seconds CPU time that the machine used.\n\
         node_cpu_usage_seconds_total {:.3}\n\
         # TYPE node_memory_working_set_bytes gauge\n# UNIT node_memory_working_set_bytes bytes\n\
         # HELP node_memory_working_set_bytes Memory that the machine uses.\n\
         node_memory_working_set_bytes {}\n",
        sample.node.cpu.as_secs_f64(),
        sample.node.memory,
    );
    let mut family = |head: &str, value: &dyn Fn(&Counters) -> String, name: &str| {
        text.push_str(head);
        for pod in &sample.pods {
            for (container, _, counters) in &pod.containers {
                let PodRecord { namespace, name: pod, .. } = &pod.record;
                let _ = writeln!(
                    text,
                    "{name}{{container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"}} {}",
                    value(counters)
                );
            }
        }
    };
    family(
        "# TYPE container_cpu_usage_seconds counter\n# UNIT container_cpu_usage_seconds seconds\n\
         # HELP container_cpu_usage_seconds CPU time that a running container used.\n",
        &|counters| format!("{:.3}", counters.cpu.as_secs_f64()),
        "container_cpu_usage_seconds_total",
    );
    family(
        "# TYPE container_memory_working_set_bytes gauge\n\
         # UNIT container_memory_working_set_bytes bytes\n\
         # HELP container_memory_working_set_bytes Memory that a running container uses.\n",
        &|counters| counters.memory.to_string(),
        "container_memory_working_set_bytes",
    );
    text
}
