//! The snapshot seen replica by replica.
//!
//! A pod is matched with its replica by name, which the contract fixes: labels can be edited, names cannot. Pods and services that the job controls
//! but that have another name are none of ours to judge or to remove.

use super::{Snapshot, Target};
use crate::memory::Memory;
use crate::view::{Phase, PodView, ServiceView};
use mxjob_api::{RestartPolicy, Role, names};
use std::collections::{BTreeSet, HashMap, HashSet};

/// All replicas of the job, in canonical order. Of a job that is too large, those of which something exists.
pub(super) struct Observed<'a> {
    pub(super) replicas: Vec<Replica<'a>>,
    /// The memory of the snapshot, with the replicas in it that have succeeded since.
    pub(super) memory: Memory,
}

/// One replica.
pub(super) struct Replica<'a> {
    pub(super) role: Role,
    pub(super) index: u32,
    pub(super) pod: Option<&'a PodView>,
    pub(super) service: Option<&'a ServiceView>,
    pub(super) state: State,
}

/// What has become of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has no pod.
    Missing,
    /// Its pod is being deleted: neither failed nor alive, and its name is taken.
    Leaving,
    /// Its pod is from an earlier attempt of the whole job.
    Outdated,
    /// Its pod does not run yet.
    Pending,
    /// Its pod runs.
    Running,
    /// It did its work, whether its pod is still there or not.
    Succeeded,
    /// Its pod failed.
    Failed(Verdict),
}

/// What the restart policy says of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It fails the job.
    Final,
    /// The replica is made again.
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
        let existing = snapshot.job.is_too_large().then(|| existing(snapshot));
        for spec in &snapshot.job.replicas {
            let first = replicas.len();
            let indexes: Vec<u32> = match &existing {
                None => (0..spec.count).collect(),
                Some(existing) => existing
                    .iter()
                    .filter(|(role, _)| *role == spec.role)
                    .map(|(_, index)| *index)
                    .collect(),
            };
            for index in indexes {
                let name = names::pod_name(&snapshot.job.name, spec.role, index);
                let pod = pods.get(name.as_str()).copied();
                if let Some(pod) = pod
                    && pod.has_succeeded()
                    && pod.attempt == memory.restarts.attempt
                {
                    memory.completed.entry(spec.role).or_default().insert(index);
                }
                let state = if memory.is_completed(spec.role, index) {
                    State::Succeeded
                } else {
                    pod.map_or(State::Missing, |pod| {
                        judge(pod, spec.restart_policy, memory.restarts.attempt)
                    })
                };
                let service = services.get(name.as_str()).copied();
                replicas.push(Replica { role: spec.role, index, pod, service, state });
            }
            if existing.is_none() && !snapshot.memory.completed.contains_key(&spec.role) {
                take_over(snapshot, replicas.get_mut(first..).unwrap_or_default(), &mut memory);
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

    pub(super) fn in_state(&self, state: State) -> impl Iterator<Item = &Replica<'a>> {
        self.replicas.iter().filter(move |replica| replica.state == state)
    }

    /// Whether pods of an earlier attempt are still there.
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

/// An operator before this one has counted how many replicas of a role succeeded, and not noted which. Where just so many have
/// no pod any more, it was those.
fn take_over(snapshot: &Snapshot, of_role: &mut [Replica<'_>], memory: &mut Memory) {
    let status = &snapshot.job.status;
    let Some(role) = of_role.first().map(|replica| replica.role) else { return };
    let counted = status.replicas.get(&role).map_or(0, |counts| counts.succeeded);
    let unknown = counted.saturating_sub(memory.completed_count(role));
    let is_missing = |replica: &&mut Replica<'_>| replica.state == State::Missing;
    let missing = of_role.iter().filter(|replica| replica.state == State::Missing).count();
    if unknown == 0 || status.is_finished() || u32::try_from(missing) != Ok(unknown) {
        return;
    }
    for replica in of_role.iter_mut().filter(is_missing) {
        replica.state = State::Succeeded;
        memory.completed.entry(role).or_default().insert(replica.index);
    }
}

fn judge(pod: &PodView, policy: RestartPolicy, attempt: u32) -> State {
    if pod.leaving {
        return State::Leaving;
    }
    if pod.attempt != attempt {
        return State::Outdated;
    }
    match pod.phase {
        // A node that cannot be asked may still be running it: nothing is decided until it is known to be lost.
        Phase::Pending | Phase::Unknown => State::Pending,
        Phase::Running => State::Running,
        // Its own attempt's success is in the memory; this arm is for completeness.
        Phase::Succeeded => State::Succeeded,
        Phase::Failed => State::Failed(verdict(pod, policy)),
    }
}

/// `ExitCode`: from 128 on a signal or the infrastructure ended it, and so it did where there is no code at all (evicted,
/// node lost). A failed pod whose training container ended with 0 failed by a sidecar; running it again would not help.
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
    /// `worker-1`: how messages and the memory call it.
    pub(super) fn short_name(&self) -> String {
        format!("{}-{}", self.role.lower(), self.index)
    }

    /// Its pod, unless that is leaving already.
    pub(super) fn removable_pod(&self) -> Option<Target> {
        self.pod
            .filter(|pod| !pod.leaving)
            .map(|pod| Target { name: pod.name.clone(), uid: pod.uid.clone() })
    }

    /// Its service, unless that is leaving already.
    pub(super) fn removable_service(&self) -> Option<Target> {
        self.service
            .filter(|service| !service.leaving)
            .map(|service| Target { name: service.name.clone(), uid: service.uid.clone() })
    }
}
