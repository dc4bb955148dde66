//! An outage of the API server.

use super::{command, short};
use crate::support::{Place, Server, until, wait_until};

#[test]
fn outage_is_reported_once_and_every_line_is_printed_once() {
    let place = Place::new();
    let server = Server::up(&place);
    let address = server.address();
    let worker = format!("echo ready; {}; echo last", until("go"));
    let mut lines = place.start(command(&place, &[short(&place, "long", &worker)], &[]));
    lines.wait_for("ready");
    lines.wait_for("ready");
    server.kill();
    wait_until("the outage is reported", || {
        place.stderr().contains("mxjob: cannot reach the cluster (").then_some(())
    });
    let server = Server::start(&place, "up", &["--listen", &address]);
    wait_until("the end of the outage is reported", || {
        place.stderr().contains("mxjob: the cluster answers again").then_some(())
    });
    place.write("go", "");
    let (status, lines) = lines.finish();
    assert_eq!(status.code(), Some(0), "{}", place.stderr());
    let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lines.sort_unstable();
    let want =
        ["worker-0    | last", "worker-0    | ready", "worker-1    | last", "worker-1    | ready"];
    assert_eq!(lines, want);
    assert_eq!(place.stderr().matches("cannot reach the cluster").count(), 1, "{}", place.stderr());
    drop(server);
}
