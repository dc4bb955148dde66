//! Stopping: the server stops and pods keep running, until `mxjob down`.

use crate::support::{Place, Server, Text as _, code, until, wait_until};

/// A job whose replicas wait for the file `go`.
fn waiting(place: &Place, server: &Server<'_>) {
    let wait = until("go");
    server.create(&place.job(
        "waiting",
        &wait,
        &wait,
        &format!("{wait}; echo x >> \"$PLACE/done\""),
    ));
    server.wait_for("waiting", "Running");
}

#[test]
fn stop_leaves_pods_running_and_down_stops_them() {
    let place = Place::new();
    let data = place.data().display().to_string();
    let server = Server::up(&place);
    waiting(&place, &server);
    let (status, log) = server.terminate();
    assert!(status.success(), "{log}");
    assert!(
        log.ends_with(&format!(
            "mxjob: stopped; 4 pods keep running (`mxjob down --data-dir {data}` stops them)\n"
        )),
        "{log}"
    );
    assert!(place.processes().len() >= 4);
    let down = place.mxjob(&["down", "--data-dir", &data]);
    assert_eq!(down.code(), Some(0), "{}", down.stderr);
    assert_eq!(
        down.stderr,
        "mxjob: no server was running; stopped 4 pods (default/waiting-scheduler-0, default/waiting-server-0, \
         default/waiting-worker-0, default/waiting-worker-1)\n"
    );
    place.wait_until_nothing_runs();
    let again = place.mxjob(&["down", "--data-dir", &data]);
    assert_eq!(again.stderr, "mxjob: nothing to stop: no server and no pod was running\n");
}

#[test]
fn down_stops_server_and_pods() {
    let place = Place::new();
    let data = place.data().display().to_string();
    let server = Server::up(&place);
    waiting(&place, &server);
    let id = server.id();
    let down = place.mxjob(&["down", "--data-dir", &data]);
    down.stderr.must_start_with(&format!("mxjob: stopped the server (process {id}) and 4 pods ("));
    let (status, log) = server.ended();
    assert!(status.success(), "{log}");
    place.wait_until_nothing_runs();
}

#[test]
fn job_survives_a_restart_of_the_server() {
    let place = Place::new();
    let server = Server::up(&place);
    waiting(&place, &server);
    assert!(server.terminate().0.success());
    place.write("go", "");
    wait_until("the workers are done", || {
        let done = std::fs::read_to_string(place.path().join("done")).unwrap_or_default();
        (done == "x\nx\n").then_some(())
    });
    let server = Server::up(&place);
    server.wait_for("waiting", "Succeeded");
}

#[test]
fn down_without_a_server_reports_nothing_to_stop() {
    let place = Place::new();
    let data = place.data().display().to_string();
    let down = place.mxjob(&["down", "--data-dir", &data]);
    assert_eq!(code(down.status), 0);
    assert_eq!(
        down.stderr,
        format!("mxjob: nothing to stop: the data directory {data} does not exist\n")
    );
}
