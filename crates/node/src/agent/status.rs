//! Computes the status of a pod from its containers. Pure.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::{
    container::{ContainerState, Live, Role, Tracked},
    devices::{Assigned, OfPod},
    order::{self, Outcome},
};
use crate::state::{ExitReason, ExitRecord, UsedRecord};

/// The input of a status.
#[derive(Debug)]
pub(super) struct StatusFacts<'a> {
    pub(super) pod: &'a Pod,
    pub(super) containers: &'a [Tracked],
    pub(super) address: Option<Ipv4Addr>,
    pub(super) host_ip: &'a str,
    /// When the agent first saw the pod.
    pub(super) start_time: Timestamp,
    /// The reason and message of a pod whose containers the node has ended.
    pub(super) ended_by_node: Option<&'a (&'static str, String)>,
    /// The devices of its containers.
    pub(super) devices: OfPod,
}

/// Reason and message of a pod that was active for longer than it may: the kubelet's.
pub(super) const DEADLINE_EXCEEDED: (&str, &str) =
    ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");

/// The condition of an ended pod that says what it used.
const USED: &str = "mxjob.io/ResourcesUsed";

/// The phase of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

impl Phase {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
        }
    }

    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// The phase, by the rules of Kubernetes. It is final only when nothing runs, also no sidecar.
pub(super) fn phase(containers: &[Tracked]) -> Phase {
    let is_over = !containers.iter().any(|one| one.role != Role::Main && one.is_running());
    match order::outcome(containers) {
        Some(Outcome::Succeeded) if is_over => return Phase::Succeeded,
        Some(Outcome::Failed) if is_over => return Phase::Failed,
        _ if !order::is_initialized(containers) => return Phase::Pending,
        Some(_) => return Phase::Running,
        None => {}
    }
    let never_ran = |one: &Tracked| {
        let waits = match &one.state {
            ContainerState::Waiting { .. } => true,
            ContainerState::Running(live) => !live.is_hooked,
            ContainerState::Backoff { .. } | ContainerState::Ended(_) => false,
        };
        waits && one.last.is_none()
    };
    let waits = containers.iter().any(|one| one.role == Role::Main && never_ran(one));
    if waits { Phase::Pending } else { Phase::Running }
}

/// The whole status. `before` is the status in the API: its transition times are kept.
pub(super) fn status(facts: &StatusFacts<'_>, before: &Value, now: Timestamp) -> Value {
    let phase = if facts.ended_by_node.is_some() { Phase::Failed } else { phase(facts.containers) };
    let (main, init): (Vec<_>, Vec<_>) =
        facts.containers.iter().partition(|one| one.role == Role::Main);
    let mut status = json!({
        "phase": phase.as_str(),
        "startTime": seconds(facts.start_time),
        "hostIP": facts.host_ip,
        "hostIPs": [{ "ip": facts.host_ip }],
        "conditions": conditions(facts, phase, before, now),
        "containerStatuses": container_statuses(facts, &main),
    });
    if let Some(status) = status.as_object_mut() {
        if !init.is_empty() {
            status.insert("initContainerStatuses".to_owned(), container_statuses(facts, &init));
        }
        // The API server has decided the class, and no later status may have another one.
        if let Some(class) = facts.pod.status.as_ref().and_then(|it| it.qos_class.as_deref()) {
            status.insert("qosClass".to_owned(), class.into());
        }
        if let Some(address) = facts.address {
            status.insert("podIP".to_owned(), json!(address));
            status.insert("podIPs".to_owned(), json!([{ "ip": address }]));
        }
        if phase == Phase::Failed
            && let Some((reason, message)) =
                facts.ended_by_node.cloned().or_else(|| failure(facts.containers))
        {
            status.insert("reason".to_owned(), reason.into());
            status.insert("message".to_owned(), message.into());
        }
    }
    status
}

/// The reason and message of a failed pod, if it is not simply that a program failed.
fn failure(containers: &[Tracked]) -> Option<(&'static str, String)> {
    containers.iter().find_map(|one| match &one.state {
        ContainerState::Ended(exit)
            if matches!(
                exit.reason,
                ExitReason::ShimLost | ExitReason::ImageNotUsed | ExitReason::InvalidPodSpec
            ) =>
        {
            Some((exit.reason.as_str(), exit.message.clone().unwrap_or_default()))
        }
        _ => None,
    })
}

fn conditions(facts: &StatusFacts<'_>, phase: Phase, before: &Value, now: Timestamp) -> Value {
    let initialized = order::is_initialized(facts.containers);
    let is_unready = |one: &&Tracked| one.role != Role::Init && !is_ready(one);
    let ready = !facts.containers.iter().any(|one| is_unready(&one));
    let not_ready = match phase {
        Phase::Succeeded => ("PodCompleted", None),
        Phase::Failed => ("PodFailed", None),
        Phase::Pending | Phase::Running => {
            let names: Vec<&str> =
                facts.containers.iter().filter(is_unready).map(|one| one.name.as_str()).collect();
            (
                "ContainersNotReady",
                Some(format!("containers with unready status: [{}]", names.join(" "))),
            )
        }
    };
    let initializing = ("ContainersNotInitialized", None);
    let mut all = Vec::new();
    for (kind, holds, why_not) in [
        ("PodScheduled", true, None),
        ("Initialized", initialized, Some(&initializing)),
        ("ContainersReady", ready, Some(&not_ready)),
        ("Ready", ready, Some(&not_ready)),
    ] {
        let value = if holds { "True" } else { "False" };
        let since = since(before, kind, value).unwrap_or_else(|| seconds(now).into());
        let mut condition = json!({ "type": kind, "status": value, "lastTransitionTime": since });
        if let (false, Some((reason, message)), Some(condition)) =
            (holds, why_not, condition.as_object_mut())
        {
            condition.insert("reason".to_owned(), (*reason).into());
            if let Some(message) = message {
                condition.insert("message".to_owned(), message.as_str().into());
            }
        }
        all.push(condition);
    }
    if let Some(message) = used(facts.containers).filter(|_| phase.is_final()) {
        let since = since(before, USED, "True").unwrap_or_else(|| seconds(now).into());
        all.push(json!({
            "type": USED, "status": "True", "reason": "Ended", "message": message,
            "lastTransitionTime": since,
        }));
    }
    all.into()
}

fn is_ready(one: &Tracked) -> bool {
    one.live().is_some_and(Live::is_ready) || (one.role == Role::Init && one.succeeded())
}

/// What the last runs of the containers used.
fn used(containers: &[Tracked]) -> Option<String> {
    let of_container = |one: &Tracked| match &one.state {
        ContainerState::Ended(exit) => exit.used,
        _ => None,
    };
    let all = containers.iter().filter_map(of_container).reduce(|sum, one| UsedRecord {
        cpu_millis: sum.cpu_millis.saturating_add(one.cpu_millis),
        peak_memory: sum.peak_memory.max(one.peak_memory),
    })?;
    Some(format!(
        "used {}.{:03} s of CPU time, and at most {} MiB of memory in one process",
        all.cpu_millis / 1000,
        all.cpu_millis % 1000,
        all.peak_memory.div_ceil(1 << 20)
    ))
}

/// The transition time of a condition that already has this value.
fn since(before: &Value, kind: &str, value: &str) -> Option<Value> {
    let known = before.get("conditions")?.as_array()?;
    let same = known.iter().find(|one| one.get("type").and_then(Value::as_str) == Some(kind))?;
    (same.get("status").and_then(Value::as_str) == Some(value))
        .then(|| same.get("lastTransitionTime").cloned())?
        .filter(|time| !time.is_null())
}

fn container_statuses(facts: &StatusFacts<'_>, containers: &[&Tracked]) -> Value {
    containers.iter().map(|one| container_status(facts, one)).collect()
}

/// The id of the newest attempt of a container.
pub(super) fn container_id(pod: &Pod, one: &Tracked) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    format!("process://{uid}/{}/{}", one.name, one.attempt)
}

fn container_status(facts: &StatusFacts<'_>, one: &Tracked) -> Value {
    let id = container_id(facts.pod, one);
    let (state, mut last) = match &one.state {
        ContainerState::Waiting { reason, message, .. } => {
            (waiting(reason, message.as_deref()), None)
        }
        // Kubernetes does not show a container as running before its hook is done.
        ContainerState::Running(live) if !live.is_hooked => {
            (waiting("ContainerCreating", None), None)
        }
        ContainerState::Running(live) => {
            let started = live.running.started_at().unwrap_or(facts.start_time);
            (json!({ "running": { "startedAt": seconds(started) } }), None)
        }
        ContainerState::Backoff { exit, .. } => {
            let message = format!("back-off restarting failed container {}", one.name);
            (waiting("CrashLoopBackOff", Some(&message)), terminated(exit, &id))
        }
        // `terminated` requires an exit code, which may be unknown.
        ContainerState::Ended(exit) => (
            terminated(exit, &id)
                .unwrap_or_else(|| waiting(exit.reason.as_str(), exit.message.as_deref())),
            None,
        ),
    };
    if last.is_none() {
        last = one.last.as_ref().and_then(|exit| terminated(exit, &id));
    }
    let id = if matches!(one.state, ContainerState::Waiting { .. }) { String::new() } else { id };
    let mut status = json!({
        "name": one.name,
        "image": image(facts.pod, &one.name),
        "imageID": "",
        "containerID": id,
        "ready": is_ready(one),
        "started": one.has_started(),
        "restartCount": one.attempt,
        "state": state,
        "lastState": last.unwrap_or_else(|| json!({})),
    });
    let devices = facts.devices.get(&one.name).filter(|one| !one.devices.is_empty());
    if let (Some(devices), Some(status)) = (devices, status.as_object_mut()) {
        status.insert("allocatedResourcesStatus".to_owned(), assigned(&devices.devices));
    }
    status
}

/// The devices of a container. Nothing watches how they are.
fn assigned(devices: &Assigned) -> Value {
    let device = |id: &String| json!({ "resourceID": id, "health": "Unknown" });
    let resource = |(name, ids): (&String, &Vec<String>)| json!({ "name": name, "resources": ids.iter().map(device).collect::<Vec<_>>() });
    devices.iter().map(resource).collect()
}

fn waiting(reason: &str, message: Option<&str>) -> Value {
    let mut waiting = Map::from_iter([("reason".to_owned(), Value::from(reason))]);
    if let Some(message) = message {
        waiting.insert("message".to_owned(), message.into());
    }
    json!({ "waiting": waiting })
}

/// `None` if the exit code is unknown.
fn terminated(exit: &ExitRecord, id: &str) -> Option<Value> {
    let mut state = json!({
        "exitCode": exit.exit_code()?,
        "reason": exit.reason.as_str(),
        "finishedAt": seconds(exit.finished_at),
        "containerID": id,
    });
    let state_map = state.as_object_mut()?;
    if let Some(signal) = exit.signal {
        state_map.insert("signal".to_owned(), signal.into());
    }
    if let Some(message) = &exit.message {
        state_map.insert("message".to_owned(), message.as_str().into());
    }
    if let Some(started) = exit.started_at {
        state_map.insert("startedAt".to_owned(), seconds(started).into());
    }
    Some(json!({ "terminated": state }))
}

fn image<'a>(pod: &'a Pod, container: &str) -> &'a str {
    pod.spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
        .find(|one| one.name == container)
        .and_then(|one| one.image.as_deref())
        .unwrap_or_default()
}

/// A time in the format of Kubernetes, in whole seconds.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(name: &str, role: Role, exit: ExitRecord) -> Tracked {
        let mut one = Tracked::new(name.to_owned(), role);
        one.state = ContainerState::Ended(exit);
        one
    }

    fn exit(code: i32) -> ExitRecord {
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        ExitRecord {
            started_at: Some(Timestamp::UNIX_EPOCH),
            ..ExitRecord::not_started(code, reason, "last line".to_owned(), Timestamp::UNIX_EPOCH)
        }
    }

    fn backoff(name: &str) -> Tracked {
        let mut one = Tracked::new(name.to_owned(), Role::Main);
        one.state = ContainerState::Backoff { until: tokio::time::Instant::now(), exit: exit(1) };
        one
    }

    #[test]
    fn the_phase_follows_the_containers() {
        let waiting = || Tracked::new("w".to_owned(), Role::Main);
        for (containers, expect) in [
            (vec![waiting()], Phase::Pending),
            (vec![ended("a", Role::Main, exit(0))], Phase::Succeeded),
            (vec![ended("a", Role::Main, exit(3))], Phase::Failed),
            (vec![ended("a", Role::Main, exit(0)), ended("b", Role::Main, exit(1))], Phase::Failed),
            (vec![ended("a", Role::Main, exit(0)), waiting()], Phase::Pending),
            (vec![backoff("a")], Phase::Running),
            (vec![Tracked::new("i".to_owned(), Role::Init), waiting()], Phase::Pending),
            (vec![ended("i", Role::Init, exit(1)), waiting()], Phase::Failed),
            (
                vec![ended("i", Role::Init, exit(0)), ended("a", Role::Main, exit(0))],
                Phase::Succeeded,
            ),
            (
                vec![ended("a", Role::Main, ExitRecord::lost(None, Timestamp::UNIX_EPOCH))],
                Phase::Failed,
            ),
        ] {
            assert_eq!(phase(&containers), expect, "{containers:?}");
        }
    }

    fn status_of(containers: &[Tracked], before: &Value) -> Value {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "p", "uid": "u" },
            "spec": { "containers": [{ "name": "mxnet", "image": "training:1" }] },
        }))
        .unwrap();
        let facts = StatusFacts {
            pod: &pod,
            containers,
            address: Some(Ipv4Addr::new(127, 64, 0, 1)),
            host_ip: "10.0.0.1",
            start_time: Timestamp::UNIX_EPOCH,
            ended_by_node: None,
            devices: OfPod::new(),
        };
        status(&facts, before, "2026-11-24T08:00:00.5Z".parse().unwrap())
    }

    #[test]
    fn a_killed_container_has_its_signal_and_last_line() {
        let killed = ExitRecord { code: None, signal: Some(9), ..exit(1) };
        let status = status_of(&[ended("mxnet", Role::Main, killed)], &Value::Null);
        assert_eq!(status["phase"], "Failed");
        assert_eq!(
            status["containerStatuses"][0]["state"]["terminated"],
            json!({
                "exitCode": 137, "signal": 9, "reason": "Error", "message": "last line",
                "startedAt": "1970-01-01T00:00:00Z", "finishedAt": "1970-01-01T00:00:00Z",
                "containerID": "process://u/mxnet/0",
            })
        );
        assert_eq!(status["containerStatuses"][0]["image"], "training:1");
        assert_eq!(
            (&status["podIP"], &status["hostIP"]),
            (&json!("127.64.0.1"), &json!("10.0.0.1"))
        );
        assert_eq!(status.get("reason"), None);
    }

    #[test]
    fn an_ended_pod_says_what_it_used() {
        let used = |cpu_millis, mib: u64| Some(UsedRecord { cpu_millis, peak_memory: mib << 20 });
        let containers = [
            ended("a", Role::Main, ExitRecord { used: used(1500, 30), ..exit(0) }),
            ended("b", Role::Main, ExitRecord { used: used(20, 70), ..exit(0) }),
        ];
        let status = status_of(&containers, &Value::Null);
        let condition = &status["conditions"][4];
        assert_eq!(condition["type"], USED);
        assert_eq!(
            condition["message"],
            "used 1.520 s of CPU time, and at most 70 MiB of memory in one process"
        );
    }

    #[test]
    fn a_lost_container_has_no_exit_code() {
        let lost = ExitRecord::lost(None, Timestamp::UNIX_EPOCH);
        let status = status_of(&[ended("mxnet", Role::Main, lost)], &Value::Null);
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("ShimLost")));
        let state = &status["containerStatuses"][0]["state"];
        assert_eq!(state["waiting"]["reason"], "ShimLost");
        assert_eq!(state.get("terminated"), None);
    }

    #[test]
    fn a_container_in_back_off_shows_its_last_end() {
        let status = status_of(&[backoff("mxnet")], &Value::Null);
        let container = &status["containerStatuses"][0];
        assert_eq!(container["state"]["waiting"]["reason"], "CrashLoopBackOff");
        assert_eq!(container["lastState"]["terminated"]["exitCode"], 1);
        assert_eq!(status["conditions"][3]["reason"], "ContainersNotReady");
    }

    #[test]
    fn unchanged_conditions_keep_their_transition_time() {
        let first = status_of(&[ended("mxnet", Role::Main, exit(0))], &Value::Null);
        assert_eq!(first["conditions"][0]["lastTransitionTime"], "2026-11-24T08:00:00Z");
        let mut old = first;
        for condition in old["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = "2020-01-01T00:00:00Z".into();
        }
        let again = status_of(&[ended("mxnet", Role::Main, exit(0))], &old);
        assert_eq!(again["conditions"], old["conditions"]);
    }
}
