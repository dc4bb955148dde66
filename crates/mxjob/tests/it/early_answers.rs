//! Answers that the server sends before it has read the body of the request. curl stops sending and
//! reports the status, unless the server closes the stream or the connection.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::support::{Done, Place, Server};

const MIB: usize = 1024 * 1024;
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "Content-Type: application/json";

/// A request that the server rejects with a status.
struct Rejected {
    status: u16,
    method: &'static str,
    path: String,
    headers: Vec<String>,
    /// Bytes of the bodies to send.
    bodies: &'static [usize],
}

fn rejected(token: &str) -> Vec<Rejected> {
    const BODIES: &[usize] = &[16, 3 * MIB - 1];
    let admin = || format!("Authorization: Bearer {token}");
    let unknown = || "Authorization: Bearer nobody".to_owned();
    let case = |status, method, path: &str, headers: [String; 2]| Rejected {
        status,
        method,
        path: path.to_owned(),
        headers: headers.into(),
        bodies: BODIES,
    };
    let mut forbidden = case(403, "POST", CONFIG_MAPS, [admin(), JSON.to_owned()]);
    forbidden.headers.push("Impersonate-User: ann".to_owned());
    let mut too_large = case(413, "POST", CONFIG_MAPS, [admin(), JSON.to_owned()]);
    too_large.bodies = &[4 * MIB];
    // The server knows the length of a chunked body only when it has arrived.
    let mut chunked = case(413, "POST", CONFIG_MAPS, [admin(), JSON.to_owned()]);
    chunked.bodies = &[4 * MIB];
    chunked.headers.push("Transfer-Encoding: chunked".to_owned());
    vec![
        case(401, "POST", CONFIG_MAPS, [unknown(), JSON.to_owned()]),
        case(401, "PUT", &format!("{CONFIG_MAPS}/a"), [unknown(), JSON.to_owned()]),
        forbidden,
        case(404, "POST", "/apis/nothing.example.com/v1/things", [admin(), JSON.to_owned()]),
        case(405, "POST", "/version", [admin(), JSON.to_owned()]),
        too_large,
        chunked,
        case(415, "POST", CONFIG_MAPS, [admin(), "Content-Type: text/plain".to_owned()]),
    ]
}

/// Sends a request a hundred times: fifty times on separate connections, and fifty times in
/// sequence, for which curl uses one connection if it can. Returns how often curl reported each
/// status and version of HTTP.
fn send(
    place: &Place,
    server: &Server<'_>,
    version: &str,
    case: &Rejected,
    body: &str,
) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    // curl uses a separate connection for each host name.
    for (host, query) in [("server-[1-50].test", ""), ("server.test", "?try=[1-50]")] {
        let url = format!("https://{host}{}{query}", case.path);
        let mut command = Command::new("curl");
        command.current_dir(place.path()).args(["--silent", "--insecure", "--max-time", "60"]);
        command.args([version, "--request", case.method, "--data-binary", &format!("@{body}")]);
        command.args(["--connect-to", &format!("::{}", server.address())]);
        command.args(["--output", "/dev/null", "--write-out", "%{http_code} %{http_version}\n"]);
        for header in &case.headers {
            command.args(["--header", header]);
        }
        let output = command.arg(url).output().unwrap_or_else(|error| {
            panic!("cannot start curl ({error}); `cargo xtask test` installs it")
        });
        for line in Done::of(output).stdout.lines() {
            *found.entry(line.to_owned()).or_default() += 1;
        }
    }
    found
}

fn every_early_answer_reaches_curl(option: &str, version: &str) {
    let place = Place::new();
    let server = Server::start(&place, "apiserver", &[]);
    let token = fs::read_to_string(place.data().join("admin-token")).unwrap();
    for case in rejected(token.trim()) {
        for size in case.bodies {
            let body = size.to_string();
            place.write(&body, &"x".repeat(*size));
            let found = send(&place, &server, option, &case, &body);
            let want = BTreeMap::from([(format!("{} {version}", case.status), 100)]);
            assert_eq!(found, want, "{} {} with {size} bytes", case.method, case.path);
        }
    }
}

#[test]
fn every_early_answer_reaches_curl_over_http_1() {
    every_early_answer_reaches_curl("--http1.1", "1.1");
}

#[test]
fn every_early_answer_reaches_curl_over_http_2() {
    every_early_answer_reaches_curl("--http2", "2");
}
