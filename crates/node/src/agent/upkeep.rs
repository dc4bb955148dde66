//! Keeps the volumes of a running pod up to date, and finds those that exceed their limit.
//!
//! Every few seconds the versions of the objects that the volumes show are compared with those that
//! were written; only a change is read as a whole. So the cost is one small request for each object
//! of a running pod in each interval. Tokens are replaced before they expire, and a file with
//! labels or annotations follows the pod itself.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, ResourceExt as _};
use tokio::time::Instant;

use super::{
    Context,
    events::Level,
    fields::volumes_of,
    mounts::size,
    pod_sources::{self, PodSources},
    service_account::TokenKey,
    sources::{References, StartProblem},
};
use crate::{
    clock,
    runtime::Sandbox,
    volumes::{self, Usage},
};

/// A measurement takes at most this part of the time.
const MEASURE_SHARE: u32 = 20;

/// The state of the volumes of one pod.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// When the objects are compared again.
    refresh_at: Instant,
    /// When the sizes are measured again.
    measure_at: Instant,
    /// A hash of the versions that were written.
    written: Option<u64>,
    /// The last problem that was reported.
    problem: Option<String>,
    /// The memory of an ended pod was freed.
    is_freed: bool,
}

/// An `emptyDir` with a limit that the file system does not enforce.
struct Limited {
    name: String,
    /// The limit as it is written in the pod.
    limit: String,
    bytes: u64,
    path: PathBuf,
}

impl Upkeep {
    pub(super) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            refresh_at: now + interval,
            measure_at: now + interval,
            written: None,
            problem: None,
            is_freed: false,
        }
    }

    /// When there is something to do for a running pod.
    pub(super) fn due_at(&self, context: &Context, pod: &Pod) -> Option<Instant> {
        if !context.runtime.isolation().has_mounts() {
            return None;
        }
        let token = context.tokens.refresh_at(&pod.uid().unwrap_or_default()).map(|at| {
            let left = Duration::try_from(at.duration_since(clock::now())).unwrap_or_default();
            // A failed request is not repeated immediately.
            self.refresh_at.max(Instant::now() + left)
        });
        // Once for every pod: it may have a token of an earlier agent.
        let refresh = (self.written.is_none() || shows_objects(pod)).then_some(self.refresh_at);
        let measure = has_limits(pod).then_some(self.measure_at);
        token.into_iter().chain(refresh).chain(measure).min()
    }

    /// Rewrites the volumes that have changed, if it is time to look.
    pub(super) async fn refresh(&mut self, context: &Context, pod: &Pod, sandbox: &Sandbox) {
        if self.refresh_at > Instant::now() {
            return;
        }
        self.refresh_at = Instant::now() + context.config.volume_interval;
        let refresh_at = context.tokens.refresh_at(&pod.uid().unwrap_or_default());
        let token_is_old = refresh_at.is_some_and(|refresh_at| refresh_at <= clock::now());
        let result = self.refresh_now(context, pod, sandbox, token_is_old).await;
        let problem = match result {
            Ok(()) => None,
            Err(
                StartProblem::Retryable(why)
                | StartProblem::Volume(why)
                | StartProblem::Permanent(why),
            ) => Some(why),
        };
        if let Some(why) = problem.as_ref().filter(|why| self.problem.as_ref() != Some(why)) {
            context.events.pod(pod, Level::Warning, "FailedMount", why.clone());
        }
        self.problem = problem;
    }

    async fn refresh_now(
        &mut self,
        context: &Context,
        pod: &Pod,
        sandbox: &Sandbox,
        token_is_old: bool,
    ) -> Result<(), StartProblem> {
        let references = References::of_volumes(pod);
        let versions = versions(context, pod, &references).await;
        let versions = versions.map_err(|error| {
            StartProblem::Retryable(format!("cannot read the objects of the volumes: {error}"))
        })?;
        if self.written == Some(versions) && !token_is_old {
            return Ok(());
        }
        let sources = PodSources::read(context, pod, sandbox, references).await?;
        let facts = pod_sources::facts(context, sandbox);
        sources.volumes(context, pod, sandbox, &facts).refresh()?;
        self.written = Some(versions);
        Ok(())
    }

    /// Measures the volumes with a limit, if it is time to look. Returns why the pod must end.
    pub(super) async fn measure(
        &mut self,
        context: &Context,
        pod: &Pod,
        sandbox: &Sandbox,
    ) -> Option<String> {
        if self.measure_at > Instant::now() || !has_limits(pod) {
            return None;
        }
        let limited = limited(pod, sandbox);
        // One at a time: a measurement reads all folders of a volume.
        let _turn = context.measuring.acquire().await.ok()?;
        let started = Instant::now();
        let found = tokio::task::spawn_blocking(move || limited.iter().find_map(excess)).await;
        let pause = started.elapsed().saturating_mul(MEASURE_SHARE);
        self.measure_at = Instant::now() + pause.max(context.config.volume_interval);
        found.ok().flatten()
    }

    /// Frees the memory of a pod whose containers have all ended for good.
    pub(super) async fn free(&mut self, sandbox: &Sandbox) {
        if self.is_freed {
            return;
        }
        self.is_freed = true;
        let sandbox = sandbox.clone();
        let freed = tokio::task::spawn_blocking(move || {
            volumes::remove_memory(sandbox.dir(), &sandbox.record().uid);
        });
        let _ = freed.await;
    }
}

/// Whether a volume shows something that can change.
fn shows_objects(pod: &Pod) -> bool {
    volumes_of(pod).iter().any(|volume| {
        volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.projected.is_some()
            || volume.downward_api.is_some()
    })
}

fn has_limits(pod: &Pod) -> bool {
    volumes_of(pod)
        .iter()
        .any(|volume| volume.empty_dir.as_ref().is_some_and(|source| source.size_limit.is_some()))
}

/// A hash of the versions of the objects and of the parts of the pod that volumes can show.
async fn versions(
    context: &Context,
    pod: &Pod,
    references: &References,
) -> Result<u64, kube::Error> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (pod.labels(), pod.annotations()).hash(&mut hasher);
    TokenKey::of_volumes(pod).len().hash(&mut hasher);
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    for name in &references.config_maps {
        let found = maps.get_metadata_opt(name).await?;
        (name, found.and_then(|found| found.metadata.resource_version)).hash(&mut hasher);
    }
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
    for name in &references.secrets {
        let found = secrets.get_metadata_opt(name).await?;
        (name, found.and_then(|found| found.metadata.resource_version)).hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// The volumes of a pod with a limit that have a folder.
fn limited(pod: &Pod, sandbox: &Sandbox) -> Vec<Limited> {
    let of_volume = |volume: &k8s_openapi::api::core::v1::Volume| {
        let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?.0.clone();
        let name = volume.name.parse().ok()?;
        let path = volumes::empty_dir_path(sandbox.dir(), &sandbox.record().uid, &name)?;
        Some(Limited { name: volume.name.clone(), bytes: size(&limit)?, limit, path })
    };
    volumes_of(pod).iter().filter_map(of_volume).collect()
}

/// The kubelet's message for a volume that is too large.
fn excess(volume: &Limited) -> Option<String> {
    match volumes::compare_usage(&volume.path, volume.bytes) {
        Ok(Usage::Within) => None,
        Ok(Usage::Exceeds) => Some(format!(
            "Usage of EmptyDir volume {:?} exceeds the limit {:?}. ",
            volume.name, volume.limit
        )),
        Ok(Usage::TooDeep) => Some(format!(
            "EmptyDir volume {:?} has a size limit, and its folders are too deep to be measured. ",
            volume.name
        )),
        Err(error) => {
            tracing::warn!(%error, volume = volume.name, "cannot measure a volume");
            None
        }
    }
}
