//! `mxjob run`: exit codes, output, and cleanup.

use serde_json::Value;

use crate::support::{Done, Place, Server, Text as _, signal, until};

/// Runs a job. Temporary files go into the test's directory, so that leftovers are found.
fn run(place: &Place, job: &Value, args: &[&str]) -> Done {
    let done = Done::of(command(place, job, args).output().unwrap());
    place.wait_until_nothing_runs();
    let left: Vec<_> = std::fs::read_dir(place.path().join("tmp")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    done
}

fn command(place: &Place, job: &Value, args: &[&str]) -> std::process::Command {
    std::fs::create_dir_all(place.path().join("tmp")).unwrap();
    let file = place.write("job.json", &job.to_string());
    let mut command = place.command(&["run", &file]);
    command.args(args).env("TMPDIR", place.path().join("tmp"));
    command
}

#[test]
fn success_exits_with_0_and_prints_every_log_line() {
    let place = Place::new();
    // The job ends with its scheduler, so the scheduler waits for the workers, as ps-lite does.
    let wait = format!("{}; {}", until("done-0"), until("done-1"));
    let worker =
        "echo out $DMLC_WORKER_ID; echo err >&2; printf end; : > $PLACE/done-$DMLC_WORKER_ID";
    let done = run(&place, &place.job("fine", &wait, &wait, worker), &[]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    let mut lines: Vec<&str> = done.stdout.lines().collect();
    lines.sort_unstable();
    let want = [
        "worker-0    | end",
        "worker-0    | err",
        "worker-0    | out 0",
        "worker-1    | end",
        "worker-1    | err",
        "worker-1    | out 1",
    ];
    assert_eq!(lines, want);
    for line in ["mxjob: MXJob fine is created.", "mxjob: MXJob fine is successfully completed."] {
        done.stderr.must_contain(line);
    }
}

#[test]
fn files_are_read_as_kubectl_reads_them() {
    let place = Place::new();
    let job = |name: &str| place.job(name, "true", "true", "true").to_string();
    let exported = job("listed").replacen(
        "\"metadata\":{",
        "\"status\":{},\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"7\",",
        1,
    );
    let folder = place.path().join("jobs");
    std::fs::create_dir(&folder).unwrap();
    let list = format!(
        "{{\"kind\":\"List\",\"apiVersion\":\"v1\",\"items\":[{exported},\n{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"c\"}}}}]}}"
    );
    std::fs::write(folder.join("list.json"), list).unwrap();
    std::fs::write(folder.join("stream.json"), format!("{}\n{}", job("first"), job("second")))
        .unwrap();
    let done = Done::of(place.command(&["run", folder.to_str().unwrap()]).output().unwrap());
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    for name in ["listed", "first", "second"] {
        let line = format!("mxjob: MXJob {name} is successfully completed.");
        assert!(done.stderr.contains(&line), "{}", done.stderr);
    }
}

#[test]
fn failure_exits_with_1_and_names_replica_and_last_lines() {
    let place = Place::new();
    let worker =
        "[ $DMLC_WORKER_ID = 1 ] || sleep 1000; echo reading; echo there is no data >&2; exit 3";
    let done = run(&place, &place.job("bad", "sleep 1000", "sleep 1000", worker), &[]);
    assert_eq!(done.code(), Some(1), "{}", done.stderr);
    done.stderr.must_contain("mxjob: worker-1 failed: exit code 3\n");
    done.stderr.must_contain("mxjob: MXJob bad is failed because worker-1 ");
    done.stderr.must_end_with("\nLast lines of worker-1:\n  reading\n  there is no data\n");
}

/// Starts a job that never ends, and sends a signal once it runs.
fn stopped_by(name: &str) -> Option<i32> {
    let place = Place::new();
    let job = place.job("endless", "sleep 1000", "sleep 1000", "echo ready; sleep 1000");
    let mut lines = place.start(command(&place, &job, &[]));
    lines.wait_for("ready");
    signal(lines.id(), name);
    let (status, _) = lines.finish();
    place.wait_until_nothing_runs();
    assert_eq!(std::fs::read_dir(place.path().join("tmp")).unwrap().count(), 0);
    status.code()
}

#[test]
fn interrupt_exits_with_130_after_a_clean_stop() {
    assert_eq!(stopped_by("INT"), Some(130));
}

#[test]
fn termination_exits_with_143_after_a_clean_stop() {
    assert_eq!(stopped_by("TERM"), Some(143));
}

#[test]
fn timeout_exits_with_124() {
    let place = Place::new();
    let done = run(
        &place,
        &place.job("slow", "sleep 1000", "sleep 1000", "sleep 1000"),
        &["--timeout", "1s"],
    );
    assert_eq!(done.code(), Some(124), "{}", done.stderr);
    assert!(
        done.stderr
            .ends_with("mxjob: job slow did not finish within 1 s; everything was stopped\n"),
        "{}",
        done.stderr
    );
}

#[test]
fn second_interrupt_does_not_wait_for_pods_that_ignore_signals() {
    let place = Place::new();
    let job = place.job(
        "stubborn",
        "sleep 1000",
        "sleep 1000",
        "trap '' TERM; echo ready; while :; do sleep 1; done",
    );
    let mut lines = place.start(command(&place, &job, &[]));
    lines.wait_for("ready");
    signal(lines.id(), "INT");
    crate::support::wait_until("the first interrupt is reported", || {
        place.stderr().contains("mxjob: stopping").then_some(())
    });
    signal(lines.id(), "INT");
    assert_eq!(lines.finish().0.code(), Some(130));
    place.wait_until_nothing_runs();
}

#[test]
fn two_interrupts_while_pods_are_starting_leave_nothing() {
    let place = Place::new();
    let mut job = place.job("many", "sleep 1000", "sleep 1000", "sleep 1000");
    job["spec"]["mxReplicaSpecs"]["Worker"]["replicas"] = 24.into();
    let lines = place.start(command(&place, &job, &[]));
    let wait_for = |text: &str| {
        crate::support::wait_until(text, || place.stderr().contains(text).then_some(()));
    };
    wait_for("mxjob: MXJob many is created.");
    signal(lines.id(), "INT");
    wait_for("mxjob: stopping");
    signal(lines.id(), "INT");
    assert_eq!(lines.finish().0.code(), Some(130));
    place.wait_until_nothing_runs();
}

#[test]
fn invalid_file_exits_with_2_and_names_line_and_field() {
    let place = Place::new();
    let check = |text: &str, want: &[&str]| {
        let file = place.write("broken.yaml", text);
        let done = place.mxjob(&["run", &file]);
        assert_eq!(done.code(), Some(2), "{}", done.stderr);
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert_eq!(lines.len(), want.len(), "{}", done.stderr);
        for (line, want) in lines.iter().zip(want) {
            let want = format!("mxjob: {file}{want}");
            assert!(line.starts_with(&want), "{line:?} should start with {want:?}");
        }
        assert_eq!(done.stdout, "");
    };
    check("kind: MXJob\n  spec: [\n", &[", line "]);
    check("", &[": there is no MXJob"]);
    let job = "\
apiVersion: kubeflow.org/v1
kind: MXJob
metadata:
  name: Broken
spec:
  cleanPodPolicy: Sometimes
  mxReplicaSpecs:
    Worker:
      replicas: two
      template: {spec: {containers: [{name: mxnet, image: i}]}}
";
    check(
        job,
        &[
            ", line 4: metadata.name: ",
            ", line 6: spec.cleanPodPolicy: ",
            ", line 9: spec.mxReplicaSpecs.Worker.replicas: ",
        ],
    );
    assert_eq!(
        place.mxjob(&["run", "/no/such/file"]).stderr,
        "mxjob: cannot read /no/such/file: No such file or directory (os error 2)\n"
    );
}

#[test]
fn config_maps_and_secrets_may_be_in_the_same_file() {
    let place = Place::new();
    std::fs::create_dir_all(place.path().join("tmp")).unwrap();
    let file = place.write(
        "job.yaml",
        "\
apiVersion: v1
kind: ConfigMap
metadata: {name: greeting, namespace: elsewhere}
data: {text: hello}
---
apiVersion: kubeflow.org/v1
kind: MXJob
metadata: {name: reader, namespace: elsewhere}
spec:
  mxReplicaSpecs:
    Worker:
      template:
        spec:
          containers:
            - name: mxnet
              image: none
              command: [/bin/sh, -c, 'echo \"$GREETING world\"']
              env:
                - name: GREETING
                  valueFrom: {configMapKeyRef: {name: greeting, key: text}}
",
    );
    let done = Done::of(
        place.command(&["run", &file]).env("TMPDIR", place.path().join("tmp")).output().unwrap(),
    );
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    assert_eq!(done.stdout, "worker-0 | hello world\n");
    place.wait_until_nothing_runs();
}

#[test]
fn rejected_job_leaves_no_object_of_its_file() {
    let place = Place::new();
    let job = |name: &str| place.job(name, "sleep 1000", "sleep 1000", "sleep 1000").to_string();
    let file = place.write("job.yaml", &[job("one"), job("two"), job("two")].join("\n---\n"));
    let data = place.data().display().to_string();
    let done = place.mxjob(&["run", &file, "--data-dir", &data]);
    assert_eq!(done.code(), Some(2), "{}", done.stderr);
    let want = "mxjob: cannot create MXJob two: mxjobs.kubeflow.org \"two\" already exists\n";
    done.stderr.must_end_with(want);
    place.wait_until_nothing_runs();
    let server = Server::start(&place, "apiserver", &[]);
    assert_eq!(server.kubectl(&["get", "mxjobs", "-A", "-o", "name"]), "");
}

#[test]
fn name_may_be_generated() {
    let place = Place::new();
    let mut job =
        place.job("x", &until("done-0"), &until("done-0"), ": > $PLACE/done-$DMLC_WORKER_ID");
    job["metadata"] = serde_json::json!({"generateName": "trial-"});
    let done = run(&place, &job, &[]);
    assert_eq!(done.code(), Some(0), "{}", done.stderr);
    done.stderr.must_contain("mxjob: MXJob trial-");
}
