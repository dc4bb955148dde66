//! The scenarios: the requests that each connection repeats.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::client::Target;
use crate::figures::Latencies;

/// Number of objects that each connection of `put` and `noop` replaces in turn. No other client
/// writes them, so there are no conflicts.
const OBJECTS_PER_CONNECTION: usize = 4;

/// What to do, from the command line.
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) namespace: String,
    /// Objects are named `PREFIX-0`, `PREFIX-1`, …
    pub(crate) prefix: String,
    /// The object that `create` sends, with other names.
    pub(crate) object: Option<Value>,
    pub(crate) count: usize,
    pub(crate) connections: usize,
    /// How long the timed scenarios measure, after `warmup`.
    pub(crate) measured: Duration,
    pub(crate) warmup: Duration,
}

impl Plan {
    fn collection(&self) -> String {
        format!("/apis/kubeflow.org/v1/namespaces/{}/mxjobs", self.namespace)
    }

    fn item(&self, number: usize) -> String {
        format!("{}/{}-{number}", self.collection(), self.prefix)
    }
}

/// Runs one scenario and returns its figures.
pub(crate) async fn run(scenario: &str, plan: Plan) -> Result<Value> {
    ensure!(plan.connections > 0, "there must be at least one connection");
    let plan = Arc::new(plan);
    match scenario {
        "create" => create(plan).await,
        "put" => replace(plan, true).await,
        "noop" => replace(plan, false).await,
        "get" => get(plan).await,
        other => bail!("unknown scenario {other}"),
    }
}

/// Creates `count` objects over all connections.
async fn create(plan: Arc<Plan>) -> Result<Value> {
    ensure!(plan.object.is_some(), "`create` needs --object");
    let next = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Barrier::new(plan.connections + 1));
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        let (plan, next, gate) = (Arc::clone(&plan), Arc::clone(&next), Arc::clone(&gate));
        tasks.spawn(async move {
            let mut connection = plan.target.connect().await?;
            let (mut latencies, mut answer, path) =
                (Latencies::default(), Vec::new(), plan.collection());
            gate.wait().await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.count {
                    return Ok(latencies);
                }
                let mut object = plan.object.clone().unwrap_or_default();
                object["metadata"] = json!({ "name": format!("{}-{number}", plan.prefix) });
                let body = object.to_string();
                let began = Instant::now();
                let status = connection.call("POST", &path, body.as_bytes(), &mut answer).await?;
                latencies.add(began.elapsed(), status);
                ensure!(
                    status == 201,
                    "POST {path}: {status}: {}",
                    String::from_utf8_lossy(&answer)
                );
            }
        });
    }
    gate.wait().await;
    // By the clock that the processes of a job can read, too.
    let sent_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let began = Instant::now();
    let latencies = collect(tasks).await?;
    let mut figures = latencies.figures(began.elapsed());
    figures["first_sent_at"] = json!(sent_at.as_secs_f64());
    Ok(figures)
}

/// Each connection replaces its own objects in turn, with the resource version of the last answer.
/// With `change`, every replace writes a new value; without, the object stays as it is.
async fn replace(plan: Arc<Plan>, change: bool) -> Result<Value> {
    let gate = Arc::new(Barrier::new(plan.connections));
    let mut tasks = JoinSet::new();
    for connection in 0..plan.connections {
        let (plan, gate) = (Arc::clone(&plan), Arc::clone(&gate));
        tasks.spawn(async move {
            let first = connection * OBJECTS_PER_CONNECTION;
            let mut connection = plan.target.connect().await?;
            let (mut latencies, mut answer) = (Latencies::default(), Vec::new());
            let mut objects = Vec::new();
            for number in first..first + OBJECTS_PER_CONNECTION {
                let path = plan.item(number);
                let status = connection.call("GET", &path, b"", &mut answer).await?;
                ensure!(status == 200, "GET {path}: {status}; `create` the objects first");
                let object: Value =
                    serde_json::from_slice(&answer).context("the answer is not JSON")?;
                objects.push((path, object));
            }
            gate.wait().await;
            let began = Instant::now();
            for round in 0_u32.. {
                for (path, object) in &mut objects {
                    if change {
                        object["spec"]["ttlSecondsAfterFinished"] = json!(1000 + round % 1_000_000);
                    }
                    let body = object.to_string();
                    let sent = Instant::now();
                    let since = sent.duration_since(began);
                    if since > plan.warmup + plan.measured {
                        return Ok(latencies);
                    }
                    let status = connection.call("PUT", path, body.as_bytes(), &mut answer).await?;
                    if since > plan.warmup {
                        latencies.add(sent.elapsed(), status);
                    }
                    ensure!(
                        status == 200,
                        "PUT {path}: {status}: {}",
                        String::from_utf8_lossy(&answer)
                    );
                    let version =
                        text_of(&answer, "resourceVersion").context("no resourceVersion")?;
                    object["metadata"]["resourceVersion"] = json!(version);
                }
            }
            Ok(latencies)
        });
    }
    Ok(collect(tasks).await?.figures(plan.measured))
}

/// Each connection reads one object after another.
async fn get(plan: Arc<Plan>) -> Result<Value> {
    let mut tasks = JoinSet::new();
    for connection in 0..plan.connections {
        let plan = Arc::clone(&plan);
        tasks.spawn(async move {
            let mut number = connection;
            let mut connection = plan.target.connect().await?;
            let (mut latencies, mut answer) = (Latencies::default(), Vec::new());
            let began = Instant::now();
            loop {
                let sent = Instant::now();
                let since = sent.duration_since(began);
                if since > plan.warmup + plan.measured {
                    return Ok(latencies);
                }
                let path = plan.item(number % plan.count.max(1));
                let status = connection.call("GET", &path, b"", &mut answer).await?;
                if since > plan.warmup {
                    latencies.add(sent.elapsed(), status);
                }
                ensure!(status == 200, "GET {path}: {status}");
                // No common factor with usual counts, so that the connections read different
                // objects.
                number = number.wrapping_add(7919);
            }
        });
    }
    Ok(collect(tasks).await?.figures(plan.measured))
}

async fn collect(mut tasks: JoinSet<Result<Latencies>>) -> Result<Latencies> {
    let mut all = Latencies::default();
    while let Some(ended) = tasks.join_next().await {
        all.merge(ended.context("the task of a connection panicked")??);
    }
    Ok(all)
}

/// The value of the first `"key":"value"` in a JSON text: parsing each answer would measure this
/// program, not the server.
fn text_of(json: &[u8], key: &str) -> Option<String> {
    let text = std::str::from_utf8(json).ok()?;
    let (_, rest) = text.split_once(&format!("\"{key}\":\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}
