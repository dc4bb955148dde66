//! Adoption: sends the patches of all jobs, each only to the version of the object that it was made
//! from. Safe to repeat.

use jiff::Timestamp;
use mxjob_api::mxjob;

use crate::assessment::assess;
use crate::cluster::{self, Cluster, RequestError};
use crate::inventory::{self, Inventory};
use crate::patch::{Patch, Target};

/// Attempts per job when objects change between reading and patching. A running pod changes with
/// every heartbeat of its containers.
const MAX_ATTEMPTS: usize = 5;

/// What [`adopt`] did.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Jobs of which at least one object was patched.
    pub jobs: usize,
    /// Patches that were applied.
    pub patches: usize,
    /// Objects that could not be patched, each with the reason: `Pod default/digits-worker-0: …`.
    pub failures: Vec<String>,
}

/// Adopts all jobs. A patch that fails does not stop the adoption of other jobs.
///
/// # Errors
///
/// A request that read an object again has failed; the jobs after it are not adopted.
pub async fn adopt(
    cluster: &impl Cluster,
    mut inventory: Inventory,
    now: Timestamp,
) -> Result<Adopted, RequestError> {
    let mut adopted = Adopted::default();
    for index in 0..inventory.jobs().len() {
        adopt_job(cluster, &mut inventory, index, now, &mut adopted).await?;
    }
    Ok(adopted)
}

async fn adopt_job(
    cluster: &impl Cluster,
    inventory: &mut Inventory,
    index: usize,
    now: Timestamp,
    adopted: &mut Adopted,
) -> Result<(), RequestError> {
    let mut sent = 0;
    let mut failures = Vec::new();
    for attempt in 1..=MAX_ATTEMPTS {
        // Earlier failures are retried, too.
        failures.clear();
        let Some(job) = inventory.jobs().get(index) else { return Ok(()) };
        let namespace = inventory::namespace(job).to_owned();
        let path = format!(
            "/apis/{}/namespaces/{namespace}/{}/{}",
            mxjob::API_VERSION,
            mxjob::PLURAL,
            inventory::name(job)
        );
        let patches = assess(job, inventory.children(job).as_ref(), now).patches;
        let mut is_stale = false;
        let mut failed_target = None;
        for patch in &patches {
            // After a failure no later kind is patched: a service must not select labels that its
            // pod lacks, and a complete status marks the job as adopted.
            if failed_target.is_some_and(|target| target != patch.target) {
                break;
            }
            match cluster::send(cluster, patch, inventory.version_of(patch)).await {
                Ok(()) => sent += 1,
                Err(error) if error.is(409) && attempt < MAX_ATTEMPTS => {
                    is_stale = true;
                    failed_target = Some(patch.target);
                }
                Err(error) if error.is(404) && is_deleted(cluster, patch, &path).await => {}
                Err(error) => {
                    let kind = patch.target.kind();
                    let reason = error.message;
                    failures.push(format!("{kind} {}/{}: {reason}", patch.namespace, patch.name));
                    failed_target = Some(patch.target);
                }
            }
        }
        if !is_stale {
            break;
        }
        match cluster.get(&path).await {
            Ok(job) => inventory.replace(index, job),
            Err(error) if error.is(404) => return Ok(()),
            Err(error) => return Err(error),
        }
        inventory.read_children(cluster, &namespace).await?;
    }
    adopted.patches += sent;
    adopted.jobs += usize::from(sent > 0);
    adopted.failures.extend(failures);
    Ok(())
}

/// Whether an object whose patch returned 404 is deleted. For a status, 404 may also mean that the
/// CRD has no status subresource.
async fn is_deleted(cluster: &impl Cluster, patch: &Patch, job_path: &str) -> bool {
    match patch.target {
        Target::Pod | Target::Service => true,
        Target::JobStatus => match cluster.get(job_path).await {
            Ok(job) => job["metadata"]["uid"] != patch.body["metadata"]["uid"],
            Err(error) => error.is(404),
        },
    }
}
