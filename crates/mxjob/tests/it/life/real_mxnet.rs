//! Real training that loses one of its processes, and all of it again.
//!
//! MXNet takes no lost process back: the others wait for it for ever. So the job, which has a
//! scheduler, restarts as a whole.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{ended, outcome, restarts};
use crate::support::{Place, Server, signal, wait_until};

/// The root of the repository, where the example's paths start.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    for needed in [".demo/venv/bin/python", ".demo/digits.csv.gz"] {
        assert!(
            root.join(needed).exists(),
            "{needed} is missing: run `cargo xtask test`, which makes the Python environment with MXNet and fetches the data"
        );
    }
    root
}

/// A number below a limit, another one in every run.
fn any_below(limit: u64) -> u64 {
    RandomState::new().hash_one(0) % limit
}

/// The process of a replica: the one with these variables in its environment.
fn process(variables: &[String]) -> i32 {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that has just ended has nothing to read.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let has = |variable: &String| {
            environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
        };
        if variables.iter().all(has) {
            found.push(pid);
        }
    }
    let &[pid] = found.as_slice() else {
        panic!("not one process but {found:?} has {variables:?}")
    };
    pid
}

/// Trains, kills one replica's process at a random step, and expects all of it to have been done
/// again, once.
fn check(policy: &str, role: &str, variable: &str) {
    let root = root();
    let place = Place::new();
    let server = Server::start(&place, "up", &["--workdir", root.to_str().unwrap()]);
    // Other runs of this test on the machine have other names.
    let name = format!("loses-a-{role}-{}", std::process::id());
    let text = fs::read_to_string(root.join("examples/digits-restart.yaml")).unwrap();
    let text = text
        .replace("  name: digits-restart\n", &format!("  name: {name}\n"))
        .replace("restartPolicy: OnFailure", &format!("restartPolicy: {policy}"))
        .replace("--epochs=10", "--epochs=10, --step-sleep=0.04");
    server.kubectl(&["create", "-f", &place.write("job.yaml", &text)]);
    server.wait_for(&name, "Running");

    let (epoch, more) = (any_below(8), Duration::from_millis(any_below(400)));
    let mut lines = server.follow(&["logs", "-f", &format!("{name}-worker-0")]);
    lines.wait_for(&if epoch == 0 { "joined".to_owned() } else { format!("epoch {epoch}/10") });
    let then = Instant::now();
    wait_until("the random moment has come", || (then.elapsed() >= more).then_some(()));
    let scheduler = format!("DMLC_PS_ROOT_URI={name}-scheduler-0");
    signal(process(&[scheduler, variable.to_owned()]), "KILL");

    let job = ended(&server, &name);
    let killed = format!("killed {more:?} after epoch {epoch}: {}", job["status"]);
    assert_eq!(outcome(&job), Some("Succeeded"), "{killed}");
    assert_eq!(restarts(&job), 1, "{killed}");
    // The condition is gone now that the job has run again; the event stays.
    let fields = "reason=MXJobRestarting";
    let events = server.kubectl(&[
        "get",
        "events",
        "--field-selector",
        fields,
        "-o",
        "jsonpath={.items[*].message}",
    ]);
    assert!(events.contains("exit code 137, signal 9"), "{events:?}");
    // Equal parameters: the workers of the second attempt have exchanged them with each other.
    let result = |worker: u32| {
        let log = server.kubectl(&["logs", &format!("{name}-worker-{worker}")]);
        log.lines().last().unwrap_or_default().to_owned()
    };
    assert!(result(0).starts_with("done accuracy"), "{}; {killed}", result(0));
    assert_eq!(result(0), result(1), "{killed}");
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn a_training_that_loses_a_worker_starts_again_as_a_whole_and_succeeds() {
    check("OnFailure", "worker", "DMLC_WORKER_ID=1");
}

#[test]
fn a_training_that_loses_its_server_to_a_signal_starts_again_as_a_whole_and_succeeds() {
    check("ExitCode", "server", "DMLC_ROLE=server");
}
