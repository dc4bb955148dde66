//! Probes, hooks and sidecars, with real processes and servers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use mxjob_node::runtime::IsolationMode;
use mxjob_testkit::Server;
use serde_json::{Value, json};

use crate::site::{Site, block_on, pid_of, shell};

crate::tests!("probes":
    readiness_follows_a_command,
    a_failed_liveness_probe_restarts_the_container,
    a_failed_liveness_probe_ends_a_pod_that_is_never_restarted,
    a_startup_probe_holds_the_others_back,
    servers_are_probed,
    hooks_run_after_the_start_and_before_the_end,
    a_failed_hook_after_the_start_ends_the_container,
    a_hook_before_the_end_gets_the_grace_period_only,
    a_hook_before_the_end_runs_also_for_a_pod_deleted_without_an_agent,
    a_hook_before_the_end_is_not_run_twice,
    sidecars_run_beside_the_others_and_end_last,
    a_sidecar_is_restarted,
);

/// A program that runs until it is ended.
const ENDLESS: &str = "trap 'exit 0' TERM; echo $$; while :; do sleep 0.01; done";

fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

fn is_ready(pod: &Value) -> bool {
    container(pod)["ready"] == true
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a Value {
    let all = pod["status"]["conditions"].as_array().unwrap();
    all.iter().find(|one| one["type"] == kind).unwrap()
}

/// Waits for an event with this text.
async fn event(site: &Site, reason: &str, text: &str) -> Value {
    let find = |server: &Server| {
        server.all("events").into_iter().find(|event| {
            event["reason"] == reason && event["message"].as_str().unwrap().contains(text)
        })
    };
    site.server.wait_for(&format!("{reason}: {text}"), |server| find(server).is_some()).await;
    find(&site.server).unwrap()
}

fn readiness_follows_a_command() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("ready");
        let mut spec = shell(ENDLESS);
        spec["containers"][0]["readinessProbe"] = json!({
            "exec": { "command": ["sh", "-c", format!("echo looking >&2; test -e {}", file.display())] },
            "periodSeconds": 1, "failureThreshold": 1,
        });
        let name = site.create("p", spec);
        event(&site, "Unhealthy", "Readiness probe failed: looking\n").await;
        let pod = site.phase(&name, "Running").await;
        assert!(!is_ready(&pod));
        assert_eq!(container(&pod)["started"], true);
        let message = "containers with unready status: [mxnet]";
        for kind in ["Ready", "ContainersReady"] {
            assert_eq!(condition(&pod, kind)["status"], "False");
            assert_eq!(condition(&pod, kind)["message"], message);
        }
        std::fs::write(&file, "").unwrap();
        let pod = site.until(&name, is_ready).await;
        assert_eq!(condition(&pod, "Ready")["status"], "True");
        std::fs::remove_file(&file).unwrap();
        let pod = site.until(&name, |pod| !is_ready(pod)).await;
        assert_eq!(container(&pod)["restartCount"], 0);
        site.delete(&name, 1);
        site.gone(&name).await;
    });
}

fn a_failed_liveness_probe_restarts_the_container() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("trap '' TERM; echo $$; while :; do sleep 0.01; done");
        spec["restartPolicy"] = "OnFailure".into();
        spec["containers"][0]["livenessProbe"] = json!({
            "exec": { "command": ["false"] },
            "periodSeconds": 1, "failureThreshold": 1, "terminationGracePeriodSeconds": 1,
        });
        let name = site.create("p", spec);
        let pod = site.until(&name, |pod| container(pod)["restartCount"] == 1).await;
        assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
        event(&site, "Unhealthy", "Liveness probe failed").await;
        event(&site, "Killing", "Container mxnet failed liveness probe, will be restarted").await;
        site.delete(&name, 0);
    });
}

fn a_failed_liveness_probe_ends_a_pod_that_is_never_restarted() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("exec sleep 1000");
        spec["containers"][0]["livenessProbe"] =
            json!({ "exec": { "command": ["false"] }, "periodSeconds": 1, "failureThreshold": 1 });
        let pod = site.phase(&site.create("p", spec), "Failed").await;
        assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 143);
        event(&site, "Killing", "Container mxnet failed liveness probe").await;
    });
}

fn a_startup_probe_holds_the_others_back() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("started");
        let mut spec = shell(ENDLESS);
        spec["restartPolicy"] = "Always".into();
        let command = json!(["test", "-e", file.to_str().unwrap()]);
        spec["containers"][0]["startupProbe"] = json!({
            "exec": { "command": command }, "periodSeconds": 1, "failureThreshold": 1000,
        });
        // It would fail before the start.
        spec["containers"][0]["livenessProbe"] = json!({
            "exec": { "command": command }, "periodSeconds": 1, "failureThreshold": 1,
        });
        let name = site.create("p", spec);
        event(&site, "Unhealthy", "Startup probe failed").await;
        let pod = site.phase(&name, "Running").await;
        assert_eq!((&container(&pod)["started"], is_ready(&pod)), (&json!(false), false));
        std::fs::write(&file, "").unwrap();
        let pod = site.until(&name, is_ready).await;
        assert_eq!(
            (&container(&pod)["started"], container(&pod)["restartCount"] == 0),
            (&json!(true), true)
        );
        site.delete(&name, 0);
    });
}

/// A server that answers each connection with a fixed text, or only accepts it.
fn serve(answer: &'static str) -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            heard.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..length]));
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, seen)
}

fn servers_are_probed() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let (good, seen) = serve("HTTP/1.1 204 No Content\r\n\r\n");
        let (bad, _) = serve("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
        let create = |name: &str, probe: Value| {
            let mut spec = shell(ENDLESS);
            spec["containers"][0]["readinessProbe"] = probe;
            spec["containers"][0]["readinessProbe"]["periodSeconds"] = json!(1);
            site.create(name, spec)
        };
        let get = |port: u16| {
            let headers = json!([{ "name": "X-Probe", "value": "yes" }]);
            json!({ "httpGet": { "host": "127.0.0.1", "port": port, "path": "/health?a", "httpHeaders": headers } })
        };
        let names = [
            create("http", get(good.port())),
            create("busy", get(bad.port())),
            create("tcp", json!({ "tcpSocket": { "host": "127.0.0.1", "port": good.port() } })),
            // No server of this pod listens there.
            create("refused", json!({ "tcpSocket": { "port": 1 } })),
            create("grpc", json!({ "grpc": { "port": 1 } })),
        ];
        site.until("http", is_ready).await;
        let request = seen.lock().unwrap().clone();
        assert!(request.contains("GET /health?a HTTP/1.1\r\n"), "{request}");
        let lower = request.to_lowercase();
        assert!(lower.contains("x-probe: yes\r\n") && lower.contains("user-agent: kube-probe/"));
        site.until("tcp", is_ready).await;
        event(&site, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
            .await;
        event(&site, "Unhealthy", "Readiness probe failed: dial tcp 127.").await;
        event(&site, "Unhealthy", "connect: connection refused").await;
        event(&site, "Unhealthy", "Readiness probe failed: error: failed to connect service").await;
        for name in ["busy", "refused", "grpc"] {
            assert!(!is_ready(&site.pod(name)), "{name}");
        }
        for name in names {
            site.delete(&name, 0);
        }
    });
}

/// A hook that writes a word to a file.
fn write(word: &str, file: &std::path::Path) -> Value {
    json!({ "exec": { "command": ["sh", "-c", format!("echo {word} >> {}", file.display())] } })
}

fn hooks_run_after_the_start_and_before_the_end() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("order");
        let script = format!(
            "trap 'echo end >> {0}; exit 0' TERM; until [ -e {0} ]; do sleep 0.01; done; while :; do sleep 0.01; done",
            file.display()
        );
        let mut spec = shell(&script);
        spec["containers"][0]["lifecycle"] =
            json!({ "postStart": write("post", &file), "preStop": write("pre", &file) });
        let name = site.create("p", spec);
        site.until(&name, is_ready).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "post\n");
        site.delete(&name, 30);
        site.gone(&name).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "post\npre\nend\n");
    });
}

fn a_failed_hook_after_the_start_ends_the_container() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell("exec sleep 1000");
        let hook = json!({ "exec": { "command": ["sh", "-c", "echo no; exit 3"] } });
        spec["containers"][0]["lifecycle"] = json!({ "postStart": hook });
        let pod = site.phase(&site.create("p", spec), "Failed").await;
        assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 143);
        event(&site, "FailedPostStartHook", "PostStartHook failed").await;
        event(&site, "Killing", "FailedPostStartHook").await;
    });
}

fn a_hook_before_the_end_gets_the_grace_period_only() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let mut spec = shell(ENDLESS);
        spec["containers"][0]["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 30 } } });
        spec["terminationGracePeriodSeconds"] = json!(60);
        let name = site.create("p", spec);
        pid_of(&site, &name).await;
        site.delete(&name, 1);
        site.gone(&name).await;
        event(&site, "FailedPreStopHook", "PreStopHook failed").await;
        // A hook that fails does not keep the container.
        let mut spec = shell(ENDLESS);
        spec["containers"][0]["lifecycle"] =
            json!({ "preStop": { "exec": { "command": ["no-such-program"] } } });
        let name = site.create("q", spec);
        pid_of(&site, &name).await;
        site.delete(&name, 30);
        site.gone(&name).await;
    });
}

fn a_hook_before_the_end_runs_also_for_a_pod_deleted_without_an_agent() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("order");
        let mut spec = shell(ENDLESS);
        spec["containers"][0]["lifecycle"] = json!({ "preStop": write("pre", &file) });
        let name = site.create("p", spec);
        pid_of(&site, &name).await;
        site.stop().await;
        site.delete(&name, 30);
        assert!(!file.exists());
        site.start();
        site.gone(&name).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "pre\n");
    });
}

fn a_hook_before_the_end_is_not_run_twice() {
    block_on(async {
        let mut site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("order");
        let mut spec = shell(ENDLESS);
        let script = format!("echo pre >> {}; exec sleep 1000", file.display());
        spec["containers"][0]["lifecycle"] =
            json!({ "preStop": { "exec": { "command": ["sh", "-c", script] } } });
        let name = site.create("p", spec);
        pid_of(&site, &name).await;
        site.delete(&name, 5);
        let seen = file.clone();
        let look = move || {
            crate::node::eventually("the hook", || {
                std::fs::read_to_string(&seen).ok().filter(|text| !text.is_empty())
            })
        };
        tokio::task::spawn_blocking(look).await.unwrap();
        site.stop().await;
        site.start();
        site.gone(&name).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "pre\n");
    });
}

fn sidecars_run_beside_the_others_and_end_last() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let file = site.dir.path().join("order");
        let say = |word: &str| format!("echo {word} >> {};", file.display());
        let sidecar = |name: &str| {
            let script = format!(
                "trap '{} exit 0' TERM; {} while :; do sleep 0.01; done",
                say(&format!("{name}-end")),
                say(name)
            );
            let probe = json!({
                "exec": { "command": ["grep", "-q", format!("^{name}$"), file.to_str().unwrap()] },
                "periodSeconds": 1, "failureThreshold": 1000,
            });
            json!({ "name": name, "image": "any", "command": ["sh", "-c", script], "restartPolicy": "Always", "startupProbe": probe })
        };
        let mut spec = shell(&say("main"));
        let init = json!({ "name": "init", "image": "any", "command": ["sh", "-c", say("init")] });
        spec["initContainers"] = json!([sidecar("one"), init, sidecar("two")]);
        let pod = site.phase(&site.create("p", spec), "Succeeded").await;
        let order = std::fs::read_to_string(&file).unwrap();
        assert_eq!(order, "one\ninit\ntwo\nmain\ntwo-end\none-end\n");
        let statuses = pod["status"]["initContainerStatuses"].as_array().unwrap();
        for (status, name) in statuses.iter().zip(["one", "init", "two"]) {
            assert_eq!(status["name"], name);
            assert_eq!(status["state"]["terminated"]["exitCode"], 0, "{status}");
            assert_eq!(status["restartCount"], 0);
        }
        assert_eq!(condition(&pod, "Initialized")["status"], "True");
    });
}

fn a_sidecar_is_restarted() {
    block_on(async {
        let site = Site::new(IsolationMode::Auto);
        let tried = site.dir.path().join("tried");
        let script = format!("[ -e {0} ] && exec sleep 1000; touch {0}; exit 0", tried.display());
        let mut spec = shell(ENDLESS);
        spec["initContainers"] = json!([{
            "name": "side", "image": "any", "command": ["sh", "-c", script], "restartPolicy": "Always",
        }]);
        let name = site.create("p", spec);
        let restarted = |pod: &Value| {
            let side = &pod["status"]["initContainerStatuses"][0];
            side["restartCount"] == 1 && side["ready"] == true
        };
        site.until(&name, restarted).await;
        let pod = site.phase(&name, "Running").await;
        assert_eq!(condition(&pod, "Ready")["status"], "True");
        site.delete(&name, 1);
        site.gone(&name).await;
    });
}
