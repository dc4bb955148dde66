//! `mxjob validate`, and what the server and the node report about fields that they do not honour.

use serde_json::{Value, json};

use crate::support::{Done, Place, Server, Text as _, wait_until};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: odd
spec:
  schedulerName: other
  hostUsers: false
  containers:
    - name: c
      image: none
      imagee: none
";

fn validate(place: &Place, args: &[&str]) -> Done {
    place.mxjob(&[&["validate"], args].concat())
}

#[test]
fn findings_name_file_line_object_and_field() {
    let place = Place::new();
    let file = place.write("pod.yaml", POD);
    let done = validate(&place, &[&file]);
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    let lines: Vec<&str> = done.stdout.lines().collect();
    let expected = [
        "6: Pod/odd: warning: spec.schedulerName: not honoured by this node: ",
        "7: Pod/odd: spec.hostUsers: Forbidden: ",
        "11: Pod/odd: spec.containers[0].imagee: unknown field",
    ];
    assert_eq!(lines.len(), expected.len(), "{}", done.stdout);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("{file}:{expected}")), "{line}");
    }
    done.stderr.must_contain("mxjob: 1 objects, 2 errors, 1 warnings");

    let done = validate(&place, &[&file, "-o", "json"]);
    assert_eq!(done.code(), Some(1));
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    let second = &report["findings"][1];
    assert_eq!(
        (&second["severity"], &second["path"], &second["line"], &second["kind"], &second["name"]),
        (&json!("error"), &json!("spec.hostUsers"), &json!(7), &json!("Pod"), &json!("odd"))
    );
    assert_eq!(report["findings"][0]["severity"], "warning");
}

#[test]
fn warnings_are_errors_only_if_asked_for() {
    let place = Place::new();
    let text = POD.replace("  hostUsers: false\n", "").replace("      imagee: none\n", "");
    let file = place.write("pod.yaml", &text);
    for (args, code) in [(&[&*file][..], 0), (&[&*file, "--strict"][..], 1)] {
        let done = validate(&place, args);
        assert_eq!(done.code(), Some(code), "{}", done.stderr);
        assert_eq!(done.stdout.lines().count(), 1, "{}", done.stdout);
    }
}

#[test]
fn unreadable_files_exit_with_2() {
    let place = Place::new();
    let broken = place.write("broken.yaml", "kind: [");
    let empty = place.write("empty.yaml", "");
    for file in ["missing.yaml", &broken, &empty] {
        let done = validate(&place, &[file]);
        assert_eq!((done.code(), &*done.stdout), (Some(2), ""), "{}", done.stderr);
    }
    assert_eq!(validate(&place, &[]).code(), Some(2));
}

#[test]
fn kinds_without_rules_are_reported_as_not_checked() {
    let place = Place::new();
    let file = |text: &str| place.write("object.yaml", text);
    for (text, code, message) in [
        ("apiVersion: example.com/v1\nkind: Widget\n", 0, "it was not checked"),
        ("apiVersion: kubeflow.org/v2\nkind: MXJob\n", 1, "apiVersion: expected kubeflow.org/v1"),
        ("apiVersion: v1\nmetadata: {name: a}\n", 1, "kind: Required value"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 7}\n", 1, "cannot unmarshal number"),
    ] {
        let done = validate(&place, &[&file(text)]);
        assert_eq!(done.code(), Some(code), "{}{}", done.stdout, done.stderr);
        done.stdout.must_contain(message);
    }
}

#[test]
fn the_examples_have_no_findings() {
    let place = Place::new();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
    let files: Vec<String> = std::fs::read_dir(examples)
        .unwrap()
        .flatten()
        .map(|file| file.path().display().to_string())
        .filter(|path| path.ends_with(".yaml"))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    let mut args: Vec<&str> = files.iter().map(String::as_str).collect();
    args.push("--strict");
    let done = validate(&place, &args);
    assert_eq!((done.code(), &*done.stdout), (Some(0), ""), "{}", done.stderr);
}

#[test]
fn a_run_refuses_and_warns_before_it_starts_anything() {
    let place = Place::new();
    let with = |field: &str, value: Value| {
        let mut job = place.job("odd", "true", "true", "true");
        for role in ["Scheduler", "Server", "Worker"] {
            job["spec"]["mxReplicaSpecs"][role]["template"]["spec"][field] = value.clone();
        }
        place.write("job.json", &job.to_string())
    };
    let done = place.mxjob(&["run", &with("hostUsers", json!(false))]);
    assert_eq!(done.code(), Some(2), "{}", done.stderr);
    done.stderr.must_contain("spec.mxReplicaSpecs.Worker.template.spec.hostUsers: Forbidden: ");
    let gates = json!([{ "conditionType": "example.com/checked" }]);
    let done = place.mxjob(&["run", &with("readinessGates", gates)]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    done.stderr.must_contain("mxjob: warning: ");
    done.stderr.must_contain("Worker.template.spec.readinessGates: not honoured by this node: ");
}

#[test]
fn pod_and_job_get_an_event_about_fields_without_effect() {
    let place = Place::new();
    let server = Server::up(&place);
    let mut job = place.job("odd", "true", "true", "true");
    let worker = &mut job["spec"]["mxReplicaSpecs"]["Worker"]["template"]["spec"];
    worker["readinessGates"] = json!([{ "conditionType": "example.com/checked" }]);
    server.create(&job);
    server.wait_for("odd", "Succeeded");
    let events = |about: &str| {
        let selector =
            format!("--field-selector=reason=FieldNotHonoured,involvedObject.kind={about}");
        let list = server.kubectl(&["get", "events", "-o", "json", &selector]);
        let list: Value = serde_json::from_str(&list).unwrap();
        list["items"].as_array().unwrap().clone()
    };
    let of_pods = wait_until("the pods have events", || {
        Some(events("Pod")).filter(|events| events.len() == 2)
    });
    for event in &of_pods {
        let message = event["message"].as_str().unwrap();
        assert!(
            message.starts_with("this node does not honour spec.readinessGates ("),
            "{message}"
        );
        assert_eq!((&event["type"], &event["count"]), (&json!("Warning"), &json!(1)));
    }
    let of_job =
        wait_until("the job has an event", || Some(events("MXJob")).filter(|it| !it.is_empty()));
    assert_eq!(of_job.len(), 1, "{of_job:#?}");
    let message = of_job[0]["message"].as_str().unwrap();
    assert!(
        message.contains("spec.mxReplicaSpecs.Worker.template.spec.readinessGates"),
        "{message}"
    );
    server.terminate();
}
