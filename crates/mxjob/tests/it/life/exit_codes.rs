//! Every restart policy with every kind of exit: one job for each, all on one server.

use serde_json::json;

use super::{all_finished, condition, list, outcome, restarts, workers};
use crate::support::{Place, Server};

/// Exit codes, and the end by a signal.
const EXITS: [&str; 6] = ["0", "1", "127", "128", "137", "signal"];

/// The first run of a replica exits like this; every later one succeeds.
fn script(exit: &str) -> String {
    let end = match exit {
        // Kubernetes replaces `$$` in a container's command by `$`.
        "signal" => "kill -TERM $$$$".to_owned(),
        code => format!("exit {code}"),
    };
    format!("if mkdir \"$PLACE/$NAME\" 2>/dev/null; then {end}; fi; exit 0")
}

#[test]
fn restart_policy_and_exit_code_decide_result_and_restarts() {
    let place = Place::new();
    let server = Server::up(&place);
    // The policy; for each exit, the result and the number of restarts.
    let table = [
        ("Never", ["Succeeded 0", "Failed 0", "Failed 0", "Failed 0", "Failed 0", "Failed 0"]),
        (
            "OnFailure",
            [
                "Succeeded 0",
                "Succeeded 1",
                "Succeeded 1",
                "Succeeded 1",
                "Succeeded 1",
                "Succeeded 1",
            ],
        ),
        // The replica is restarted after every exit, so the job fails at its limit of one restart.
        ("Always", ["Failed 1", "Failed 1", "Failed 1", "Failed 1", "Failed 1", "Failed 1"]),
        (
            "ExitCode",
            ["Succeeded 0", "Failed 0", "Failed 0", "Succeeded 1", "Succeeded 1", "Succeeded 1"],
        ),
    ];
    let mut jobs = Vec::new();
    for (policy, _) in &table {
        for exit in EXITS {
            let name = format!("{}-{exit}", policy.to_lowercase());
            let mut job = workers(&place, &name, 1, policy, &script(exit));
            job["spec"]["backoffLimit"] = json!(1);
            let env = &mut job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
                [0]["env"];
            env.as_array_mut().unwrap().push(json!({"name": "NAME", "value": name}));
            jobs.push(job);
        }
    }
    server.create(&list(&jobs));
    let jobs = all_finished(&server);
    let mut wrong = Vec::new();
    for (policy, results) in &table {
        for (exit, expected) in EXITS.iter().zip(results) {
            let name = format!("{}-{exit}", policy.to_lowercase());
            let job = jobs.iter().find(|job| job["metadata"]["name"] == name.as_str()).unwrap();
            let found = format!("{} {}", outcome(job).unwrap(), restarts(job));
            if found != *expected {
                wrong.push(format!("{name}: {found}, not {expected}: {}", job["status"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The message contains the cause.
    for (name, part) in [
        ("never-127", "worker-0 exited with exit code 127"),
        ("never-signal", "worker-0 exited with exit code 143, signal 15"),
        ("always-0", "has reached the backoff limit of 1"),
    ] {
        let job = jobs.iter().find(|job| job["metadata"]["name"] == name).unwrap();
        let (_, _, message) = condition(job, "Failed").unwrap();
        assert!(message.contains(part), "{name}: {message}");
    }
    place.wait_until_only_the_server_runs(&server);
}
