//! Real training with MXNet in which a process is killed.
//!
//! A restarted process cannot join a running MXNet training again; the others wait for it for ever.
//! So a job with a scheduler restarts as a whole.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use super::{finished, outcome, restarts};
use crate::real_mxnet::root;
use crate::support::{Place, Server, signal, wait_until};

/// A random number below a limit.
fn random_below(limit: u64) -> u64 {
    RandomState::new().hash_one(0) % limit
}

/// The only process with these variables in its environment.
fn process(variables: &[String]) -> i32 {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // The environment of a process that has just ended cannot be read.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let has = |variable: &String| {
            environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
        };
        if variables.iter().all(has) {
            found.push(pid);
        }
    }
    let &[pid] = found.as_slice() else {
        panic!("expected one process with {variables:?}, found {found:?}")
    };
    pid
}

/// Starts a training, kills the process of one replica at a random time, and expects one restart of
/// the whole job.
fn check(policy: &str, role: &str, variable: &str) {
    let root = root();
    let place = Place::new();
    let server = Server::start(&place, "up", &["--workdir", root.to_str().unwrap()]);
    // Concurrent runs of this test on the machine need different names.
    let name = format!("restart-{role}-{}", std::process::id());
    let text = fs::read_to_string(root.join("examples/digits-restart.yaml")).unwrap();
    let text = text
        .replace("  name: digits-restart\n", &format!("  name: {name}\n"))
        .replace("restartPolicy: OnFailure", &format!("restartPolicy: {policy}"))
        .replace("--epochs=10", "--epochs=10, --step-sleep=0.04");
    server.kubectl(&["create", "-f", &place.write("job.yaml", &text)]);
    server.wait_for(&name, "Running");

    let (epoch, more) = (random_below(8), Duration::from_millis(random_below(400)));
    let mut lines = server.follow(&["logs", "-f", &format!("{name}-worker-0")]);
    lines.wait_for(&if epoch == 0 { "joined".to_owned() } else { format!("epoch {epoch}/10") });
    let then = Instant::now();
    wait_until("the random delay is over", || (then.elapsed() >= more).then_some(()));
    let scheduler = format!("DMLC_PS_ROOT_URI={name}-scheduler-0");
    signal(process(&[scheduler, variable.to_owned()]), "KILL");

    let job = finished(&server, &name);
    let killed = format!("killed {more:?} after epoch {epoch}: {}", job["status"]);
    assert_eq!(outcome(&job), Some("Succeeded"), "{killed}");
    assert_eq!(restarts(&job), 1, "{killed}");
    // The job has run again, so the condition is removed; the event stays.
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
    // Equal parameters prove that the workers of the second attempt exchanged them.
    let result = |worker: u32| {
        let log = server.kubectl(&["logs", &format!("{name}-worker-{worker}")]);
        log.lines().last().unwrap_or_default().to_owned()
    };
    assert!(result(0).starts_with("done accuracy"), "{}; {killed}", result(0));
    assert_eq!(result(0), result(1), "{killed}");
    place.wait_until_only_the_server_runs(&server);
}

#[test]
fn training_restarts_as_a_whole_after_a_worker_is_killed() {
    check("OnFailure", "worker", "DMLC_WORKER_ID=1");
}

#[test]
fn training_restarts_as_a_whole_after_its_server_is_killed() {
    check("ExitCode", "server", "DMLC_ROLE=server");
}
