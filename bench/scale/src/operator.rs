//! `mxjob operator` and `mxjob apiserver` as separate processes.
//!
//! ```text
//! cargo build --profile release-fast -p mxjob
//! cargo run --profile release-fast -p mxjob-bench-scale -- operator 1000
//! cargo run --profile release-fast -p mxjob-bench-scale -- operator 100 10000
//! ```
//!
//! The second number is the number of foreign pods in the cluster. The program `mxjob` is taken
//! from the folder of this program.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use kube::api::{DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{PARALLEL, World, job, kind};

/// A program that is killed at the end of the measurement.
struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    fn start(dir: &Path, name: &str, args: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap().with_file_name("mxjob");
        let [out, err] = ["out", "err"].map(|end| dir.join(format!("{name}.{end}")));
        let mut command = Command::new(program);
        command.args(args).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Self { child: command.spawn().unwrap(), out, err }
    }

    /// Waits until one of its files contains a text; returns the rest of the line.
    async fn wait_for(&self, file: &Path, text: &str) -> String {
        loop {
            let read = std::fs::read_to_string(file).unwrap();
            let line = read.lines().find_map(|line| Some(line.split_once(text)?.1.to_owned()));
            if let Some(rest) = line {
                return rest;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// CPU seconds so far, and resident memory in MiB.
    fn usage(&self) -> (f64, f64) {
        let (cpu, kib) = crate::usage_of(&self.child.id().to_string());
        #[allow(clippy::cast_precision_loss)] // small numbers
        (cpu, kib as f64 / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Creates foreign pods of a usual size.
async fn create_foreign(admin: &Client, count: usize) {
    let pods: Api<DynamicObject> =
        Api::namespaced_with(admin.clone(), "default", &kind("", "Pod", "pods"));
    let environment: Vec<_> = (0..20)
        .map(|number| json!({ "name": format!("V{number}"), "value": "some value of a variable" }))
        .collect();
    stream::iter(0..count)
        .for_each_concurrent(PARALLEL, |number| {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": format!("foreign-{number}"), "labels": { "app": "foreign" } },
                "spec": {
                    "nodeName": "elsewhere",
                    "containers": [{ "name": "main", "image": "foreign", "env": environment }],
                },
            });
            let (pods, pod) = (pods.clone(), serde_json::from_value(pod).unwrap());
            async move { drop(pods.create(&PostParams::default(), &pod).await.unwrap()) }
        })
        .await;
}

/// The requests of the operator, by verb and resource.
async fn requests(address: &str) -> BTreeMap<String, u64> {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let mut requests = BTreeMap::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("mxjob_api_requests_total{") else { continue };
        let (labels, count) = rest.split_once("} ").unwrap();
        let label = |name: &str| {
            let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(found, _)| *found == name).unwrap();
            value.trim_matches('"').to_owned()
        };
        let count: u64 = count.parse().unwrap();
        *requests.entry(format!("{} {}", label("verb"), label("resource"))).or_default() += count;
    }
    requests
}

/// Jobs of 1+1+1 from submission to success, beside foreign pods.
pub(crate) async fn run(jobs: usize, foreign: usize) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let words = ["apiserver", "--listen", "127.0.0.1:0", "--log-level", "warn", "--data-dir"];
    let server =
        Process::start(dir.path(), "apiserver", &[&words[..], &[data.to_str().unwrap()]].concat());
    let kubeconfig = data.join("kubeconfig");
    while !kubeconfig.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let world = World::new(client(&kubeconfig).await);
    create_foreign(&world.admin, foreign).await;

    let begun = Instant::now();
    let words = [
        "operator",
        "--metrics-listen",
        "127.0.0.1:0",
        "--probe-listen",
        "127.0.0.1:0",
        "--leader-elect-namespace",
        "default",
        "--kubeconfig",
    ];
    let operator = Process::start(
        dir.path(),
        "operator",
        &[&words[..], &[kubeconfig.to_str().unwrap()]].concat(),
    );
    operator.wait_for(&operator.err, "started leading").await;
    println!("leading after                {:>8.3} s", begun.elapsed().as_secs_f64());
    operator.wait_for(&operator.err, "caches synced").await;
    println!("caches synced after          {:>8.3} s", begun.elapsed().as_secs_f64());
    let metrics = operator.wait_for(&operator.out, "metrics at http://").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("idle memory                  {:>8.1} MiB", operator.usage().1);

    world.start_nodes();
    if foreign > 0 {
        // Foreign pods change, too.
        world.seen.subscribe().wait_for(|seen| seen.0 >= foreign).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        println!("memory after they changed    {:>8.1} MiB", operator.usage().1);
    }
    world.watch_jobs();
    let (cpu, _) = operator.usage();
    let (server_cpu, _) = server.usage();
    let before = requests(&metrics).await;
    let others = world.seen.borrow().0;
    let begun = Instant::now();
    let roles = [("Scheduler", 1), ("Server", 1), ("Worker", 1)];
    world.submit(jobs, |number| job(&format!("j{number}"), &roles)).await;
    println!("submitted                    {:>8.2} s", begun.elapsed().as_secs_f64());
    world.until("all pods created", begun, |seen| seen.0 >= others + jobs * 3).await;
    #[allow(clippy::cast_precision_loss)] // small numbers
    let each = |count: f64| count / jobs as f64;
    println!("jobs per second, until pods  {:>8.0}", each(begun.elapsed().as_secs_f64()).recip());
    world.until("all jobs Running", begun, |seen| seen.1 == jobs).await;
    let ends = Instant::now();
    world.finish.send_replace(true);
    world.until("all Succeeded, from the end", ends, |seen| seen.2 == jobs).await;
    let (cpu_after, resident) = operator.usage();
    println!("CPU of the operator          {:>8.2} s, memory {resident:.1} MiB", cpu_after - cpu);
    let (server_after, resident) = server.usage();
    println!(
        "CPU of the API server        {:>8.2} s, memory {resident:.1} MiB",
        server_after - server_cpu
    );
    for (request, count) in requests(&metrics).await {
        let new = count - before.get(&request).copied().unwrap_or(0);
        if new > 0 {
            #[allow(clippy::cast_precision_loss)] // small numbers
            let each = each(new as f64);
            println!("{request:<28} {new:>8}   {each:.2} per job");
        }
    }
}
