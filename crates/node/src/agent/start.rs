//! Starts one container: builds its command and passes it to the runtime.

use std::{net::Ipv4Addr, sync::Arc};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt as _;
use mxjob_machinery::{error::chain, resources::Resources};

use super::{
    Context,
    command::{self, ImageNeed, image_need},
    devices::{Assigned, Receiver},
    dns,
    events::Level,
    pod_sources::{self, PodSources},
    security, service_env,
    sources::{References, StartProblem},
};
use crate::{
    clock,
    runtime::{Attempt, Command, Sandbox},
    state::{DnsLabel, ExitReason, ExitRecord},
};

/// The exit code of a container that can never be started, as for a command that is not found.
pub(super) const EXIT_CANNOT_RUN: i32 = 127;

/// The result of a start.
pub(super) enum Outcome {
    /// It runs or has ended.
    Attempt(Attempt),
    /// It has to wait: the reason and message for its status.
    Wait(&'static str, String),
}

/// The reason of a container that waits for a volume: the kubelet's.
const WAITS_FOR_VOLUME: &str = "ContainerCreating";

/// Starts an attempt to run a container, or finds it if it was started before.
pub(super) async fn container(
    context: &Context,
    pod: &Pod,
    sandbox: &Sandbox,
    name: &str,
    attempt: u32,
) -> Outcome {
    let Some(container) = find(pod, name) else {
        return Outcome::Wait("CreateContainerError", "the pod has no such container".to_owned());
    };
    let name: DnsLabel = match name.parse() {
        Ok(name) => name,
        Err(error) => return Outcome::Wait("CreateContainerConfigError", error.to_string()),
    };
    let need = image_need(container);
    if need != ImageNeed::None && attempt == 0 {
        report_unused_image(context, pod, container, need);
    }
    if need == ImageNeed::Everything {
        let message = format!(
            "container {name} has no command, and the process runtime does not use its image {}; add a command",
            container.image.as_deref().unwrap_or_default()
        );
        return record(sandbox, &name, attempt, ExitReason::ImageNotUsed, message);
    }
    let command = match resolve_command(context, pod, sandbox, container).await {
        Ok(command) => command,
        Err(StartProblem::Retryable(message)) => {
            return Outcome::Wait("CreateContainerConfigError", message);
        }
        Err(StartProblem::Volume(message)) => return Outcome::Wait(WAITS_FOR_VOLUME, message),
        Err(StartProblem::Permanent(message)) => {
            context.events.pod(pod, Level::Warning, "Failed", format!("Error: {message}"));
            return record(sandbox, &name, attempt, ExitReason::StartError, message);
        }
    };
    // Spawning and the file operations block for some milliseconds.
    let (again, owned) = (sandbox.clone(), name.clone());
    let started = tokio::task::spawn_blocking(move || again.start(&owned, attempt, command)).await;
    match started {
        Ok(Ok(Attempt::NotStarted)) => {
            let errors = sandbox.dir().attempt(&name, attempt).shim_errors();
            let output = std::fs::read_to_string(errors).unwrap_or_default();
            Outcome::Wait("CreateContainerError", format!("the shim failed: {}", output.trim()))
        }
        Ok(Ok(attempt)) => {
            announce(context, pod, &name, &attempt);
            Outcome::Attempt(attempt)
        }
        Ok(Err(error)) => {
            let message = chain(&error);
            tracing::error!(error = message, pod = pod.name_any(), container = %name, "cannot start a container");
            Outcome::Wait("CreateContainerError", message)
        }
        Err(error) => Outcome::Wait("CreateContainerError", error.to_string()),
    }
}

fn find<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|one| one.name == name)
}

async fn resolve_command(
    context: &Context,
    pod: &Pod,
    sandbox: &Sandbox,
    container: &Container,
) -> Result<Command, StartProblem> {
    let applied = context.rights.apply(pod, container)?;
    let host_name = dns::kernel_host_name(pod)?;
    let sources = PodSources::read(context, pod, sandbox, References::of(pod)).await?;
    let isolation = context.runtime.isolation();
    let shared_network = match isolation.owns_addresses() {
        true => None,
        false => Some(scheduler(context, pod, container).await),
    };
    let fields = pod_sources::facts(context, sandbox);
    let facts = command::CommandFacts {
        fields: fields.clone(),
        services: service_env::variables(context, pod),
        shared_network,
        path: &context.config.path,
        workdir: &context.config.workdir,
        sources: &sources.sources,
        own_user: context.rights.user,
    };
    let mut env = command::environment(pod, container, &facts)?;
    if context.devices.exist() {
        let assigned = assign_devices(context, pod, sandbox, container).await?;
        context.devices.show(&mut env, &assigned);
    }
    let mut binds = sources.volumes(context, pod, sandbox, &fields).binds(container, &env)?;
    security::give_volumes(pod, container, &binds).await?;
    if isolation.has_mounts() {
        dns::add_resolv_conf(pod, sandbox, &mut binds)?;
    }
    Ok(command::command(pod, container, &facts, env, binds, applied, host_name))
}

/// Hands out the GPUs that a container requests. Where too few are free, because an ended pod is
/// just being removed, it waits.
async fn assign_devices(
    context: &Context,
    pod: &Pod,
    sandbox: &Sandbox,
    container: &Container,
) -> Result<Assigned, StartProblem> {
    let requested = Resources::of_container(&serde_json::to_value(container).unwrap_or_default());
    let is_init = |spec: &PodSpec| {
        spec.init_containers.iter().flatten().any(|one| one.name == container.name)
    };
    let init = pod.spec.as_ref().is_some_and(is_init);
    let (devices, sandbox) = (Arc::clone(&context.devices), sandbox.clone());
    let container = container.name.clone();
    let assign = move || {
        let receiver = Receiver { pod: sandbox.dir(), container: &container, init };
        devices.assign(receiver, |resource| requested.get(resource))
    };
    let assigned = tokio::task::spawn_blocking(assign)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)));
    assigned.map_err(|error| StartProblem::Retryable(format!("cannot assign devices: {error}")))
}

/// The event of a container that has to wait.
pub(super) fn waiting_event(reason: &str, message: &str) -> (&'static str, String) {
    match reason {
        WAITS_FOR_VOLUME => ("FailedMount", message.to_owned()),
        _ => ("Failed", format!("Error: {message}")),
    }
}

/// The address of the scheduler in a container's `DMLC_PS_ROOT_URI`.
async fn scheduler(context: &Context, pod: &Pod, container: &Container) -> Option<Ipv4Addr> {
    let root = container.env.iter().flatten().rfind(|one| one.name == "DMLC_PS_ROOT_URI")?;
    let (names, uid, root) = (Arc::clone(&context.names), pod.uid()?, root.value.clone()?);
    tokio::task::spawn_blocking(move || names.resolve(&uid, &root)).await.ok().flatten()
}

/// Records an end without a run, so that it is the same after a restart of the agent.
fn record(
    sandbox: &Sandbox,
    name: &DnsLabel,
    attempt: u32,
    reason: ExitReason,
    message: String,
) -> Outcome {
    let exit = ExitRecord::not_started(EXIT_CANNOT_RUN, reason, message, clock::now());
    match sandbox.record_end(name, attempt, &exit) {
        Ok(exit) => Outcome::Attempt(Attempt::Ended(exit)),
        Err(error) => Outcome::Wait("CreateContainerError", chain(&error)),
    }
}

fn announce(context: &Context, pod: &Pod, name: &DnsLabel, attempt: &Attempt) {
    match attempt {
        Attempt::Ended(exit) if exit.reason == ExitReason::StartError => {
            let message = format!("Error: {}", exit.message.as_deref().unwrap_or_default());
            context.events.pod(pod, Level::Warning, "Failed", message);
        }
        Attempt::Running(_) | Attempt::Ended(_) => {
            context.events.pod(pod, Level::Normal, "Started", format!("Started container {name}"));
        }
        Attempt::NotStarted => {}
    }
}

/// Warns on the pod and on its job that the image is not used.
fn report_unused_image(context: &Context, pod: &Pod, container: &Container, need: ImageNeed) {
    let image = container.image.as_deref().unwrap_or_default();
    let what = match need {
        ImageNeed::Everything => "has no command, so there is nothing to run",
        ImageNeed::Entrypoint | ImageNeed::None => {
            "has no command; its arguments are run as the command"
        }
    };
    let message = format!(
        "image {image} is not pulled: this node runs containers as processes of the machine, and container {} of pod {} {what}",
        container.name,
        pod.name_any()
    );
    context.events.pod(pod, Level::Warning, "ImageNotUsed", message.clone());
    context.events.owner(pod, Level::Warning, "ImageNotUsed", message);
}
