//! The columns READY, STATUS and RESTARTS of a pod, as `printPod` of Kubernetes computes them.

use mxjob_machinery::json::{list, text};
use serde_json::Value;

/// What `kubectl get pods` says about a pod.
#[derive(Debug)]
pub(super) struct Summary {
    pub(super) ready: usize,
    /// The containers and the sidecars.
    pub(super) total: usize,
    pub(super) restarts: u64,
    /// The phase, or the reason that explains it.
    pub(super) word: String,
}

// === impl Summary ===

impl Summary {
    pub(super) fn of(pod: &Value) -> Self {
        let sidecars = list(pod, "/spec/initContainers").iter().filter(|one| is_sidecar(one));
        let reasons = [text(pod, "/status/reason"), text(pod, "/status/phase")];
        let word = reasons.into_iter().find(|reason| !reason.is_empty()).unwrap_or_default();
        let mut summary = Self {
            ready: 0,
            total: list(pod, "/spec/containers").len() + sidecars.count(),
            restarts: 0,
            word: word.to_owned(),
        };
        if has_condition(pod, "PodScheduled", "SchedulingGated") {
            "SchedulingGated".clone_into(&mut summary.word);
        }
        let of_sidecars = summary.add_init_containers(pod);
        let is_initializing = of_sidecars.is_none();
        if !is_initializing || is_true(pod, "Initialized") {
            summary.restarts = of_sidecars.unwrap_or(summary.restarts);
            summary.add_containers(pod);
        }
        let is_ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
        if !text(pod, "/metadata/deletionTimestamp").is_empty() {
            match text(pod, "/status/reason") {
                "NodeLost" => "Unknown".clone_into(&mut summary.word),
                _ if is_ended => {}
                _ => "Terminating".clone_into(&mut summary.word),
            }
        }
        summary
    }

    /// Adds init containers up to the first that others wait for. Returns the restarts of sidecars,
    /// or `None` if there is such a container.
    fn add_init_containers(&mut self, pod: &Value) -> Option<u64> {
        let specs = list(pod, "/spec/initContainers");
        let mut of_sidecars = 0;
        for (index, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
            let name = text(status, "/name");
            let is_sidecar = specs.iter().any(|one| text(one, "/name") == name && is_sidecar(one));
            self.restarts += restarts(status);
            if is_sidecar {
                of_sidecars += restarts(status);
            }
            let ended = status.pointer("/state/terminated");
            if ended.is_some_and(|ended| number(ended, "exitCode") == 0) {
                continue;
            }
            if is_sidecar && flag(status, "started") {
                self.ready += usize::from(flag(status, "ready"));
                continue;
            }
            let waiting = text(status, "/state/waiting/reason");
            self.word = match ended {
                Some(ended) => format!("Init:{}", end(ended)),
                None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
                None => format!("Init:{index}/{}", specs.len()),
            };
            return None;
        }
        Some(of_sidecars)
    }

    fn add_containers(&mut self, pod: &Value) {
        let mut is_running = false;
        // The first container decides.
        for status in list(pod, "/status/containerStatuses").iter().rev() {
            self.restarts += restarts(status);
            let waiting = text(status, "/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.word);
            } else if let Some(ended) = status.pointer("/state/terminated") {
                self.word = end(ended);
            } else if flag(status, "ready") && status.pointer("/state/running").is_some() {
                is_running = true;
                self.ready += 1;
            }
        }
        if self.word == "Completed" && is_running {
            let word = if is_true(pod, "Ready") { "Running" } else { "NotReady" };
            word.clone_into(&mut self.word);
        }
    }
}

fn is_sidecar(container: &Value) -> bool {
    text(container, "/restartPolicy") == "Always"
}

/// How a container ended, in a word.
fn end(terminated: &Value) -> String {
    let reason = text(terminated, "/reason");
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match number(terminated, "signal") {
        0 => format!("ExitCode:{}", number(terminated, "exitCode")),
        signal => format!("Signal:{signal}"),
    }
}

fn number(object: &Value, field: &str) -> i64 {
    object.get(field).and_then(Value::as_i64).unwrap_or_default()
}

fn flag(object: &Value, field: &str) -> bool {
    object.get(field).and_then(Value::as_bool) == Some(true)
}

fn restarts(status: &Value) -> u64 {
    status.get("restartCount").and_then(Value::as_u64).unwrap_or_default()
}

fn has_condition(pod: &Value, kind: &str, reason: &str) -> bool {
    let mut all = list(pod, "/status/conditions").iter();
    all.any(|one| text(one, "/type") == kind && text(one, "/reason") == reason)
}

fn is_true(pod: &Value, kind: &str) -> bool {
    let mut all = list(pod, "/status/conditions").iter();
    all.any(|one| text(one, "/type") == kind && text(one, "/status") == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// READY, STATUS and RESTARTS.
    fn columns(pod: &Value) -> String {
        let Summary { ready, total, word, restarts } = Summary::of(pod);
        format!("{ready}/{total} {word} {restarts}")
    }

    fn status(name: &str, state: &Value, more: &Value) -> Value {
        let mut status = json!({ "name": name, "state": state, "restartCount": 1 });
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        status
    }

    #[test]
    fn a_pod_is_summed_up_as_in_kubernetes() {
        let running = json!({ "running": {} });
        let done = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
        let killed = json!({ "terminated": { "exitCode": 137, "signal": 9 } });
        let failed = json!({ "terminated": { "exitCode": 3 } });
        let waits = |reason: &str| json!({ "waiting": { "reason": reason } });
        let ready = json!({ "ready": true, "started": true });
        let no = json!({});
        for (init, main, phase, expect) in [
            (vec![], vec![], "Pending", "0/2 Pending 0"),
            (vec![], vec![(&running, &ready), (&running, &no)], "Running", "1/2 Running 2"),
            (vec![], vec![(&running, &ready), (&done, &no)], "Running", "1/2 NotReady 2"),
            (vec![], vec![(&done, &no), (&done, &no)], "Succeeded", "0/2 Completed 2"),
            (vec![], vec![(&waits("BackOff"), &no), (&failed, &no)], "Running", "0/2 BackOff 2"),
            (vec![], vec![(&killed, &no)], "Failed", "0/2 Signal:9 1"),
            (vec![("i", &running, &no)], vec![], "Pending", "0/2 Init:0/2 1"),
            (vec![("i", &waits("X"), &no)], vec![], "Pending", "0/2 Init:X 1"),
            (vec![("i", &failed, &no)], vec![], "Failed", "0/2 Init:ExitCode:3 1"),
            (vec![("i", &done, &no), ("s", &running, &no)], vec![], "Pending", "0/3 Init:1/2 2"),
            (
                vec![("i", &done, &no), ("s", &running, &ready)],
                vec![(&running, &ready), (&running, &ready)],
                "Running",
                "3/3 Running 3",
            ),
        ] {
            let mut specs = vec![json!({ "name": "i" }), json!({ "name": "j" })];
            if let Some(second) = specs.get_mut(1)
                && init.iter().any(|(name, ..)| *name == "s")
            {
                *second = json!({ "name": "s", "restartPolicy": "Always" });
            }
            let init: Vec<_> =
                init.iter().map(|(name, state, more)| status(name, state, more)).collect();
            let main: Vec<_> = main.iter().map(|(state, more)| status("c", state, more)).collect();
            let pod = json!({
                "spec": { "containers": [{}, {}], "initContainers": specs },
                "status": {
                    "phase": phase, "initContainerStatuses": init, "containerStatuses": main,
                },
            });
            assert_eq!(columns(&pod), expect);
        }
    }

    #[test]
    fn a_deleted_pod_is_terminating_until_it_has_ended() {
        for (phase, reason, word) in [
            ("Running", "", "Terminating"),
            ("Succeeded", "", "Succeeded"),
            ("Running", "NodeLost", "Unknown"),
        ] {
            let pod = json!({
                "metadata": { "deletionTimestamp": "2026-01-01T00:00:00Z" },
                "status": { "phase": phase, "reason": reason },
            });
            assert_eq!(Summary::of(&pod).word, word);
        }
    }
}
