//! Tuning jobs: three roles that connect to each other. Only the tuner ends by itself.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Place, Server, Text as _, wait_until};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// An example, read with kubectl.
fn example(server: &Server<'_>, path: &Path) -> Value {
    let path = path.to_str().unwrap();
    let text = server.kubectl(&["create", "--dry-run=client", "-o", "json", "-f", path]);
    serde_json::from_str(&text).unwrap()
}

/// Waits until all replicas have an address, and returns the addresses.
fn addresses(server: &Server<'_>, job: &str, replicas: &[&str], port: u16) -> Vec<SocketAddr> {
    wait_until("every replica has an address", || {
        let address = |replica: &&str| {
            let path = "-o=jsonpath={.status.podIP}";
            let done = server.try_kubectl(&["get", "pod", &format!("{job}-{replica}"), path]);
            Some(SocketAddr::new(done.stdout.parse::<IpAddr>().ok()?, port))
        };
        replicas.iter().map(address).collect()
    })
}

#[test]
fn tuning_job_succeeds_with_its_tuner_and_closes_its_ports() {
    let place = Place::new();
    let server = Server::start(&place, "up", &["--workdir", root().to_str().unwrap()]);
    let mut job = example(&server, &root().join("examples/tuning.yaml"));
    // The default `cleanPodPolicy`, `Running`, stops the tracker and the servers. Like those of
    // TVM, they work in a child process, which would keep its port if only the parent got the
    // signal. The tuner waits until the test has connected to the others.
    let roles = &mut job["spec"]["mxReplicaSpecs"];
    for role in ["TunerTracker", "TunerServer"] {
        roles[role]["template"]["spec"]["containers"][0]["command"] =
            json!(["/bin/sh", "-c", "python3 examples/tuning/tune.py & wait"]);
    }
    let go = place.path().join("go");
    let tuner = format!(
        "while [ ! -e {} ]; do sleep 0.02; done; exec python3 examples/tuning/tune.py",
        go.display()
    );
    roles["Tuner"]["template"]["spec"]["containers"][0]["command"] =
        json!(["/bin/sh", "-c", tuner]);
    server.create(&job);
    server.wait_for("tuning", "Running");
    let listeners =
        addresses(&server, "tuning", &["tunertracker-0", "tunerserver-0", "tunerserver-1"], 9190);
    for address in &listeners {
        wait_until("it listens", || TcpStream::connect(address).is_ok().then_some(()));
    }
    fs::write(go, "").unwrap();
    server.wait_for("tuning", "Succeeded");

    let log = server.kubectl(&["logs", "tuning-tuner-0"]);
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("done best chunk") && last.ends_with("of 4 trials"), "{log}");
    for name in ["tuning-tunerserver-0", "tuning-tunerserver-1"] {
        assert!(log.contains(name), "the trials were not spread: {log}");
    }
    wait_until("only the tuner's pod is left", || {
        (server.kubectl(&["get", "pods", "-o", "name"]) == "pod/tuning-tuner-0\n").then_some(())
    });
    place.wait_until_only_the_server_runs(&server);
    for address in &listeners {
        assert!(TcpStream::connect(address).is_err(), "{address} still accepts connections");
    }
    let job = server.get("mxjob", "tuning");
    assert_eq!(job["status"]["replicaStatuses"]["Tuner"], json!({"succeeded": 1}));
}

#[test]
fn tuning_job_fails_with_its_tuner_and_stops_the_others() {
    let place = Place::new();
    let server = Server::start(&place, "up", &["--workdir", root().to_str().unwrap()]);
    let mut job = example(&server, &root().join("examples/tuning.yaml"));
    job["spec"]["mxReplicaSpecs"]["Tuner"]["template"]["spec"]["containers"][0]["command"] =
        json!(["/bin/sh", "-c", "echo no trial succeeded; exit 1"]);
    server.create(&job);
    server.wait_for("tuning", "Failed");
    let job = server.get("mxjob", "tuning");
    let failed = job["status"]["conditions"].as_array().unwrap().last().unwrap();
    let message = failed["message"].as_str().unwrap();
    for part in ["tuner-0 exited with exit code 1", "no trial succeeded"] {
        message.must_contain(part);
    }
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn tvm_tuning_job_succeeds_with_its_tuner_and_closes_its_ports() {
    let root = root();
    if !root.join(".demo/tvm-venv/bin/python").exists() {
        // The wheels of TVM need one version of Python, which not every machine has. The test above
        // covers the roles without TVM.
        eprintln!("not tested: `cargo xtask test` found no Python 3.10 for TVM");
        return;
    }
    let place = Place::new();
    let server = Server::start(&place, "up", &["--workdir", root.to_str().unwrap()]);
    server.create(&example(&server, &root.join("examples/tuning-tvm.yaml")));
    server.wait_for("tuning-tvm", "Running");
    let listeners = addresses(&server, "tuning-tvm", &["tunertracker-0", "tunerserver-0"], 9190);
    server.wait_for("tuning-tvm", "Succeeded");
    let log = server.kubectl(&["logs", "tuning-tvm-tuner-0"]);
    assert!(log.lines().last().unwrap_or_default().ends_with("us of 4 trials"), "{log}");
    // Tracker and server would leave a child process with an open port if only the parent got the
    // signal.
    place.wait_until_only_the_server_runs(&server);
    for address in &listeners {
        assert!(TcpStream::connect(address).is_err(), "{address} still accepts connections");
    }
}
