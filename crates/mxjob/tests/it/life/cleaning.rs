//! `cleanPodPolicy`: what is left of a finished job, and that nothing of it runs that should not.

use serde_json::json;

use super::{ended, left, outcome, replace};
use crate::support::{Place, Server, wait_until};

/// Waits until exactly these pods and services of a job are left.
fn check_left(server: &Server<'_>, name: &str, pods: &[&str], services: &[&str]) {
    for (kind, expected) in [("pods", pods), ("services", services)] {
        let expected: Vec<String> = expected.iter().map(|&one| one.to_owned()).collect();
        let what = format!("{name} has only these {kind} left: {expected:?}");
        wait_until(&what, || (left(server, kind, name) == expected).then_some(()));
    }
}

#[test]
fn what_is_left_of_a_finished_job_goes_by_its_clean_up_policy() {
    let place = Place::new();
    let server = Server::up(&place);
    let all = ["scheduler-0", "server-0", "worker-0", "worker-1"];
    // The scheduler's end is the job's success; a server never ends by itself.
    let well = ("well", "exit 0", "sleep 1000", "exit 0", "Succeeded");
    let badly = (
        "badly",
        "sleep 1000",
        "sleep 1000",
        "[ $DMLC_WORKER_ID = 0 ] || sleep 1000; exit 1",
        "Failed",
    );
    let ended_well = ["scheduler-0", "worker-0", "worker-1"];
    let ended_badly = ["worker-0"];
    let table: [(_, _, &[&str], &[&str]); 6] = [
        (well, "All", &[], &[]),
        (well, "Running", &ended_well, &ended_well),
        (well, "None", &all, &all),
        (badly, "All", &[], &[]),
        (badly, "Running", &ended_badly, &ended_badly),
        // Processes that wait for a lost one for ever are stopped under every policy; the services
        // stay.
        (badly, "None", &ended_badly, &all),
    ];
    let name = |how: &str, policy: &str| format!("{how}-{}", policy.to_lowercase());
    let jobs = table.iter().map(|((how, scheduler, server, worker, _), policy, ..)| {
        let mut job = place.job(&name(how, policy), scheduler, server, worker);
        job["spec"]["cleanPodPolicy"] = json!(policy);
        job
    });
    server.create(&super::list(&jobs.collect::<Vec<_>>()));
    for ((how, .., result), policy, pods, services) in table {
        let name = name(how, policy);
        assert_eq!(outcome(&ended(&server, &name)), Some(result), "{name}");
        check_left(&server, &name, pods, services);
    }
    // Given to a job that has ended, another policy works at once.
    replace(&server, "well-none", |spec| spec["cleanPodPolicy"] = json!("Running"));
    check_left(&server, "well-none", &ended_well, &ended_well);
    replace(&server, "well-none", |spec| spec["cleanPodPolicy"] = json!("All"));
    check_left(&server, "well-none", &[], &[]);
    place.wait_until_only_the_server_runs(&server);
}
