//! Every restart policy with every kind of exit, as a table: all of its jobs at once on one server.

use serde_json::json;

use super::{all_ended, condition, list, outcome, restarts, workers};
use crate::support::{Place, Server};

/// The last one ends by a signal, not by a code.
const EXITS: [&str; 6] = ["0", "1", "127", "128", "137", "signal"];

/// The first run of a replica ends so; the next would end well.
fn script(exit: &str) -> String {
    let end = match exit {
        // `$$` twice, since a pair of dollars in a container's command stands for one.
        "signal" => "kill -TERM $$$$".to_owned(),
        code => format!("exit {code}"),
    };
    format!("if mkdir \"$PLACE/$NAME\" 2>/dev/null; then {end}; fi; exit 0")
}

#[test]
fn every_restart_policy_with_every_exit_ends_as_the_table_says() {
    let place = Place::new();
    let server = Server::up(&place);
    // Policy, then for each exit the result and how often the replica was started again.
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
        // It starts again whatever the code is, so only a limit ends it: here the one restart that
        // is allowed is used up.
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
    let jobs = all_ended(&server);
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
    // The message says how it ended.
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
