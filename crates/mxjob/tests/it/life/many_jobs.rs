//! Many jobs at the same time.

use std::collections::BTreeSet;

use super::{all_finished, list, outcome, restarts, workers};
use crate::support::{Place, Server};

const JOBS: usize = 200;

#[test]
fn two_hundred_concurrent_jobs_all_finish_with_the_expected_result() {
    let place = Place::new();
    let server = Server::up(&place);
    let name = |number: usize| format!("one-of-many-{number}");
    let fails = |number: usize| number.is_multiple_of(10);
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| {
            let script = if fails(number) { "exit 3" } else { "exit 0" };
            workers(&place, &name(number), 1, "Never", script)
        })
        .collect();
    server.create(&list(&jobs));
    // One watch instead of polling, which would slow the jobs down. The test fails only if no job
    // finishes for a long time.
    let path = "jsonpath={.metadata.name} {.status.completionTime}{\"\\n\"}";
    let mut changes = server.follow(&["get", "mxjobs", "-w", "-o", path]);
    let mut finished = BTreeSet::new();
    while finished.len() < JOBS {
        let change = changes.wait_for("one-of-many-");
        if let Some((name, time)) = change.split_once(' ')
            && !time.is_empty()
        {
            finished.insert(name.to_owned());
        }
    }
    drop(changes);
    let jobs = all_finished(&server);
    assert_eq!(jobs.len(), JOBS);
    for number in 0..JOBS {
        let job = jobs.iter().find(|job| job["metadata"]["name"] == name(number)).unwrap();
        let expected = if fails(number) { "Failed" } else { "Succeeded" };
        assert_eq!(outcome(job), Some(expected), "{}", job["status"]);
        let counts = &job["status"]["replicaStatuses"]["Worker"];
        assert_eq!(counts[expected.to_lowercase()], 1, "{}", job["status"]);
        assert_eq!(restarts(job), 0, "{}", job["status"]);
    }
    // Each job had exactly one pod.
    let pods = server.kubectl(&["get", "pods", "-o", "name"]);
    assert_eq!(pods.lines().count(), JOBS);
    place.wait_until_only_the_server_runs(&server);
}
