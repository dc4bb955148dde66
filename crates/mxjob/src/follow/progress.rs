//! The progress of the followed jobs, derived from their objects, pods and log lines.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use mxjob_api::{Job, JobStatus, Role, labels, mxjob};
use serde_json::Value;

use super::lines::Source;

/// Log lines of a failed replica in the final message: enough for an exception and the stack trace
/// of MXNet after it.
const LAST_LINES: usize = 30;
/// Characters of a log line in the progress line.
const MAX_LINE_CHARS: usize = 100;

/// The state of jobs and their pods, with their last log lines.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// By uid.
    jobs: BTreeMap<String, JobState>,
    /// By uid, including deleted ones.
    pods: BTreeMap<String, PodState>,
    /// The newest log line of a worker.
    newest: String,
}

/// How all jobs ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Succeeded,
    /// The failed jobs, with the last lines of the first failed replica.
    Failed(String),
    /// No job is known to have failed, but the results of these jobs are unknown.
    Unknown(String),
}

/// The identity of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
}

#[derive(Debug, Default)]
struct JobState {
    namespace: String,
    name: String,
    /// Replicas by role; empty if the spec cannot be read.
    replicas: Vec<(Role, u32)>,
    /// The newest condition.
    state: String,
    end: Option<Ending>,
}

#[derive(Debug)]
enum Ending {
    Succeeded,
    /// With the controller's message.
    Failed(String),
    /// Deleted before it finished.
    Deleted,
    /// Deleted while it was not watched.
    Missed,
}

#[derive(Debug, Default)]
struct PodState {
    job: String,
    label: String,
    role: Option<Role>,
    phase: String,
    /// How it failed, once reported.
    failure: Option<String>,
    /// Whether it was reported what it used.
    is_measured: bool,
    last: VecDeque<String>,
}

// === impl Progress ===

impl Progress {
    /// Sets the jobs.
    pub(crate) fn expect(&mut self, jobs: &[Value]) {
        for job in jobs {
            let text = |field: &str| job["metadata"][field].as_str().unwrap_or_default().to_owned();
            let replicas = Job::from_value(job).map(|job| job.replicas).unwrap_or_default();
            let replicas = replicas.iter().map(|replica| (replica.role, replica.count)).collect();
            let state = JobState {
                namespace: text("namespace"),
                name: text("name"),
                replicas,
                ..JobState::default()
            };
            self.jobs.insert(text("uid"), state);
        }
    }

    /// The longest label of each role's lines.
    pub(crate) fn labels(&self) -> Vec<String> {
        let replicas = self.jobs.values().flat_map(|job| {
            job.replicas.iter().filter_map(|(role, count)| {
                Some(self.label(&job.name, *role, count.checked_sub(1)?))
            })
        });
        replicas.collect()
    }

    /// `worker-1`, or `digits-worker-1` if there are several jobs.
    fn label(&self, job: &str, role: Role, index: u32) -> String {
        let short = format!("{}-{index}", role.lower());
        if self.jobs.len() > 1 { format!("{job}-{short}") } else { short }
    }

    /// Updates a job. Returns messages about it.
    pub(crate) fn job(&mut self, uid: &str, object: &Value) -> Vec<String> {
        let Some(job) = self.jobs.get_mut(uid) else { return Vec::new() };
        let status: JobStatus =
            serde_json::from_value(object["status"].clone()).unwrap_or_default();
        let Some(newest) = status.conditions.last() else { return Vec::new() };
        let state = newest.kind.as_str();
        if job.end.is_some() || job.state == state {
            return Vec::new();
        }
        state.clone_into(&mut job.state);
        match state {
            "Succeeded" => job.end = Some(Ending::Succeeded),
            // Reported at the end, with the last lines.
            "Failed" => {
                job.end = Some(Ending::Failed(newest.message.clone()));
                return Vec::new();
            }
            _ => {}
        }
        vec![newest.message.clone()]
    }

    /// A job was deleted.
    pub(crate) fn job_deleted(&mut self, uid: &str) {
        if let Some(job) = self.jobs.get_mut(uid).filter(|job| job.end.is_none()) {
            job.end = Some(Ending::Deleted);
        }
    }

    /// A complete list of the jobs of a namespace, by uid. Jobs that are missing from it were
    /// deleted while they were not watched, and may have finished before.
    pub(crate) fn jobs_listed(&mut self, namespace: &str, listed: &BTreeSet<String>) {
        let missing = self.jobs.iter_mut().filter(|(uid, job)| {
            job.namespace == namespace && job.end.is_none() && !listed.contains(*uid)
        });
        missing.for_each(|(_, job)| job.end = Some(Ending::Missed));
    }

    /// A complete list of the pods of a namespace's jobs, by uid.
    pub(crate) fn pods_listed(&mut self, namespace: &str, listed: &BTreeSet<String>) {
        for (uid, pod) in &mut self.pods {
            let job = self.jobs.get(&pod.job);
            if job.is_some_and(|job| job.namespace == namespace) && !listed.contains(uid) {
                pod.phase.clear();
            }
        }
    }

    /// Whether a pod belongs to one of the jobs.
    pub(crate) fn owns(&self, pod: &Pod) -> bool {
        pod.owner_references().iter().any(|owner| self.jobs.contains_key(&owner.uid))
    }

    /// Updates a pod. Returns messages about it.
    pub(crate) fn pod(&mut self, pod: &Pod) -> Vec<String> {
        let Some(owner) =
            pod.owner_references().iter().find(|owner| self.jobs.contains_key(&owner.uid))
        else {
            return Vec::new();
        };
        let replica = labels::replica_of(|key| pod.labels().get(key).map(String::as_str));
        let label = replica
            .map_or_else(|| pod.name_any(), |(role, index)| self.label(&owner.name, role, index));
        let state = self.pods.entry(pod.uid().unwrap_or_default()).or_default();
        state.job.clone_from(&owner.uid);
        state.role = replica.map(|(role, _)| role);
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        state.phase.clone_from(&phase);
        state.label = label;
        let mut messages = Vec::new();
        if let Some(used) = used_by(pod).filter(|_| !state.is_measured) {
            state.is_measured = true;
            messages.push(format!("{} {used}", state.label));
        }
        if phase != "Failed" || state.failure.is_some() || pod.metadata.deletion_timestamp.is_some()
        {
            return messages;
        }
        let failure = failure_of(pod);
        messages.push(format!("{} failed: {failure}", state.label));
        state.failure = Some(failure);
        messages
    }

    /// A pod was deleted.
    pub(crate) fn pod_deleted(&mut self, uid: &str) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.phase.clear();
        }
    }

    /// The containers of a pod that have a log.
    pub(crate) fn sources(&self, pod: &Pod) -> Vec<Source> {
        let uid = pod.uid().unwrap_or_default();
        let Some(state) = self.pods.get(&uid) else { return Vec::new() };
        let status = pod.status.as_ref();
        let statuses = status.iter().flat_map(|status| {
            status
                .init_container_statuses
                .iter()
                .flatten()
                .chain(status.container_statuses.iter().flatten())
        });
        let started = statuses.filter(|status| {
            status
                .state
                .as_ref()
                .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        });
        let source = |status: &ContainerStatus| Source {
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            uid: uid.clone(),
            container: status.name.clone(),
            restarts: status.restart_count,
            label: match status.name.as_str() {
                mxjob::CONTAINER => state.label.clone(),
                other => format!("{}/{other}", state.label),
            },
        };
        started.map(source).collect()
    }

    /// Adds a log line of a replica.
    pub(crate) fn line(&mut self, uid: &str, label: &str, text: &[u8]) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let text = String::from_utf8_lossy(text);
        // If a program redraws its line, its last content.
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if pod.last.len() == LAST_LINES {
            pod.last.pop_front();
        }
        pod.last.push_back(text.to_owned());
        if pod.role == Some(Role::Worker) && !text.is_empty() {
            let cut: String =
                text.chars().filter(|letter| !letter.is_control()).take(MAX_LINE_CHARS).collect();
            self.newest = format!("{label}: {cut}");
        }
    }

    /// The result, once all jobs have finished.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let mut failures = Vec::new();
        let mut missed = Vec::new();
        for (uid, job) in &self.jobs {
            match job.end.as_ref()? {
                Ending::Succeeded => {}
                Ending::Failed(message) => failures.push(self.failure(uid, message)),
                Ending::Deleted => {
                    failures.push(format!("job {} was deleted before it finished", job.name));
                }
                Ending::Missed => missed.push(format!(
                    "the result of job {} is unknown: it was deleted while it could not be watched",
                    job.name
                )),
            }
        }
        let end = match (failures.is_empty(), missed.is_empty()) {
            (true, true) => return Some(Verdict::Succeeded),
            (true, false) => Verdict::Unknown,
            (false, _) => Verdict::Failed,
        };
        failures.extend(missed);
        Some(end(failures.join("\nmxjob: ")))
    }

    fn failure(&self, uid: &str, message: &str) -> String {
        // The controller's message names the replica that failed first.
        let named =
            |pod: &&PodState| message.split([' ', ',', ':']).any(|word| pod.label.ends_with(word));
        let failed = || self.pods.values().filter(|pod| pod.job == uid && pod.failure.is_some());
        let first =
            failed().filter(|pod| !pod.label.is_empty()).find(named).or_else(|| failed().next());
        match first {
            Some(pod) if !pod.last.is_empty() => {
                let last: String = pod.last.iter().map(|line| format!("\n  {line}")).collect();
                format!("{message}\nLast lines of {}:{last}", pod.label)
            }
            _ => message.to_owned(),
        }
    }

    /// The names of the unfinished jobs.
    pub(crate) fn unfinished(&self) -> String {
        list(self.jobs.values().filter(|job| job.end.is_none()))
    }

    /// The names of the jobs without a status.
    pub(crate) fn not_picked_up(&self) -> Option<String> {
        let waiting = self.jobs.values().filter(|job| job.end.is_none() && job.state.is_empty());
        Some(list(waiting)).filter(|names| !names.is_empty())
    }

    /// The identities of all jobs.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = Named<'_>> {
        self.jobs.iter().map(|(uid, job)| Named { namespace: &job.namespace, name: &job.name, uid })
    }

    /// The progress line.
    pub(crate) fn summary(&self) -> String {
        let jobs = self.jobs.iter().map(|(uid, job)| {
            let state = if job.state.is_empty() { "Submitted" } else { &job.state };
            let roles = job.replicas.iter().filter(|(_, count)| *count > 0).map(|(role, count)| {
                let running = |pod: &&PodState| {
                    pod.job == *uid && pod.role == Some(*role) && pod.phase == "Running"
                };
                format!("{} {}/{count}", role.lower(), self.pods.values().filter(running).count())
            });
            format!("{} {state}  {}", job.name, roles.collect::<Vec<_>>().join(" "))
        });
        let mut text = jobs.collect::<Vec<_>>().join("; ");
        if !self.newest.is_empty() {
            text = format!("{text}  {}", self.newest);
        }
        text
    }
}

fn list<'a>(jobs: impl Iterator<Item = &'a JobState>) -> String {
    jobs.map(|job| format!("job {}", job.name)).collect::<Vec<_>>().join(", ")
}

/// What an ended pod used, where its node says so.
fn used_by(pod: &Pod) -> Option<&str> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let used = conditions.iter().find(|one| one.type_ == "mxjob.io/ResourcesUsed")?;
    used.message.as_deref()
}

/// How the first failed container of a pod failed.
fn failure_of(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let ends = status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .filter_map(|container| {
            container
                .state
                .as_ref()?
                .terminated
                .as_ref()
                .filter(|end| end.exit_code != 0 || end.signal.is_some())
        });
    let first = ends.min_by_key(|end| end.finished_at.as_ref().map(|time| time.0));
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match first {
        Some(end) => {
            let reason = text(&end.reason).filter(|reason| reason != "Error");
            let code = match end.signal {
                Some(signal) => format!("signal {signal}"),
                None => format!("exit code {}", end.exit_code),
            };
            match reason {
                Some(reason) => format!("{code} ({reason})"),
                None => code,
            }
        }
        None => status
            .and_then(|status| text(&status.message).or_else(|| text(&status.reason)))
            .unwrap_or_else(|| "unknown reason".to_owned()),
    }
}

#[cfg(test)]
mod tests;
