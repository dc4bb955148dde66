//! What has become of the jobs so far: told from their objects, their pods and their lines, and nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use mxjob_api::{Job, JobStatus, Role, labels, mxjob};
use serde_json::Value;

use super::lines::Source;

/// Lines of a failed replica that are told at the end.
const LAST_LINES: usize = 10;
/// A last line that is longer is no help on a progress line.
const LONGEST: usize = 100;

/// Jobs, their pods, and what they said.
#[derive(Debug, Default)]
pub(crate) struct Story {
    /// By uid.
    jobs: BTreeMap<String, JobState>,
    /// By uid; also those that are gone.
    pods: BTreeMap<String, PodState>,
    /// The newest line of a worker.
    newest: String,
}

/// How all jobs ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Succeeded,
    /// Which failed, how, and what the first replica to fail said last.
    Failed(String),
    /// None is known to have failed, and of these nobody saw how they ended.
    Unknown(String),
}

/// Where a job is.
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
    /// Replicas by role, as far as the spec can be read.
    replicas: Vec<(Role, u32)>,
    /// The newest condition.
    state: String,
    end: Option<Ending>,
}

#[derive(Debug)]
enum Ending {
    Succeeded,
    /// With the reason that the controller gives.
    Failed(String),
    /// Before it had finished.
    Deleted,
    /// It is gone, and its end was not seen.
    Missed,
}

#[derive(Debug, Default)]
struct PodState {
    job: String,
    label: String,
    role: Option<Role>,
    phase: String,
    /// How it failed, once told.
    failure: Option<String>,
    last: VecDeque<String>,
}

// === impl Story ===

impl Story {
    /// Says which jobs are meant.
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

    /// The labels that lines are going to have.
    pub(crate) fn labels(&self) -> Vec<String> {
        let replicas = self.jobs.values().flat_map(|job| {
            job.replicas.iter().filter_map(|(role, count)| {
                Some(self.label(&job.name, *role, count.checked_sub(1)?))
            })
        });
        replicas.collect()
    }

    /// `worker-1`, or `digits-worker-1` where there are several jobs.
    fn label(&self, job: &str, role: Role, index: u32) -> String {
        let short = format!("{}-{index}", role.lower());
        if self.jobs.len() > 1 { format!("{job}-{short}") } else { short }
    }

    /// A new version of a job; what is to be said about it.
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
            // Told at the very end, with the last lines.
            "Failed" => {
                job.end = Some(Ending::Failed(newest.message.clone()));
                return Vec::new();
            }
            _ => {}
        }
        vec![newest.message.clone()]
    }

    /// A job was deleted.
    pub(crate) fn job_gone(&mut self, uid: &str) -> Vec<String> {
        if let Some(job) = self.jobs.get_mut(uid).filter(|job| job.end.is_none()) {
            job.end = Some(Ending::Deleted);
        }
        Vec::new()
    }

    /// All jobs of a namespace that are there, by uid: others have been deleted without our seeing it, and may have ended before.
    pub(crate) fn jobs_listed(&mut self, namespace: &str, there: &BTreeSet<String>) {
        let missing = self.jobs.iter_mut().filter(|(uid, job)| {
            job.namespace == namespace && job.end.is_none() && !there.contains(*uid)
        });
        missing.for_each(|(_, job)| job.end = Some(Ending::Missed));
    }

    /// All pods of a namespace's jobs that are there, by uid.
    pub(crate) fn pods_listed(&mut self, namespace: &str, there: &BTreeSet<String>) {
        for (uid, pod) in &mut self.pods {
            let job = self.jobs.get(&pod.job);
            if job.is_some_and(|job| job.namespace == namespace) && !there.contains(uid) {
                pod.phase.clear();
            }
        }
    }

    /// Whether a pod belongs to one of the jobs.
    pub(crate) fn owns(&self, pod: &Pod) -> bool {
        pod.owner_references().iter().any(|owner| self.jobs.contains_key(&owner.uid))
    }

    /// A new version of a pod; what is to be said about it.
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
        if phase != "Failed" || state.failure.is_some() || pod.metadata.deletion_timestamp.is_some()
        {
            return Vec::new();
        }
        let how = how(pod);
        let note = format!("{} failed: {how}", state.label);
        state.failure = Some(how);
        vec![note]
    }

    /// A pod is no longer there.
    pub(crate) fn pod_gone(&mut self, uid: &str) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.phase.clear();
        }
    }

    /// The containers of a pod that have a log to read.
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

    /// A line that a replica wrote.
    pub(crate) fn line(&mut self, uid: &str, label: &str, text: &[u8]) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        let text = String::from_utf8_lossy(text);
        // Of a program that redraws its line, what it shows last.
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default();
        if pod.last.len() == LAST_LINES {
            pod.last.pop_front();
        }
        pod.last.push_back(text.to_owned());
        if pod.role == Some(Role::Worker) && !text.is_empty() {
            let cut: String =
                text.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect();
            self.newest = format!("{label}: {cut}");
        }
    }

    /// How it all ended, once it has.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let mut failures = Vec::new();
        let mut missed = Vec::new();
        for (uid, job) in &self.jobs {
            match job.end.as_ref()? {
                Ending::Succeeded => {}
                Ending::Failed(message) => failures.push(self.failure(uid, message)),
                Ending::Deleted => {
                    failures.push(format!("job {} was deleted before it had finished", job.name));
                }
                Ending::Missed => missed.push(format!(
                    "job {} is gone, and how it ended is not known: it was deleted while it could not be watched",
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
        // The controller has decided which was first, and names it.
        let named =
            |pod: &&PodState| message.split([' ', ',', ':']).any(|word| pod.label.ends_with(word));
        let failed = || self.pods.values().filter(|pod| pod.job == uid && pod.failure.is_some());
        let first =
            failed().filter(|pod| !pod.label.is_empty()).find(named).or_else(|| failed().next());
        match first {
            Some(pod) if !pod.last.is_empty() => {
                let last: String = pod.last.iter().map(|line| format!("\n  {line}")).collect();
                format!("{message}\nThe last lines of {}:{last}", pod.label)
            }
            _ => message.to_owned(),
        }
    }

    /// The names of the jobs that are not done.
    pub(crate) fn unfinished(&self) -> String {
        list(self.jobs.values().filter(|job| job.end.is_none()))
    }

    /// The names of the jobs of which nobody has written anything into their status.
    pub(crate) fn untaken(&self) -> Option<String> {
        let untaken = self.jobs.values().filter(|job| job.end.is_none() && job.state.is_empty());
        Some(list(untaken)).filter(|names| !names.is_empty())
    }

    /// Where every job is.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = Named<'_>> {
        self.jobs.iter().map(|(uid, job)| Named { namespace: &job.namespace, name: &job.name, uid })
    }

    /// One line on how things stand.
    pub(crate) fn progress(&self) -> String {
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

/// How the first container of a failed pod failed.
fn how(pod: &Pod) -> String {
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
            .unwrap_or_else(|| "no reason is known".to_owned()),
    }
}

#[cfg(test)]
mod tests;
