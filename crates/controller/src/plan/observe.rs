//! The snapshot replica by replica.
//!
//! A pod is matched with its replica by name, which the contract fixes: labels can be edited, names
//! cannot. Pods and services that the job controls under another name are neither evaluated nor
//! deleted.

use std::collections::{BTreeSet, HashMap, HashSet};

use mxjob_api::{RestartPolicy, Role, names};

use super::Snapshot;
use crate::memory::Memory;
use crate::target::Target;
use crate::view::{Phase, PodView, ServiceView};

/// All replicas of the job, in canonical order. If the job is too large, only those of which
/// something exists.
pub(super) struct Observed<'a> {
    pub(super) replicas: Vec<Replica<'a>>,
    /// The memory of the snapshot plus the replicas that have succeeded since.
    pub(super) memory: Memory,
}

pub(super) struct Replica<'a> {
    pub(super) role: Role,
    pub(super) index: u32,
    pub(super) pod: Option<&'a PodView>,
    pub(super) service: Option<&'a ServiceView>,
    pub(super) state: ReplicaState,
}

/// The state of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplicaState {
    /// It has no pod.
    Missing,
    /// Its pod is being deleted: neither failed nor running, and its name is in use.
    Terminating,
    /// Its pod is from an earlier attempt of the whole job.
    Outdated,
    /// Its pod does not run yet.
    Pending,
    /// Its pod runs.
    Running,
    /// It succeeded, whether or not its pod still exists.
    Succeeded,
    /// Its pod failed.
    Failed(Verdict),
}

/// What the restart policy says of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It fails the job.
    Final,
    /// The replica is replaced.
    Replaceable,
}

impl<'a> Observed<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let mut memory = snapshot.memory.clone();
        let pods: HashMap<&str, &PodView> =
            snapshot.pods.iter().map(|pod| (pod.name.as_str(), &**pod)).collect();
        let services: HashMap<&str, &ServiceView> =
            snapshot.services.iter().map(|service| (service.name.as_str(), &**service)).collect();
        let mut replicas = Vec::with_capacity(snapshot.pods.len());
        let is_too_large = snapshot.job.is_too_large();
        let existing = if is_too_large { existing(snapshot) } else { BTreeSet::new() };
        for spec in &snapshot.job.replicas {
            let first = replicas.len();
            let all = 0..if is_too_large { 0 } else { spec.count };
            let existing = existing.range((spec.role, 0)..=(spec.role, u32::MAX));
            for index in all.chain(existing.map(|(_, index)| *index)) {
                let name = names::pod_name(&snapshot.job.name, spec.role, index);
                let pod = pods.get(name.as_str()).copied();
                if let Some(pod) = pod
                    && pod.has_succeeded()
                    && pod.attempt == memory.restarts.attempt
                {
                    memory.completed.entry(spec.role).or_default().insert(index);
                }
                let state = if memory.is_completed(spec.role, index) {
                    ReplicaState::Succeeded
                } else {
                    pod.map_or(ReplicaState::Missing, |pod| {
                        state_of(pod, spec.restart_policy, memory.restarts.attempt)
                    })
                };
                let service = services.get(name.as_str()).copied();
                replicas.push(Replica { role: spec.role, index, pod, service, state });
            }
            if !is_too_large && !snapshot.memory.completed.contains_key(&spec.role) {
                adopt_counts(snapshot, replicas.get_mut(first..).unwrap_or_default(), &mut memory);
            }
        }
        let uids: HashSet<&String> = snapshot.pods.iter().map(|pod| &pod.uid).collect();
        let exists = |uid: &String| uids.contains(uid);
        memory.restarts.counted.retain(|uid, _| exists(uid));
        memory.restarts.replaced.retain(exists);
        Self { replicas, memory }
    }

    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = &Replica<'a>> {
        self.replicas.iter().filter(move |replica| replica.role == role)
    }

    pub(super) fn in_state(&self, state: ReplicaState) -> impl Iterator<Item = &Replica<'a>> {
        self.replicas.iter().filter(move |replica| replica.state == state)
    }

    /// Whether pods of an earlier attempt still exist.
    pub(super) fn is_draining(&self) -> bool {
        self.replicas.iter().any(|replica| {
            replica.pod.is_some_and(|pod| pod.attempt != self.memory.restarts.attempt)
        })
    }
}

/// The replicas of which a pod or a service exists.
fn existing(snapshot: &Snapshot) -> BTreeSet<(Role, u32)> {
    let pods = snapshot.pods.iter().map(|pod| &pod.name);
    let services = snapshot.services.iter().map(|service| &service.name);
    pods.chain(services).filter_map(|name| names::replica_of(&snapshot.job, name)).collect()
}

/// An older operator stored how many replicas of a role succeeded, but not which ones. If exactly
/// that many have no pod any more, it was those.
fn adopt_counts(snapshot: &Snapshot, of_role: &mut [Replica<'_>], memory: &mut Memory) {
    let status = &snapshot.job.status;
    let Some(role) = of_role.first().map(|replica| replica.role) else { return };
    let counted = status.replicas.get(&role).map_or(0, |counts| counts.succeeded);
    let unknown = counted.saturating_sub(memory.completed_count(role));
    let is_missing = |replica: &&mut Replica<'_>| replica.state == ReplicaState::Missing;
    let missing = of_role.iter().filter(|replica| replica.state == ReplicaState::Missing).count();
    if unknown == 0 || status.is_finished() || u32::try_from(missing) != Ok(unknown) {
        return;
    }
    for replica in of_role.iter_mut().filter(is_missing) {
        replica.state = ReplicaState::Succeeded;
        memory.completed.entry(role).or_default().insert(replica.index);
    }
}

fn state_of(pod: &PodView, policy: RestartPolicy, attempt: u32) -> ReplicaState {
    if pod.terminating {
        return ReplicaState::Terminating;
    }
    if pod.attempt != attempt {
        return ReplicaState::Outdated;
    }
    match pod.phase {
        // An unreachable node may still be running it: nothing is decided until the node is known
        // to be lost.
        Phase::Pending | Phase::Unknown => ReplicaState::Pending,
        Phase::Running => ReplicaState::Running,
        // A success of the current attempt is in the memory; this branch is for completeness.
        Phase::Succeeded => ReplicaState::Succeeded,
        Phase::Failed => ReplicaState::Failed(verdict(pod, policy)),
    }
}

/// `ExitCode`: a code of 128 or more means that a signal or the infrastructure ended it, and so
/// does a missing code (evicted, node lost). A failed pod whose training container ended with 0
/// failed because of a sidecar; running it again would not help.
fn verdict(pod: &PodView, policy: RestartPolicy) -> Verdict {
    match policy {
        RestartPolicy::Never => Verdict::Final,
        RestartPolicy::Always | RestartPolicy::OnFailure => Verdict::Replaceable,
        RestartPolicy::ExitCode => match pod.exit.as_ref().map(|exit| exit.code) {
            Some(0..=127) => Verdict::Final,
            Some(_) | None => Verdict::Replaceable,
        },
    }
}

// === impl Replica ===

impl Replica<'_> {
    /// `worker-1`: its name in messages and in the memory.
    pub(super) fn short_name(&self) -> String {
        format!("{}-{}", self.role.lower(), self.index)
    }

    /// Its pod, unless that is terminating already.
    pub(super) fn removable_pod(&self) -> Option<Target> {
        self.pod
            .filter(|pod| !pod.terminating)
            .map(|pod| Target { name: pod.name.clone(), uid: pod.uid.clone() })
    }

    /// Its service, unless that is terminating already.
    pub(super) fn removable_service(&self) -> Option<Target> {
        self.service
            .filter(|service| !service.terminating)
            .map(|service| Target { name: service.name.clone(), uid: service.uid.clone() })
    }
}
