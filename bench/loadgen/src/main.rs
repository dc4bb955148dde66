//! Load on a Kubernetes API that serves MXJobs, on loopback. Each run executes one scenario and
//! prints one JSON line.
//!
//! `cargo xtask bench` uses it; by hand:
//!
//! ```text
//! mxjob-loadgen create --url https://127.0.0.1:6443 --token T --object examples/digits-dist.json --count 300
//! mxjob-loadgen put    --url https://127.0.0.1:6443 --token T --conns 16 --seconds 15
//! ```
//!
//! A closed loop: each connection sends its next request after the last answer; no retries. It
//! connects to loopback addresses only, and therefore accepts any certificate.
#![allow(clippy::print_stdout, reason = "the figures are the output")]

mod client;
mod figures;
mod scenario;
mod tls;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use client::Target;
use scenario::Plan;

const USAGE: &str = "usage: mxjob-loadgen create|put|noop|get --url URL [--token T] [--object FILE] [--namespace default] \
                     [--prefix job] [--count 300] [--conns 1] [--seconds 10] [--warmup 2]";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().context(USAGE)?;
    let mut options = HashMap::new();
    while let Some(name) = arguments.next() {
        let name = name.strip_prefix("--").context(USAGE)?.to_owned();
        options.insert(name, arguments.next().context(USAGE)?);
    }
    let plan = plan(options)?;
    // One thread: the load must leave the processors to the server under test.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let figures = runtime.block_on(scenario::run(&scenario, plan))?;
    println!("{figures}");
    Ok(())
}

fn plan(mut options: HashMap<String, String>) -> Result<Plan> {
    let mut take =
        |name: &str, default: &str| options.remove(name).unwrap_or_else(|| default.to_owned());
    let url = take("url", "https://127.0.0.1:6443");
    let token = take("token", "");
    let object = take("object", "");
    let object = if object.is_empty() {
        None
    } else {
        let text = std::fs::read(&object).with_context(|| format!("cannot read {object}"))?;
        Some(
            serde_json::from_slice(&text)
                .with_context(|| format!("{object} is not a JSON object"))?,
        )
    };
    let seconds = |text: String| -> Result<Duration> {
        let number: f64 =
            text.parse().with_context(|| format!("{text}: expected a number of seconds"))?;
        Duration::try_from_secs_f64(number).context("a time cannot be negative")
    };
    let plan = Plan {
        target: Target::new(&url, &token)?,
        namespace: take("namespace", "default"),
        prefix: take("prefix", "job"),
        object,
        count: take("count", "300").parse().context("--count: expected a number")?,
        connections: take("conns", "1").parse().context("--conns: expected a number")?,
        measured: seconds(take("seconds", "10"))?,
        warmup: seconds(take("warmup", "2"))?,
    };
    if let Some(unknown) = options.keys().next() {
        bail!("unknown option --{unknown}\n{USAGE}");
    }
    Ok(plan)
}
