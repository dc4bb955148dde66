//! What the contract says of a job's life, worked out from what its replicas did. It shares nothing
//! with the controller: it looks back over a whole history where the controller looks at one
//! moment.
#![allow(clippy::unwrap_in_result, reason = "an object of another shape is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::history::{Change, History, attempt, belongs, role, terminal};

/// What there still is to do for a job, if anything.
pub(crate) fn is_open(history: &History, name: &str) -> Option<String> {
    let pods = history.of(name, "pods");
    let services = history.of(name, "services");
    let Some(job) = history.get("mxjobs", name) else {
        let is_left = !pods.is_empty() || !services.is_empty();
        return is_left.then(|| format!("{name} is gone and something of it is left"));
    };
    let Some(end) = terminal(&job) else {
        return Some(format!("{name} has not ended: {}", job["status"]));
    };
    if job["spec"]["ttlSecondsAfterFinished"].is_u64() {
        return Some(format!("{name} has not been deleted"));
    }
    let names: BTreeSet<&str> = pods.iter().map(|pod| text(pod, "name")).collect();
    let orphans = services.iter().filter(|service| !names.contains(text(service, "name"))).count();
    let unfinished = pods.iter().filter(|pod| !has_ended(pod)).count();
    let is_tidy = match (job["spec"]["cleanPodPolicy"].as_str().unwrap_or("Running"), end) {
        ("All", _) => pods.is_empty() && services.is_empty(),
        ("Running", _) => unfinished == 0 && orphans == 0,
        (_, "Failed") => unfinished == 0,
        _ => true,
    };
    (!is_tidy)
        .then(|| format!("{name} has {} pods and {} services left", pods.len(), services.len()))
}

/// What happened to a job and what belongs to it, for people.
pub(crate) fn story(name: &str, log: &[Change]) -> Vec<String> {
    let is_told = |change: &&Change| match change.resource {
        "mxjobs" => text(&change.object, "name") == name,
        "events" | "leases" => false,
        _ => belongs(&change.object, name),
    };
    let line = |change: &Change| {
        let object = &change.object;
        let state = match change.resource {
            "mxjobs" => {
                format!("suspend {} {}", object["spec"]["suspend"], object["status"]["conditions"],)
            }
            _ => format!("{} {}", object["status"]["phase"], object["metadata"]["annotations"]),
        };
        let what = match (change.is_gone, object["metadata"].get("deletionTimestamp").is_some()) {
            (true, _) => "is gone",
            (_, true) => "leaves",
            _ => "is",
        };
        let (name, revision) = (text(object, "name"), revision(object));
        format!("{revision}: {} {name} {what} {state}", change.resource)
    };
    log.iter().filter(is_told).map(line).collect()
}

/// One pod, from its beginning to its end.
#[derive(Debug)]
struct Pod {
    name: String,
    role: String,
    attempt: u64,
    created: u64,
    restarts: u64,
    /// As which version it ended, and with which code; none is an end without a code.
    ended: Option<(u64, Option<i64>)>,
    /// As which version it was asked to leave.
    leaving: Option<u64>,
    was_deleted_by_others: bool,
}

/// What the restart policy of its role says of a pod that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Final,
    Replaced,
}

struct Life<'a> {
    name: &'a str,
    /// All versions of the job.
    jobs: Vec<Arc<Value>>,
    /// In the order of their creation.
    pods: Vec<Pod>,
    events: Vec<Arc<Value>>,
    wrong: Vec<String>,
}

/// Everything that is wrong with a job's life. `deleted` are the uids of pods that others than the
/// operator have deleted.
pub(crate) fn judge(name: &str, log: &[Change], deleted: &BTreeSet<String>) -> Vec<String> {
    let mut life = Life { name, jobs: vec![], pods: vec![], events: vec![], wrong: vec![] };
    let mut places = BTreeMap::new();
    for change in log.iter().filter(|change| !change.is_gone) {
        let object = &change.object;
        match change.resource {
            "mxjobs" if text(object, "name") == name => life.jobs.push(Arc::clone(object)),
            "pods" if belongs(object, name) => {
                let uid = text(object, "uid").to_owned();
                let was_deleted = deleted.contains(&uid);
                let place = *places.entry(uid).or_insert_with(|| {
                    life.pods.push(Pod::new(object, was_deleted));
                    life.pods.len() - 1
                });
                life.pods[place].see(object);
            }
            "events" if object["involvedObject"]["name"] == name => {
                life.events.push(Arc::clone(object));
            }
            _ => {}
        }
    }
    life.statuses();
    life.pods();
    life.events();
    life.end();
    life.wrong
}

// === impl Pod ===

impl Pod {
    fn new(pod: &Value, was_deleted_by_others: bool) -> Self {
        Self {
            name: text(pod, "name").to_owned(),
            role: role(pod).to_owned(),
            attempt: attempt(pod),
            created: revision(pod),
            restarts: 0,
            ended: None,
            leaving: None,
            was_deleted_by_others,
        }
    }

    fn see(&mut self, pod: &Value) {
        let container = &pod["status"]["containerStatuses"][0];
        self.restarts = self.restarts.max(container["restartCount"].as_u64().unwrap_or(0));
        if pod["metadata"].get("deletionTimestamp").is_some() && self.leaving.is_none() {
            self.leaving = Some(revision(pod));
        }
        if has_ended(pod) && self.ended.is_none() {
            self.ended =
                Some((revision(pod), container["state"]["terminated"]["exitCode"].as_i64()));
        }
    }

    fn has_succeeded(&self) -> bool {
        matches!(self.ended, Some((_, Some(0))))
    }
}

// === impl Life ===

impl Life<'_> {
    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    fn spec(&self, field: &str) -> &Value {
        &self.jobs[0]["spec"][field]
    }

    fn last(&self) -> &Value {
        self.jobs.last().unwrap()
    }

    /// Whether somebody ever held it back.
    fn was_held(&self) -> bool {
        self.jobs.iter().any(|job| job["spec"]["suspend"] == true)
    }

    /// Whether replicas restart all together.
    fn together(&self) -> bool {
        match self.spec("restartScope").as_str() {
            Some(scope) => scope == "Job",
            None => self.spec("mxReplicaSpecs").get("Scheduler").is_some(),
        }
    }

    fn verdict(&self, pod: &Pod) -> Option<Verdict> {
        let (revision, code) = pod.ended?;
        if code == Some(0) || pod.leaving.is_some_and(|leaving| leaving < revision) {
            return None;
        }
        let roles = self.spec("mxReplicaSpecs").as_object().unwrap();
        let (_, spec) = roles.iter().find(|(role, _)| role.to_lowercase() == pod.role).unwrap();
        Some(match (spec["restartPolicy"].as_str().unwrap(), code) {
            ("Never", _) | ("ExitCode", Some(1..=127)) => Verdict::Final,
            _ => Verdict::Replaced,
        })
    }

    /// As which version the replica succeeded that decided the job's success in an attempt.
    fn success(&self, attempt: u64) -> Option<u64> {
        let count =
            |role: &str| self.spec("mxReplicaSpecs")[role]["replicas"].as_u64().unwrap_or(0);
        let role = match (self.spec("jobMode").as_str(), self.spec("successPolicy").as_str()) {
            (Some("MXTune"), _) => "Tuner",
            (_, Some("AllWorkers")) => "Worker",
            _ if count("Scheduler") > 0 => "Scheduler",
            _ => "Worker",
        };
        let mut firsts: BTreeMap<&str, u64> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| pod.role == role.to_lowercase()) {
            if pod.has_succeeded() && (!self.together() || pod.attempt == attempt) {
                let (revision, _) = pod.ended.unwrap();
                firsts.entry(&pod.name).or_insert(revision);
            }
        }
        let is_all = u64::try_from(firsts.len()).unwrap() == count(role);
        is_all.then(|| firsts.into_values().max().unwrap())
    }

    /// The promises between one status and the next.
    fn statuses(&mut self) {
        let limit = self.spec("backoffLimit").as_u64();
        let mut wrong = BTreeSet::new();
        for pair in self.jobs.windows(2) {
            let (old, new) = (&pair[0], &pair[1]);
            if terminal(old).is_some() && old["status"]["conditions"] != new["status"]["conditions"]
            {
                wrong.insert("a condition changed after the end");
            }
            if noted_attempt(new) < noted_attempt(old) {
                wrong.insert("an attempt was forgotten");
            }
            if restarts(new) < restarts(old) {
                wrong.insert("a restart was forgotten");
            }
            if new["status"]["mxReplicaStatuses"] != new["status"]["replicaStatuses"] {
                wrong.insert("the two spellings of the counts differ");
            }
        }
        if self.jobs.iter().any(|job| limit.is_some_and(|limit| restarts(job) > limit)) {
            wrong.insert("more restarts were counted than backoffLimit allows");
        }
        self.wrong.extend(wrong.into_iter().map(str::to_owned));
    }

    /// No replica is made without a cause.
    fn pods(&mut self) {
        let end = self.jobs.iter().find(|job| terminal(job).is_some()).map(|job| revision(job));
        let (together, was_held) = (self.together(), self.was_held());
        let mut wrong = Vec::new();
        for (place, pod) in self.pods.iter().enumerate() {
            let name = &pod.name;
            if end.is_some_and(|end| pod.created > end) {
                wrong.push(format!("{name} was made after the end"));
            }
            let before = self.pods[..place].iter().rev().find(|other| other.name == *name);
            let Some(before) = before.filter(|before| !together || before.attempt == pod.attempt)
            else {
                continue;
            };
            let is_replaced = !together && self.verdict(before) == Some(Verdict::Replaced);
            if !(was_held || before.was_deleted_by_others || is_replaced) {
                wrong.push(format!("{name} was made again without a cause: {before:?}"));
            }
            if before.has_succeeded() && before.leaving.is_none() && !was_held {
                wrong.push(format!("{name} was made again after it had succeeded"));
            }
        }
        let counted = restarts(self.last());
        let attempts = self.pods.iter().map(|pod| pod.attempt).max().unwrap_or(0);
        let replaced = self.pods.iter().filter(|pod| self.verdict(pod) == Some(Verdict::Replaced));
        let replaced = u64::try_from(replaced.count()).unwrap();
        let most = if together {
            // The last attempt may have been counted and not be there yet.
            attempts + 1
        } else {
            replaced + self.pods.iter().map(|pod| pod.restarts).sum::<u64>()
        };
        if counted > most {
            wrong.push(format!("{counted} restarts were counted, and there were {most} at most"));
        }
        // Letting a job go that was held back is a new attempt, too.
        if together && !was_held && counted < attempts {
            wrong.push(format!("{counted} restarts were counted for {attempts} new attempts"));
        }
        self.wrong.extend(wrong);
    }

    /// Nothing is told twice.
    fn events(&mut self) {
        let mut told: BTreeMap<String, usize> = BTreeMap::new();
        for event in &self.events {
            let word = |field: &str| event[field].as_str().unwrap_or_default();
            *told.entry(format!("{}: {}", word("reason"), word("message"))).or_default() += 1;
        }
        let mut wrong = Vec::new();
        for (event, count) in told {
            let made = |prefix: &str| {
                let pod = event.strip_prefix(prefix)?;
                Some(self.pods.iter().filter(|other| other.name == pod).count())
            };
            let pods = made("SuccessfulCreatePod: Created pod: ")
                .or_else(|| made("SuccessfulDeletePod: Deleted pod: "));
            let is_end =
                ["MXJobSucceeded", "MXJobFailed"].iter().find(|end| event.starts_with(**end));
            let most = pods.or_else(|| is_end.map(|_| 1)).unwrap_or(usize::MAX);
            if count > most {
                wrong.push(format!("told {count} times instead of {most}: {event}"));
            }
            if let Some(end) = is_end
                && terminal(self.last()) != Some(end.trim_start_matches("MXJob"))
            {
                wrong.push(format!("{end} was told and did not happen"));
            }
        }
        self.wrong.extend(wrong);
    }

    /// The end follows from the ends of the replicas.
    fn end(&mut self) {
        let Some(end) = self.jobs.iter().find(|job| terminal(job).is_some()).cloned() else {
            return self.wrong(format!("{} has not ended", self.name));
        };
        let (attempt, at) = (noted_attempt(&end), revision(&end));
        let finals: Vec<&Pod> = self
            .pods
            .iter()
            .filter(|pod| self.verdict(pod) == Some(Verdict::Final))
            .filter(|pod| !self.together() || pod.attempt == attempt)
            .collect();
        if terminal(&end) == Some("Succeeded") {
            match self.success(attempt) {
                Some(success) if success < at => {
                    // Who had seen the success had seen what failed before it.
                    let passed_over = finals.iter().find(|pod| {
                        pod.leaving.is_none() && pod.ended.unwrap().0 < success && !self.was_held()
                    });
                    if let Some(pod) = passed_over {
                        let what =
                            format!("it succeeded although {} had failed for good", pod.name);
                        self.wrong(what);
                    }
                }
                _ => self.wrong("it succeeded without the success of the deciding role".to_owned()),
            }
            return;
        }
        let all = end["status"]["conditions"].as_array().unwrap();
        let message = all.last().unwrap()["message"].as_str().unwrap().to_owned();
        let is_caused = if message.contains("longer than its deadline") {
            self.spec("activeDeadlineSeconds").is_u64()
        } else if message.contains("backoff limit") {
            let replaced =
                self.pods.iter().filter(|pod| self.verdict(pod) == Some(Verdict::Replaced));
            // Where all restart together, one that somebody took away counts as well.
            let together = self.together();
            let counts = |pod: &&Pod| pod.restarts > 0 || together && pod.was_deleted_by_others;
            let failures = replaced.count() + self.pods.iter().filter(counts).count();
            let limit = self.spec("backoffLimit").as_u64();
            limit.is_some_and(|limit| u64::try_from(failures).unwrap() > limit)
        } else {
            finals.iter().any(|pod| pod.ended.unwrap().0 < at)
        };
        if !is_caused {
            self.wrong(format!("it failed without a cause: {message}"));
        }
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap()
}

fn revision(object: &Value) -> u64 {
    text(object, "resourceVersion").parse().unwrap()
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn noted_attempt(job: &Value) -> u64 {
    job["status"]["restartState"]["attempt"].as_u64().unwrap_or(0)
}

/// Restarts that a status counts.
fn restarts(job: &Value) -> u64 {
    let roles = job["status"]["mxReplicaStatuses"].as_object().into_iter().flatten();
    roles.map(|(_, counts)| counts["restarts"].as_u64().unwrap_or(0)).sum()
}
