//! Real training with MXNet: the example that the demonstration runs.

use std::path::{Path, PathBuf};

use crate::support::{Place, Server};

/// The root of the repository, where the example's paths start.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    for needed in [".demo/venv/bin/python", ".demo/digits.csv.gz"] {
        assert!(
            root.join(needed).exists(),
            "{needed} is missing: run `cargo xtask test`, which makes the Python environment with MXNet and fetches the data"
        );
    }
    root
}

/// The example under another name.
fn digits(place: &Place, root: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(root.join("examples/digits-dist.yaml")).unwrap();
    place.write(
        &format!("{name}.yaml"),
        &text.replace("  name: digits\n", &format!("  name: {name}\n")),
    )
}

/// The accuracy and the parameters in the last line of a worker's log.
fn result(server: &Server<'_>, pod: &str) -> (f64, String) {
    let log = server.kubectl(&["logs", pod]);
    let last = log.lines().last().unwrap_or_default();
    let words: Vec<&str> = last.split_whitespace().collect();
    match words.as_slice() {
        ["done", "accuracy", accuracy, "parameters", parameters] => {
            (accuracy.parse().unwrap(), (*parameters).to_owned())
        }
        _ => panic!("{pod} did not end with its result:\n{log}"),
    }
}

fn check(names: &[&str]) {
    let root = root();
    let place = Place::new();
    let server = Server::start(&place, "up", &["--workdir", root.to_str().unwrap()]);
    for name in names {
        server.kubectl(&["create", "-f", &digits(&place, &root, name)]);
    }
    for name in names {
        server.wait_for(name, "Succeeded");
        let (accuracy, parameters) = result(&server, &format!("{name}-worker-0"));
        assert!(accuracy > 0.9, "{name}: {accuracy}");
        // Equal parameters prove that the workers exchanged them, and only with each other.
        assert_eq!(result(&server, &format!("{name}-worker-1")), (accuracy, parameters), "{name}");
    }
}

#[test]
fn digits_example_trains_and_succeeds() {
    check(&["digits"]);
}

#[test]
fn two_concurrent_digits_jobs_on_the_same_port_succeed() {
    check(&["digits-a", "digits-b"]);
}
