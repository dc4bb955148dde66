//! What the contract says of a job's life, computed from what its replicas did. It shares nothing
//! with the controller: it looks back over a whole history, while the controller looks at one
//! moment.
//!
//! Where the controller could not know yet (a watch lags, a request was refused, no controller was
//! running) both answers are right within [`Timing::slack`]; every decision must be made by then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::history::History;
use crate::life::{Life, Pod, Written, condition, number, recorded_attempt, terminal};

/// When decisions must be made, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How late a decision may be.
    pub slack: u64,
    /// How long a change may stay unseen while no request is refused.
    pub sight: u64,
    /// The end of the observation.
    pub end: u64,
}

/// All violations in a life. Without timing, decisions may be late but not wrong.
#[must_use]
pub fn check(life: &Life, timing: Option<Timing>) -> Vec<String> {
    let mut checker = Checker { life, timing, violations: life.violations.clone() };
    checker.events();
    checker.creations();
    checker.limits_of_restarts();
    if timing.is_some() {
        checker.group();
    }
    match life.statuses.iter().find(|written| terminal(&written.status).is_some()) {
        Some(end) => {
            checker.end_was_right(end);
            if let Some(timing) = timing {
                checker.end_was_in_time(end, timing);
                checker.what_is_left(end, timing);
            }
        }
        None => match timing {
            Some(timing) => checker.nothing_was_missed(timing),
            None => checker.fail(format!("{} has not ended", life.name)),
        },
    }
    checker.violations
}

/// Why the controller is not done with a job; `None` if it is.
#[must_use]
pub fn unfinished(history: &History, name: &str) -> Option<String> {
    let pods = history.of_job(name, "pods");
    let services = history.of_job(name, "services");
    let Some(job) = history.get("mxjobs", name) else {
        let is_left = !pods.is_empty() || !services.is_empty();
        return is_left.then(|| format!("{name} is deleted and some of its objects are left"));
    };
    let Some(end) = terminal(&job["status"]) else {
        return Some(format!("{name} has not ended: {}", job["status"]));
    };
    if job["spec"]["ttlSecondsAfterFinished"].is_u64() {
        return Some(format!("{name} has not been deleted"));
    }
    let names: BTreeSet<&str> = pods.iter().map(|pod| name_of(pod)).collect();
    let orphans = services.iter().filter(|service| !names.contains(name_of(service))).count();
    let running = pods.iter().filter(|pod| !has_ended(pod)).count();
    let is_clean = match (job["spec"]["cleanPodPolicy"].as_str().unwrap_or("Running"), end) {
        ("All", _) => pods.is_empty() && services.is_empty(),
        ("Running", _) => running == 0 && orphans == 0,
        (_, "Failed") => running == 0,
        _ => true,
    };
    (!is_clean)
        .then(|| format!("{name} has {} pods and {} services left", pods.len(), services.len()))
}

struct Checker<'a> {
    life: &'a Life,
    timing: Option<Timing>,
    violations: Vec<String>,
}

/// What the restart policy of its role says of a failed pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The failure is final.
    Final,
    /// Another pod replaces it.
    Replaced,
}

impl Checker<'_> {
    fn fail(&mut self, violation: String) {
        self.violations.push(violation);
    }

    fn spec(&self, field: &str) -> &Value {
        &self.life.job["spec"][field]
    }

    fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.life.pods.values()
    }

    fn role(&self, pod: &Pod) -> &Value {
        let roles = self.spec("mxReplicaSpecs").as_object().unwrap();
        roles.iter().find(|(role, _)| role.to_lowercase() == pod.role).unwrap().1
    }

    /// What the failure of a pod means; `None` if it has not failed, or failed while terminating.
    fn verdict(&self, pod: &Pod) -> Option<Verdict> {
        let (_, revision, code) = pod.ended?;
        if code == Some(0) || pod.terminating.is_some_and(|(_, terminating)| terminating < revision)
        {
            return None;
        }
        Some(match (self.role(pod)["restartPolicy"].as_str().unwrap_or_default(), code) {
            ("Never", _) | ("ExitCode", Some(1..=127)) => Verdict::Final,
            _ => Verdict::Replaced,
        })
    }

    /// The role whose success decides, and its number of replicas.
    fn deciding(&self) -> (String, u64) {
        let count = |role: &str| number(&self.spec("mxReplicaSpecs")[role]["replicas"]);
        let role =
            match (self.spec("jobMode").as_str().unwrap(), self.spec("successPolicy").as_str()) {
                ("MXTune", _) => "Tuner",
                (_, Some("AllWorkers")) => "Worker",
                _ if count("Scheduler") > 0 => "Scheduler",
                _ => "Worker",
            };
        (role.to_lowercase(), count(role))
    }

    /// When every replica of the deciding role had succeeded in that attempt: time and revision;
    /// `None` if not before that revision.
    fn success(
        &self,
        attempt: u64,
        before: u64,
        has_succeeded: fn(&Pod) -> bool,
    ) -> Option<(u64, u64)> {
        let (role, count) = self.deciding();
        let mut firsts = BTreeMap::new();
        for pod in self.pods().filter(|pod| pod.role == role && has_succeeded(pod)) {
            if let Some((ms, revision, Some(0))) = pod.ended
                && revision < before
                && (!self.life.together || pod.attempt == attempt)
            {
                let first = firsts.entry(&pod.name).or_insert((ms, revision));
                *first = (*first).min((ms, revision));
            }
        }
        (firsts.len() as u64 == count).then(|| firsts.into_values().max().unwrap())
    }

    /// Restarts that could have been counted up to a revision.
    fn restarts(&self, before: u64) -> u64 {
        if self.life.together {
            // Each attempt except the first, and one for what may have been seen of the last.
            return self.pods().map(|pod| pod.attempt).max().unwrap_or(0) + 1;
        }
        let failed = |pod: &&Pod| {
            self.verdict(pod) == Some(Verdict::Replaced)
                && pod.ended.is_some_and(|(_, revision, _)| revision < before)
        };
        self.pods().map(|pod| pod.restarts).sum::<u64>() + self.pods().filter(failed).count() as u64
    }

    // === All along ===

    /// No event is recorded more often than it happened.
    fn events(&mut self) {
        for (event, names) in &self.life.events {
            let of_pod =
                ["SuccessfulCreatePod: Created pod: ", "SuccessfulDeletePod: Deleted pod: "]
                    .iter()
                    .find_map(|prefix| event.strip_prefix(prefix));
            let end = ["Succeeded", "Failed"]
                .into_iter()
                .find(|end| event.starts_with(&format!("MXJob{end}: ")));
            let max = match (of_pod, end) {
                (Some(pod), _) => self.pods().filter(|other| other.name == pod).count(),
                (_, Some(_)) => 1,
                _ => continue,
            };
            if names.len() > max {
                self.violations.push(format!("recorded {} times, not {max}: {event}", names.len()));
            }
            let happened = |end: &str| {
                let mut statuses = self.life.statuses.iter();
                statuses.any(|written| condition(&written.status, end) == Some(true))
            };
            if end.is_some_and(|end| !happened(end)) {
                self.violations.push(format!("recorded, but it did not happen: {event}"));
            }
        }
    }

    /// No pod is created again without a cause.
    fn creations(&mut self) {
        let was_suspended = self.life.was_suspended();
        let together = self.life.together;
        let mut pods: Vec<&Pod> = self.life.pods.values().collect();
        pods.sort_by_key(|pod| pod.created);
        let mut newest: BTreeMap<(&str, u64), &Pod> = BTreeMap::new();
        for pod in pods {
            let attempt = if together { pod.attempt } else { 0 };
            let Some(before) = newest.insert((&pod.name, attempt), pod) else { continue };
            let is_replaced = !together && self.verdict(before) == Some(Verdict::Replaced);
            if !(was_suspended || before.was_deleted_by_others || is_replaced) {
                let violation =
                    format!("{} was created again without a cause: {before:?}", pod.name);
                self.violations.push(violation);
            }
        }
    }

    /// A group exists as long as there is something to schedule.
    fn group(&mut self) {
        let life = self.life;
        let is_over = life.last.as_ref().is_none_or(|job| terminal(&job["status"]).is_some());
        let is_held = life.last("suspend").1 == true;
        let expect = usize::from(life.has_group && !is_over && !is_held);
        if life.left_groups.len() != expect {
            self.fail(format!("there are {} groups and not {expect}", life.left_groups.len()));
        }
        if let Some(group) = life.left_groups.first()
            && number(&group["spec"]["minMember"]) == 0
        {
            self.fail("the group exists without need".to_owned());
        }
    }

    fn limits_of_restarts(&mut self) {
        let limit = self.spec("backoffLimit").as_u64();
        let counted = |status: &Value| {
            let roles = status["mxReplicaStatuses"].as_object();
            roles.into_iter().flatten().map(|(_, counts)| number(&counts["restarts"])).sum::<u64>()
        };
        let statuses = &self.life.statuses;
        if let Some(written) = statuses
            .iter()
            .find(|written| limit.is_some_and(|limit| counted(&written.status) > limit))
        {
            self.fail(format!(
                "at {} ms more restarts were counted than backoffLimit allows",
                written.ms
            ));
        }
        let Some(last) = statuses.last() else { return };
        let (counted, possible) = (counted(&last.status), self.restarts(last.revision));
        if counted > possible {
            self.fail(format!(
                "{counted} restarts were counted, and there were {possible} at most"
            ));
        }
        let replaced = self
            .pods()
            .filter(|pod| pod.was_replaced && self.verdict(pod) == Some(Verdict::Replaced))
            .count() as u64;
        let attempts = self.pods().map(|pod| pod.attempt).max().unwrap_or(0);
        // To resume a suspended job is a new attempt, too.
        if self.life.together && !self.life.was_suspended() && counted < attempts {
            self.fail(format!("{counted} restarts were counted for {attempts} new attempts"));
        }
        if !self.life.together && counted < replaced {
            self.fail(format!("{replaced} pods were replaced and {counted} restarts counted"));
        }
    }

    // === The end ===

    fn end_was_right(&mut self, end: &Written) {
        let attempt = recorded_attempt(&end.status);
        let finals = self.finals(end);
        if terminal(&end.status) == Some("Succeeded") {
            match self.success(attempt, end.revision, Pod::may_have_succeeded) {
                None => {
                    self.fail("it succeeded without the success of the deciding role".to_owned())
                }
                Some((success, revision)) => {
                    // A controller that saw the success saw all earlier failures, and later ones if
                    // there was time. It waits for workers that still run, so an end this soon was
                    // decided with knowledge of all their ends.
                    let absence = |ms: u64| self.life.absence(ms, end.ms);
                    let was_seen = |timing: Timing, pod: &Pod, ms: u64| {
                        let early = timing.sight < 1000 && end.ms < success + 9000;
                        ms + timing.sight + absence(ms) < end.ms || early && pod.role == "worker"
                    };
                    let passed_over = finals.iter().find(|pod| {
                        pod.ended.is_some_and(|(ms, failed, _)| {
                            failed < revision
                                || self.timing.is_some_and(|timing| was_seen(timing, pod, ms))
                        })
                        // A pod that terminated because of a suspension has not failed the job.
                        && pod.terminating.is_none_or(|(_, terminating)| terminating > end.revision)
                    });
                    if let Some(pod) = passed_over {
                        self.fail(format!(
                            "it succeeded although {} had failed for good",
                            pod.name
                        ));
                    }
                }
            }
            return;
        }
        let message = end.status["conditions"].as_array().unwrap().last().unwrap()["message"]
            .as_str()
            .unwrap();
        let cause = if message.contains("longer than its deadline") {
            let start = self.life.parse(end.status["startTime"].as_str().unwrap());
            let slack = self.timing.map_or(end.ms, |timing| timing.slack);
            let values =
                self.life.values("activeDeadlineSeconds", end.ms.saturating_sub(slack), end.ms);
            let mut deadlines = values.iter().filter_map(Value::as_u64);
            // Without timing, the clocks of the history and of the controller differ.
            deadlines.any(|deadline| self.timing.is_none() || end.ms >= start + deadline * 1000)
        } else if message.contains("backoff limit") {
            self.spec("backoffLimit")
                .as_u64()
                .is_some_and(|limit| self.restarts(end.revision) > limit)
        } else {
            !finals.is_empty()
        };
        if !cause {
            self.fail(format!("it failed without a cause: {message}"));
        }
    }

    /// Pods that had failed finally before an end.
    fn finals(&self, end: &Written) -> Vec<Pod> {
        let counts = |pod: &&Pod| {
            self.verdict(pod) == Some(Verdict::Final)
                && pod.ended.is_some_and(|(_, revision, _)| revision < end.revision)
                && (!self.life.together || pod.attempt == end.attempt)
        };
        self.pods().filter(counts).cloned().collect()
    }

    fn end_was_in_time(&mut self, end: &Written, timing: Timing) {
        let (life, start) = (self.life, &end.status["startTime"]);
        let Some(start) = start.as_str().map(|text| self.life.parse(text)) else { return };
        let (since, deadline) = life.last("activeDeadlineSeconds");
        if let Some(deadline) = deadline.as_u64() {
            let due = (start + deadline * 1000).max(since);
            let late = end.ms.saturating_sub(due + life.absence(due, end.ms));
            if since < end.ms && end.ms > due && late > timing.slack {
                self.fail(format!("the deadline was {late} ms late"));
            }
        }
        let first = self
            .pods()
            .filter(|pod| self.verdict(pod) == Some(Verdict::Final) && pod.terminating.is_none());
        if let Some(failed) =
            first.filter_map(|pod| Some(pod.ended?.0)).filter(|failed| *failed < end.ms).min()
        {
            let since = life.last("suspend").0.max(failed);
            let late = end.ms.saturating_sub(since + life.absence(since, end.ms));
            if since < end.ms && late > timing.slack {
                self.fail(format!("a final failure was reported {late} ms late"));
            }
        }
    }

    fn what_is_left(&mut self, end: &Written, timing: Timing) {
        let life = self.life;
        let completion = self.life.parse(end.status["completionTime"].as_str().unwrap());
        let (since, ttl) = life.last("ttlSecondsAfterFinished");
        let due = ttl.as_u64().map(|ttl| (completion + ttl * 1000).max(since));
        match (life.deleted, due) {
            (Some(deleted), _) => {
                let values = life.values(
                    "ttlSecondsAfterFinished",
                    deleted.saturating_sub(timing.slack),
                    deleted,
                );
                if !values
                    .iter()
                    .filter_map(Value::as_u64)
                    .any(|ttl| deleted >= completion + ttl * 1000)
                {
                    self.fail("it was deleted before its time".to_owned());
                }
                if let Some(due) = due {
                    let late = deleted.saturating_sub(due + life.absence(due, deleted));
                    if late > timing.slack {
                        self.fail(format!("it was deleted {late} ms late"));
                    }
                }
            }
            (None, Some(due)) if timing.end > due + timing.slack => {
                self.fail("it was not deleted when its time was up".to_owned())
            }
            (None, _) => {}
        }
        let name = |object: &Value| name_of(object).to_owned();
        let names: BTreeSet<String> = life.left_pods.iter().map(name).collect();
        let has_failed = terminal(&end.status) == Some("Failed");
        if life.deleted.is_some() {
            if !life.left_pods.is_empty() || !life.left_services.is_empty() {
                self.fail("the garbage collector had no time".to_owned());
            }
            return;
        }
        let policy = life.last("cleanPodPolicy").1;
        match policy.as_str().unwrap_or("Running") {
            "All" if !life.left_pods.is_empty() || !life.left_services.is_empty() => {
                self.fail(format!(
                    "under All {names:?} and {} services are left",
                    life.left_services.len()
                ));
            }
            "Running" => {
                if let Some(pod) = life.left_pods.iter().find(|pod| !has_ended(pod)) {
                    self.fail(format!("under Running {} is left", name(pod)));
                }
                if let Some(service) =
                    life.left_services.iter().find(|service| !names.contains(&name(service)))
                {
                    self.fail(format!("the service {} has no pod", name(service)));
                }
            }
            "None" if has_failed => {
                if let Some(pod) = life.left_pods.iter().find(|pod| !has_ended(pod)) {
                    self.fail(format!("{} waits for a dead rendezvous", name(pod)));
                }
            }
            _ => {}
        }
        self.kept(end, timing);
        self.counts(end, timing);
    }

    /// What the policy keeps was kept.
    fn kept(&mut self, end: &Written, timing: Timing) {
        let policies =
            self.life.values("cleanPodPolicy", end.ms.saturating_sub(timing.slack), timing.end);
        if policies.iter().any(|policy| policy == "All") {
            return;
        }
        // It ended before the job, still existed at the end, and long enough to be seen.
        let lost = self.pods().filter(|pod| !pod.was_deleted_by_others).find(|pod| {
            pod.ended.is_some_and(|(ms, revision, _)| {
                revision < end.revision
                    && pod.terminating.is_some_and(|(removed, terminating)| {
                        terminating > end.revision && removed > ms + timing.slack
                    })
            })
        });
        if let Some(pod) = lost
            && self.verdict(pod) != Some(Verdict::Replaced)
        {
            self.fail(format!("{} had ended and was not kept", pod.name.clone()));
        }
    }

    fn counts(&mut self, end: &Written, timing: Timing) {
        let status = &self.life.last.as_ref().unwrap()["status"];
        let attempt = recorded_attempt(&end.status);
        for (role, counts) in status["mxReplicaStatuses"].as_object().unwrap().clone() {
            let of_role = |pod: &&Pod| {
                pod.role == role.to_lowercase() && (!self.life.together || pod.attempt == attempt)
            };
            let succeeded: BTreeSet<&String> = self
                .pods()
                .filter(of_role)
                .filter(|pod| pod.may_have_succeeded())
                .map(|pod| &pod.name)
                .collect();
            let seen: BTreeSet<&String> = self
                .pods()
                .filter(of_role)
                .filter(|pod| {
                    pod.must_have_succeeded()
                        && pod.ended.is_some_and(|(ms, ..)| ms + timing.slack < end.ms)
                })
                .filter(|pod| self.life.absence(pod.ended.unwrap().0, end.ms) == 0)
                .map(|pod| &pod.name)
                .collect();
            let (least, most) = (seen.len() as u64, succeeded.len() as u64);
            let counted = number(&counts["succeeded"]);
            if counted < least || counted > most {
                self.fail(format!(
                    "{counted} of {role} succeeded by the status, and {least} to {most} in truth"
                ));
            }
            let running = self.life.left_pods.iter().filter(|pod| {
                pod["status"]["phase"] == "Running"
                    && pod["metadata"]["labels"]["training.kubeflow.org/replica-type"]
                        == role.to_lowercase()
            });
            let running = running.count() as u64;
            if number(&counts["active"]) != running {
                self.fail(format!(
                    "{} of {role} are active by the status, and {running} run",
                    counts["active"]
                ));
            }
        }
    }

    // === A job that goes on ===

    fn nothing_was_missed(&mut self, timing: Timing) {
        let life = self.life;
        let Some(last) = &life.last else {
            return self.fail("a job was deleted that had not ended".to_owned());
        };
        let status = &last["status"];
        if life.last("suspend").1 == true {
            if condition(status, "Suspended") != Some(true) {
                self.fail("it is suspended and does not say so".to_owned());
            }
            if !life.left_pods.is_empty() || !life.left_services.is_empty() {
                self.fail("objects of a suspended job are left".to_owned());
            }
            return;
        }
        let attempt = recorded_attempt(status);
        if self.success(attempt, u64::MAX, Pod::must_have_succeeded).is_some() {
            self.fail("it has succeeded and does not say so".to_owned());
        }
        let failed =
            self.pods().find(|pod| !pod.is_gone && self.verdict(pod) == Some(Verdict::Final));
        if let Some(pod) = failed {
            self.fail(format!("{} has failed for good and the job goes on", pod.name.clone()));
        }
        let Some(start) = status["startTime"].as_str().map(|text| self.life.parse(text)) else {
            return self.fail("it has no start".to_owned());
        };
        let deadline = life.last("activeDeadlineSeconds").1;
        if deadline
            .as_u64()
            .is_some_and(|deadline| timing.end > start + deadline * 1000 + timing.slack)
        {
            self.fail("its deadline has passed".to_owned());
        }
        // No replica is missing: those that have not succeeded run.
        for (role, spec) in life.job["spec"]["mxReplicaSpecs"].as_object().unwrap() {
            for index in 0..number(&spec["replicas"]) {
                let name = format!("digits-{}-{index}", role.to_lowercase());
                let pod =
                    life.left_pods.iter().find(|pod| pod["metadata"]["name"] == name.as_str());
                let runs = pod.is_some_and(|pod| pod["status"]["phase"] == "Running");
                let has_succeeded = self.pods().any(|pod| {
                    pod.name == name
                        && pod.may_have_succeeded()
                        && (!life.together || pod.attempt == attempt)
                });
                if !runs && !has_succeeded {
                    self.fail(format!("{name} neither runs nor has succeeded"));
                }
            }
        }
        if condition(status, "Running") != Some(true) {
            self.fail("it runs and does not say so".to_owned());
        }
    }
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}
