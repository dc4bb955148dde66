//! Converts a container of a pod to the command for the runtime. Pure, except that it reads the
//! user database.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};

use super::{
    fields::{self, FieldError, FieldFacts},
    limits,
    security::Applied,
    sources::{Sources, StartProblem},
};
use crate::{expand::expand, runtime::Command, state::Bind};

/// The input of a command that is not in the pod.
#[derive(Debug, Clone)]
pub(super) struct CommandFacts<'a> {
    /// The addresses and resources of the pod's node.
    pub(super) fields: FieldFacts<'a>,
    /// The variables of services, which the container's own replace.
    pub(super) services: Env,
    /// `Some` where pods share the machine's addresses: the address of the job's scheduler, if it
    /// is known.
    pub(super) shared_network: Option<Option<Ipv4Addr>>,
    /// Default `PATH`.
    pub(super) path: &'a str,
    /// Default working directory.
    pub(super) workdir: &'a Path,
    /// The ConfigMaps and Secrets that the pod refers to.
    pub(super) sources: &'a Sources,
    /// The user of this process.
    pub(super) own_user: u32,
}

/// How far a container depends on its image, which this runtime does not pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageNeed {
    /// It has a command.
    None,
    /// It has only arguments, which are run as the command, as for an image without an entry point.
    Entrypoint,
    /// It has neither.
    Everything,
}

/// Which part of the command the image would have to provide.
pub(super) fn image_need(container: &Container) -> ImageNeed {
    let filled =
        |words: &Option<Vec<String>>| words.as_ref().is_some_and(|words| !words.is_empty());
    match (filled(&container.command), filled(&container.args)) {
        (true, _) => ImageNeed::None,
        (false, true) => ImageNeed::Entrypoint,
        (false, false) => ImageNeed::Everything,
    }
}

/// Variables by name, in order.
pub(super) type Env = Vec<(String, String)>;

/// The command of a container with this environment and these mounts.
pub(super) fn command(
    pod: &Pod,
    container: &Container,
    facts: &CommandFacts<'_>,
    mut env: Env,
    binds: Vec<Bind>,
    applied: Applied,
    host_name: String,
) -> Command {
    let declared = env.clone();
    let lookup = |name: &str| value(&declared, name);
    let words = container.command.iter().chain(&container.args).flatten();
    let argv = words.map(|word| expand(word, lookup)).collect();

    let Applied { user, group, security } = applied;
    add_defaults(&mut env, &host_name, facts, user);
    let spec = pod.spec.as_ref();
    let grace = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
    Command {
        argv,
        env,
        cwd: working_dir(container, facts.workdir),
        user,
        group,
        binds,
        limits: limits::of_container(container),
        security,
        host_name: Some(host_name),
        grace_seconds: u64::try_from(grace).unwrap_or_default(),
    }
}

/// An absolute path as it is, a relative one below the node's working directory.
fn working_dir(container: &Container, workdir: &Path) -> PathBuf {
    match container.working_dir.as_deref() {
        None | Some("") => workdir.to_owned(),
        Some(dir) => workdir.join(dir),
    }
}

/// The variables of the container, in order. A later one replaces an earlier one of the same name.
pub(super) fn environment(
    pod: &Pod,
    container: &Container,
    facts: &CommandFacts<'_>,
) -> Result<Env, StartProblem> {
    let mut env = facts.services.clone();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        for (name, text) in facts.sources.env_from(from)? {
            set(&mut env, format!("{prefix}{name}"), text);
        }
    }
    for variable in container.env.iter().flatten() {
        let text = match (&variable.value, &variable.value_from) {
            (Some(text), _) => Some(expand(text, |name| value(&env, name))),
            (None, Some(from)) => value_from(pod, container, from, facts)?,
            (None, None) => Some(String::new()),
        };
        if let Some(text) = text {
            set(&mut env, variable.name.clone(), text);
        }
    }
    Ok(env)
}

fn value_from(
    pod: &Pod,
    container: &Container,
    from: &EnvVarSource,
    facts: &CommandFacts<'_>,
) -> Result<Option<String>, StartProblem> {
    let permanent = |error: FieldError| StartProblem::Permanent(error.to_string());
    if let Some(field) = &from.field_ref {
        return fields::field(pod, &field.field_path, &facts.fields).map(Some).map_err(permanent);
    }
    if let Some(resource) = &from.resource_field_ref {
        let text = fields::resource(pod, Some(container), resource, &facts.fields);
        return text.map(Some).map_err(permanent);
    }
    if let Some(key) = &from.config_map_key_ref {
        return facts.sources.config_map_key(key);
    }
    if let Some(key) = &from.secret_key_ref {
        return facts.sources.secret_key(key);
    }
    Err(StartProblem::Permanent(
        "the process runtime does not support this kind of valueFrom".to_owned(),
    ))
}

/// Adds the variables that every program expects, and the address that ps-lite announces to its
/// peers.
fn add_defaults(env: &mut Env, host_name: &str, facts: &CommandFacts<'_>, user: Option<u32>) {
    let mut default = |name: &str, text: String| {
        if value(env, name).is_none() {
            env.push((name.to_owned(), text));
        }
    };
    default("PATH", facts.path.to_owned());
    default("HOME", home_of(user.unwrap_or(facts.own_user)));
    default("HOSTNAME", host_name.to_owned());
    if value(env, "DMLC_ROLE").is_none() {
        return;
    }
    if value(env, "DMLC_NODE_HOST").is_none() {
        env.push(("DMLC_NODE_HOST".to_owned(), facts.fields.address.to_string()));
    }
    if let Some(scheduler) = facts.shared_network {
        // With this variable the scheduler would listen on all addresses of the machine.
        env.retain(|(name, _)| name != "DMLC_USE_KUBERNETES");
        if let Some(address) = scheduler {
            set(env, "DMLC_PS_ROOT_URI".to_owned(), address.to_string());
        }
    }
}

/// The home folder of a user in the machine's user database.
fn home_of(user: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find_map(|fields| match fields.as_slice() {
            [_, _, id, _, _, home, ..] if *id == user.to_string() => Some((*home).to_owned()),
            _ => None,
        })
        .unwrap_or_else(|| "/".to_owned())
}

pub(super) fn value<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    env.iter().find(|(have, _)| have == name).map(|(_, text)| text.as_str())
}

pub(super) fn set(env: &mut Env, name: String, text: String) {
    match env.iter_mut().find(|(have, _)| *have == name) {
        Some((_, old)) => *old = text,
        None => env.push((name, text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(container: serde_json::Value) -> Pod {
        let mut pod = json!({
            "metadata": { "name": "w-0", "namespace": "ns", "uid": "u", "labels": { "a/b": "c" } },
            "spec": { "nodeName": "n", "containers": [] },
        });
        pod["spec"]["containers"] = vec![container].into();
        serde_json::from_value(pod).unwrap()
    }

    fn run_with(
        container: serde_json::Value,
        shared_network: Option<Option<Ipv4Addr>>,
    ) -> Result<Command, StartProblem> {
        let pod = pod(container);
        let sources = Sources::default();
        let allocatable = [("cpu".to_owned(), "8".to_owned())].into();
        let fields = FieldFacts {
            address: Ipv4Addr::new(127, 64, 0, 7),
            host_ip: "10.0.0.1",
            allocatable: &allocatable,
        };
        let facts = CommandFacts {
            fields,
            services: vec![("SVC_SERVICE_HOST".to_owned(), "127.64.0.9".to_owned())],
            shared_network,
            path: "/bin",
            workdir: Path::new("/work"),
            sources: &sources,
            own_user: 0,
        };
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let env = environment(&pod, container, &facts)?;
        Ok(command(&pod, container, &facts, env, Vec::new(), Applied::default(), "w-0".to_owned()))
    }

    fn run(container: serde_json::Value) -> Command {
        run_with(container, None).unwrap()
    }

    fn env(command: &Command) -> Vec<String> {
        command.env.iter().map(|(name, text)| format!("{name}={text}")).collect()
    }

    #[test]
    fn a_container_gets_its_own_variables_and_a_few_defaults() {
        let command = run(json!({ "name": "c", "command": ["x"] }));
        assert_eq!(env(&command)[1..], ["PATH=/bin", "HOME=/root", "HOSTNAME=w-0"]);
        assert_eq!((command.cwd.to_str(), command.grace_seconds), (Some("/work"), 30));
        let command = run(
            json!({ "name": "c", "env": [{ "name": "PATH", "value": "/x" }, { "name": "HOSTNAME", "value": "" }] }),
        );
        assert_eq!(env(&command)[1..], ["PATH=/x", "HOSTNAME=", "HOME=/root"]);
    }

    #[test]
    fn references_see_what_comes_before_them() {
        let command = run(json!({
            "name": "c",
            "command": ["run", "$(A)", "$$(A)", "$(PATH)"],
            "args": ["$(B)"],
            "env": [
                { "name": "A", "value": "$(B)1" },
                { "name": "B", "value": "$(A)2" },
                { "name": "A", "value": "3" },
                { "name": "N", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['a/b']" } } },
                { "name": "I", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            ],
        }));
        assert_eq!(env(&command)[1..5], ["A=3", "B=$(B)12", "N=c", "I=127.64.0.7"]);
        assert_eq!(command.argv, ["run", "3", "$(A)", "$(PATH)", "$(B)12"]);
    }

    #[test]
    fn the_variables_of_services_are_replaced_by_those_of_the_container() {
        let command = run(json!({ "name": "c", "env": [
            { "name": "URL", "value": "http://$(SVC_SERVICE_HOST)" },
            { "name": "SVC_SERVICE_HOST", "value": "own" },
        ] }));
        assert_eq!(env(&command)[..2], ["SVC_SERVICE_HOST=own", "URL=http://127.64.0.9"]);
    }

    #[test]
    fn resources_are_those_of_the_container() {
        let command = run(json!({
            "name": "c",
            "resources": { "limits": { "cpu": "1500m" }, "requests": { "memory": "100Mi" } },
            "env": [
                { "name": "CPU", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
                { "name": "MEM", "valueFrom": { "resourceFieldRef": {
                    "containerName": "c", "resource": "requests.memory", "divisor": "1Mi",
                } } },
            ],
        }));
        assert_eq!(env(&command)[1..3], ["CPU=2", "MEM=100"]);
    }

    const TRAINING: &str = r#"[
        {"name":"DMLC_PS_ROOT_URI","value":"j-scheduler-0"},
        {"name":"DMLC_ROLE","value":"worker"},
        {"name":"DMLC_USE_KUBERNETES","value":"1"}
    ]"#;

    #[test]
    fn a_replica_gets_its_own_address() {
        let training: serde_json::Value = serde_json::from_str(TRAINING).unwrap();
        let command = run(json!({ "name": "c", "env": training }));
        assert!(env(&command).contains(&"DMLC_NODE_HOST=127.64.0.7".to_owned()));
        assert!(env(&command).contains(&"DMLC_PS_ROOT_URI=j-scheduler-0".to_owned()));
        assert!(env(&command).contains(&"DMLC_USE_KUBERNETES=1".to_owned()));
    }

    #[test]
    fn on_a_shared_network_the_scheduler_has_a_numeric_address() {
        let training: serde_json::Value = serde_json::from_str(TRAINING).unwrap();
        let scheduler = Some(Some(Ipv4Addr::new(127, 64, 0, 1)));
        let command = run_with(json!({ "name": "c", "env": training }), scheduler).unwrap();
        assert!(env(&command).contains(&"DMLC_PS_ROOT_URI=127.64.0.1".to_owned()));
        assert!(!env(&command).iter().any(|line| line.starts_with("DMLC_USE_KUBERNETES")));
    }

    #[test]
    fn working_directories_are_relative_to_the_nodes() {
        for (dir, expect) in [("", "/work"), ("sub", "/work/sub"), ("/else", "/else")] {
            let command = run(json!({ "name": "c", "workingDir": dir }));
            assert_eq!(command.cwd, Path::new(expect), "{dir}");
        }
    }

    #[test]
    fn unsupported_sources_are_rejected() {
        for from in [
            json!({ "fieldRef": { "fieldPath": "spec.nonsense" } }),
            json!({ "resourceFieldRef": { "resource": "limits.example.com/chip" } }),
            json!({}),
        ] {
            let container = json!({ "name": "c", "env": [{ "name": "A", "valueFrom": from }] });
            assert!(matches!(run_with(container, None), Err(StartProblem::Permanent(_))), "{from}");
        }
    }

    #[test]
    fn a_container_without_a_command_needs_its_image() {
        let need = |value: serde_json::Value| {
            let container: Container = serde_json::from_value(value).unwrap();
            image_need(&container)
        };
        assert_eq!(need(json!({ "name": "c", "command": ["x"], "args": ["y"] })), ImageNeed::None);
        assert_eq!(need(json!({ "name": "c", "args": ["y"] })), ImageNeed::Entrypoint);
        assert_eq!(need(json!({ "name": "c", "command": [] })), ImageNeed::Everything);
    }
}
