//! `cleanPodPolicy`: which pods and services a finished job keeps.

use serde_json::json;

use super::{finished, objects_of, outcome, replace};
use crate::support::{Place, Server, wait_until};

/// Waits until a job has exactly these pods and services.
fn check_objects(server: &Server<'_>, name: &str, pods: &[&str], services: &[&str]) {
    for (kind, expected) in [("pods", pods), ("services", services)] {
        let expected: Vec<String> = expected.iter().map(|&one| one.to_owned()).collect();
        let what = format!("{name} has exactly these {kind}: {expected:?}");
        wait_until(&what, || (objects_of(server, kind, name) == expected).then_some(()));
    }
}

#[test]
fn clean_pod_policy_decides_which_pods_and_services_stay() {
    let place = Place::new();
    let server = Server::up(&place);
    let all = ["scheduler-0", "server-0", "worker-0", "worker-1"];
    // The job succeeds when its scheduler exits; a server never exits by itself.
    let success = ("success", "exit 0", "sleep 1000", "exit 0", "Succeeded");
    let failure = (
        "failure",
        "sleep 1000",
        "sleep 1000",
        "[ $DMLC_WORKER_ID = 0 ] || sleep 1000; exit 1",
        "Failed",
    );
    let exited_in_success = ["scheduler-0", "worker-0", "worker-1"];
    let exited_in_failure = ["worker-0"];
    let table: [(_, _, &[&str], &[&str]); 6] = [
        (success, "All", &[], &[]),
        (success, "Running", &exited_in_success, &exited_in_success),
        (success, "None", &all, &all),
        (failure, "All", &[], &[]),
        (failure, "Running", &exited_in_failure, &exited_in_failure),
        // Processes that would wait for a failed one for ever are stopped under every policy; the
        // services stay.
        (failure, "None", &exited_in_failure, &all),
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
        assert_eq!(outcome(&finished(&server, &name)), Some(result), "{name}");
        check_objects(&server, &name, pods, services);
    }
    // A changed policy takes effect on a finished job immediately.
    replace(&server, "success-none", |spec| spec["cleanPodPolicy"] = json!("Running"));
    check_objects(&server, "success-none", &exited_in_success, &exited_in_success);
    replace(&server, "success-none", |spec| spec["cleanPodPolicy"] = json!("All"));
    check_objects(&server, "success-none", &[], &[]);
    place.wait_until_only_the_server_runs(&server);
}
